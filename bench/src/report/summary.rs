//! Combines the rounds of one measurement: median, minimum and maximum.

use crate::{
    load::{FanOutFigures, IdleFigures, StormFigures},
    record::{Case, Figures, Peer, Record, Scenario},
};

/// The median and the range of one figure over all rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Spread {
    /// The spread of these values, or `None` if there are no values.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<_> = values
            .into_iter()
            .filter(|value| value.is_finite())
            .collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Some(Self { median, min, max })
    }
}

impl Record {
    /// The figures of a fan-out measurement, one for each round that succeeded.
    pub(super) fn fan_out(
        &self,
        scenario: Scenario,
        peer: Peer,
        subscribers: usize,
        per_second: u64,
    ) -> Vec<&FanOutFigures> {
        let case = Case {
            scenario,
            peer,
            subscribers,
            per_second,
        };
        let runs = self.runs.iter().filter(|run| run.case == case);
        runs.filter_map(|run| match &run.figures {
            Figures::FanOut(figures) => Some(figures),
            _ => None,
        })
        .collect()
    }

    pub(super) fn storms(&self, peer: Peer) -> Vec<&StormFigures> {
        let runs = self.runs.iter().filter(|run| run.case.peer == peer);
        runs.filter_map(|run| match &run.figures {
            Figures::Storm(figures) => Some(figures),
            _ => None,
        })
        .collect()
    }

    pub(super) fn idles(&self, peer: Peer) -> Vec<&IdleFigures> {
        let runs = self.runs.iter().filter(|run| run.case.peer == peer);
        runs.filter_map(|run| match &run.figures {
            Figures::Idle(figures) => Some(figures),
            _ => None,
        })
        .collect()
    }

    /// The median of one figure in `Scenario::FanOut`.
    pub(super) fn median(
        &self,
        peer: Peer,
        subscribers: usize,
        per_second: u64,
        figure: impl Fn(&FanOutFigures) -> Option<f64>,
    ) -> Option<f64> {
        let rounds = self.fan_out(Scenario::FanOut, peer, subscribers, per_second);
        Spread::of(rounds.into_iter().filter_map(figure)).map(|spread| spread.median)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_value() {
        let odd = Spread::of([3.0, 1.0, 2.0]).unwrap();
        let even = Spread::of([4.0, 1.0, 3.0, 2.0]).unwrap();

        assert_eq!((odd.min, odd.median, odd.max), (1.0, 2.0, 3.0));
        assert_eq!(even.median, 2.5);
        assert_eq!(Spread::of([]), None);
    }
}
