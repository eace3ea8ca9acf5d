//! The file format of a comparison: one line of JSON that describes the machine and the versions, then one
//! line for each run.

use std::{fmt, fs, path::Path};

use anyhow::Context as _;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::{
    load::{FanOutFigures, IdleFigures, StormFigures},
    publish::PublishFigures,
};

/// A server that is measured.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Peer {
    /// The server of this project
    Broadcaster,
    /// The bare writer: a loop with one write for each subscriber and message
    Bare,
    /// nginx with nchan
    Nchan,
    /// The original NestJS controller
    Nestjs,
    /// The example of the actix project
    Actix,
    /// axum with a broadcast channel
    Axum,
}

impl Peer {
    pub(crate) const ALL: [Self; 6] = [
        Self::Broadcaster,
        Self::Bare,
        Self::Nchan,
        Self::Axum,
        Self::Actix,
        Self::Nestjs,
    ];
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Broadcaster => "sse-broadcaster",
            Self::Bare => "bare writer",
            Self::Nchan => "nchan",
            Self::Nestjs => "NestJS",
            Self::Actix => "actix example",
            Self::Axum => "axum",
        })
    }
}

/// The kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scenario {
    /// Messages to all subscribers.
    FanOut,
    /// Like `FanOut`, with messages of one kilobyte.
    Large,
    /// Like `FanOut`, with additional subscribers that are stalled or slow.
    Laggards,
    /// Many subscribers reconnect at the same time, each some events behind.
    Storm,
    /// Subscribers that receive no messages.
    Idle,
    /// Events are published as fast as they are acknowledged, and one subscriber receives all of them.
    Publish,
    /// Events on many topics, each with one subscriber.
    Topics,
    /// Events on some topics, and many subscribers that each have a different URL Pattern.
    Patterns,
}

impl Scenario {
    /// Whether the load publishes the events by HTTP. If so, the server's ticker, which otherwise creates
    /// numbered messages, is off.
    pub(crate) fn publishes(self) -> bool {
        matches!(self, Self::Publish | Self::Topics | Self::Patterns)
    }
}

/// One measurement in the plan of a comparison: a server and its load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Case {
    pub(crate) scenario: Scenario,
    pub(crate) peer: Peer,
    pub(crate) subscribers: usize,
    /// Messages per second. 0 means no messages, or in `Scenario::Publish` as many as the server
    /// acknowledges.
    pub(crate) per_second: u64,
}

/// The result of one measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    #[serde(flatten)]
    pub(crate) case: Case,
    pub(crate) round: usize,
    pub(crate) figures: Figures,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Figures {
    FanOut(FanOutFigures),
    Storm(StormFigures),
    Idle(IdleFigures),
    Publish(PublishFigures),
    /// The reason why there are no figures.
    NotRun(String),
}

/// The machine and the programs with which a comparison was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Surroundings {
    pub(crate) date: String,
    pub(crate) command: String,
    pub(crate) rounds: usize,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    pub(crate) system: String,
    /// The name and version of each program that took part.
    pub(crate) versions: Vec<(String, String)>,
    /// Peers that could not be run, with the reason.
    pub(crate) not_run: Vec<(Peer, String)>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    pub(crate) surroundings: Surroundings,
    pub(crate) runs: Vec<Run>,
}

impl Record {
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let mut lines = text.lines();
        let first = lines.next().context("the record is empty")?;
        Ok(Self {
            surroundings: serde_json::from_str(first)?,
            runs: lines.map(serde_json::from_str).collect::<Result<_, _>>()?,
        })
    }

    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read the figures in {}", path.display()))?;
        Self::parse(&text)
    }

    pub(crate) fn save(&self, path: &Path) -> anyhow::Result<()> {
        let mut text = serde_json::to_string(&self.surroundings)?;
        for run in &self.runs {
            text.push('\n');
            text.push_str(&serde_json::to_string(run)?);
        }
        text.push('\n');
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}
