//! CPU time and memory of a process and its children, read from `/proc`.

use std::{
    collections::HashMap,
    fs,
    time::{Duration, Instant},
};

use anyhow::Context as _;

/// The unit of CPU times in `/proc`: Linux reports them in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// CPU time since the start and current memory of a process, including all threads and children.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) resident_kb: u64,
    /// The highest resident memory so far. It is the sum of the peaks of the process and its children,
    /// although they may have been at different times.
    pub(crate) peak_kb: u64,
}

impl Usage {
    pub(crate) fn of(process: u32) -> anyhow::Result<Self> {
        let folder = format!("/proc/{process}");
        let stat = fs::read_to_string(format!("{folder}/stat"))
            .with_context(|| format!("process {process} does not exist"))?;
        // The second field is the process name in parentheses, which may contain any characters.
        let (_, fields) = stat
            .rsplit_once(") ")
            .context("the stat line has no process name")?;
        let ticks: u32 = fields
            .split(' ')
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse::<u32>().unwrap_or_default())
            .sum();
        let status = fs::read_to_string(format!("{folder}/status"))?;
        let fields: HashMap<_, _> = status
            .lines()
            .filter_map(|line| line.split_once(':'))
            .collect();
        let kilobytes = |name| {
            let value = fields.get(name)?.trim().strip_suffix(" kB")?;
            value.parse().ok()
        };
        let mut usage = Self {
            cpu: TICK * ticks,
            resident_kb: kilobytes("VmRSS").unwrap_or_default(),
            peak_kb: kilobytes("VmHWM").unwrap_or_default(),
        };
        for thread in fs::read_dir(format!("{folder}/task"))? {
            let children = fs::read_to_string(thread?.path().join("children"))?;
            for child in children.split_whitespace() {
                let child = Self::of(child.parse()?)?;
                usage.cpu += child.cpu;
                usage.resident_kb += child.resident_kb;
                usage.peak_kb += child.peak_kb;
            }
        }
        Ok(usage)
    }
}

/// The CPU time and memory that a process had used at one moment, for comparison with a later moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) at: Instant,
    pub(crate) usage: Usage,
}

impl Moment {
    pub(crate) fn of(process: u32) -> anyhow::Result<Self> {
        Ok(Self {
            usage: Usage::of(process)?,
            at: Instant::now(),
        })
    }

    /// CPU time since an earlier moment.
    pub(crate) fn cpu_since(&self, earlier: &Self) -> Duration {
        self.usage.cpu.saturating_sub(earlier.usage.cpu)
    }

    /// The CPU time since an earlier moment, in percent of one core.
    pub(crate) fn cpu_percent_since(&self, earlier: &Self) -> f64 {
        let wall = self.at - earlier.at;
        self.cpu_since(earlier).as_secs_f64() / wall.as_secs_f64() * 100.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_cpu_time_and_memory() {
        let before = Moment::of(std::process::id()).unwrap();
        let until = Instant::now() + Duration::from_millis(100);
        while Instant::now() < until {}
        let after = Moment::of(std::process::id()).unwrap();

        assert!(after.cpu_since(&before) >= Duration::from_millis(30));
        assert!(after.usage.resident_kb > 100);
        assert!(after.usage.peak_kb >= after.usage.resident_kb);
    }
}
