//! One performance target, and by how much it was missed.

use super::text::number;

/// One target: an upper or lower bound of a figure.
pub(super) struct Target {
    what: String,
    bound: Bound,
    /// The measured value of the figure. `None` if it was not measured.
    measured: Option<f64>,
    unit: &'static str,
}

pub(super) enum Bound {
    AtMost(f64),
    AtLeast(f64),
    /// The bound is relative to another server's figure, which was not measured.
    Unknown,
}

impl Target {
    pub(super) fn new(what: &str, bound: Bound, measured: Option<f64>, unit: &'static str) -> Self {
        Self {
            what: what.into(),
            bound,
            measured,
            unit,
        }
    }

    /// The row of this target in the table: description, bound, measured value, verdict.
    pub(super) fn row(&self) -> Vec<String> {
        let unit = self.unit;
        let value = |value: f64| format!("{} {unit}", number(value)).trim_end().to_owned();
        let bound = match self.bound {
            Bound::AtMost(bound) => format!("≤ {}", value(bound)),
            Bound::AtLeast(bound) => format!("≥ {}", value(bound)),
            Bound::Unknown => "not measured".into(),
        };
        let measured = self.measured.map_or_else(|| "not measured".into(), value);
        vec![self.what.clone(), bound, measured, self.verdict()]
    }

    fn verdict(&self) -> String {
        let Some(measured) = self.measured else {
            return "not measured".into();
        };
        let missed_by = match self.bound {
            Bound::AtMost(bound) if measured <= bound => None,
            Bound::AtLeast(bound) if measured >= bound => None,
            Bound::AtMost(bound) | Bound::AtLeast(bound) => Some((measured - bound).abs() / bound),
            Bound::Unknown => return "not measured".into(),
        };
        match missed_by {
            None => "met".into(),
            Some(share) if share.is_finite() => {
                format!("missed by {:.0} %", (share * 100.0).ceil())
            }
            Some(_) => "missed".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_says_by_how_much_a_target_was_missed() {
        let verdict = |bound, measured| Target::new("", bound, measured, "").verdict();

        assert_eq!(verdict(Bound::AtMost(10.0), Some(10.0)), "met");
        assert_eq!(verdict(Bound::AtMost(10.0), Some(12.0)), "missed by 20 %");
        assert_eq!(verdict(Bound::AtLeast(10.0), Some(9.0)), "missed by 10 %");
        assert_eq!(verdict(Bound::AtLeast(10.0), None), "not measured");
        assert_eq!(verdict(Bound::Unknown, Some(1.0)), "not measured");
        assert_eq!(verdict(Bound::AtMost(0.0), Some(1.0)), "missed");
    }
}
