//! What a process and its children use, from /proc.

use std::{fs, time::Duration};

use anyhow::Context as _;

/// The kernel counts CPU time in hundredths of a second for every program that asks.
const TICK: Duration = Duration::from_millis(10);

/// CPU time since the start, and memory now, of a process with all its threads and children.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) resident_kb: u64,
}

impl Usage {
    pub(crate) fn of(process: u32) -> anyhow::Result<Self> {
        let folder = format!("/proc/{process}");
        let stat = fs::read_to_string(format!("{folder}/stat"))
            .with_context(|| format!("process {process} is gone"))?;
        // The name, in parentheses, may hold anything.
        let (_, fields) = stat.rsplit_once(") ").context("a stat line has a name")?;
        let ticks: u32 = fields
            .split(' ')
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse::<u32>().unwrap_or_default())
            .sum();
        let status = fs::read_to_string(format!("{folder}/status"))?;
        let resident_kb = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok())
            .unwrap_or_default();
        let mut usage = Self {
            cpu: TICK * ticks,
            resident_kb,
        };
        for thread in fs::read_dir(format!("{folder}/task"))? {
            let children = fs::read_to_string(thread?.path().join("children"))?;
            for child in children.split_whitespace() {
                let child = Self::of(child.parse()?)?;
                usage.cpu += child.cpu;
                usage.resident_kb += child.resident_kb;
            }
        }
        Ok(usage)
    }
}
