//! Where a subscriber starts, whatever part of a log has what it asks for.

use super::{
    archive::{Archive, Beginning},
    memory::MemoryLog,
    read::Placement,
    waiting::LogUnavailable,
};
use crate::{
    event::{Gap, ResumeFrom},
    matching::Selection,
};

/// Where a subscriber's place is, or is to be found.
#[derive(Debug)]
pub(crate) enum Placed {
    Here(Placement),
    /// This is to be asked.
    Older {
        archive: Archive,
        wants_presence: bool,
    },
}

/// Where a subscriber starts.
#[derive(Debug)]
pub(crate) enum Start {
    Here(Placement),
    /// With events that are not in memory.
    Older(Beginning),
}

/// Looks for the place of a subscriber in memory, without waiting for anything.
pub(crate) fn place(
    memory: &MemoryLog,
    archive: Option<&Archive>,
    from: &ResumeFrom,
    selection: &Selection,
) -> Placed {
    match archive {
        None => Placed::Here(memory.place(from, selection)),
        Some(archive) => match memory.find(from, selection) {
            Some(placement) => Placed::Here(placement),
            None => Placed::Older {
                archive: archive.clone(),
                wants_presence: selection.may_select_presence(),
            },
        },
    }
}

impl Placed {
    /// Asks for what is still to be found.
    pub(crate) async fn start(self, from: &ResumeFrom) -> Result<Start, LogUnavailable> {
        match self {
            Self::Here(placement) => Ok(Start::Here(placement)),
            Self::Older {
                archive,
                wants_presence,
            } => archive.place(from, wants_presence).await.map(Start::Older),
        }
    }
}

impl Start {
    /// What the subscriber is to be told first.
    pub(crate) fn gap(&self) -> Option<&Gap> {
        match self {
            Self::Here(placement) => placement.gap.as_ref(),
            Self::Older(beginning) => beginning.gap.as_ref(),
        }
    }
}
