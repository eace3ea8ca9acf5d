//! Formats numbers and tables as Markdown that is also readable in a terminal.

use super::summary::Spread;

/// A table with aligned columns. The first column is left-aligned, and all others are right-aligned.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |at: usize| {
        let cells = rows.iter().map(|row| row[at].chars().count());
        cells
            .chain([head[at].chars().count(), 3])
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    let mut line = |cells: Vec<String>| {
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    };
    let align = |at: usize, cell: &str| {
        let width = widths[at];
        if at == 0 {
            format!("{cell:<width$}")
        } else {
            format!("{cell:>width$}")
        }
    };
    line(
        head.iter()
            .enumerate()
            .map(|(at, cell)| align(at, cell))
            .collect(),
    );
    let rule = |at: usize| match at {
        0 => "-".repeat(widths[0]),
        at => format!("{}:", "-".repeat(widths[at] - 1)),
    };
    line((0..head.len()).map(rule).collect());
    for row in rows {
        line(
            row.iter()
                .enumerate()
                .map(|(at, cell)| align(at, cell))
                .collect(),
        );
    }
    text
}

/// A number with about three significant digits.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if size >= 999.5 => thousands(value),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A rounded number with thousands separators.
pub(super) fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The median as text, or `n/a` without values.
pub(super) fn median(values: impl Iterator<Item = Option<f64>>) -> String {
    Spread::of(values.flatten()).map_or_else(|| "n/a".into(), |spread| number(spread.median))
}

/// The median as text, with minimum and maximum if they differ, or `n/a` without values.
pub(super) fn with_range(values: impl Iterator<Item = Option<f64>>) -> String {
    let Some(Spread { median, min, max }) = Spread::of(values.flatten()) else {
        return "n/a".into();
    };
    if min == max {
        return number(median);
    }
    format!("{} ({}–{})", number(median), number(min), number(max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_matter() {
        let numbers = [1_234_567.8, 999.9, 999.4, 12.34, 5.678, 0.12345, 0.0].map(number);

        assert_eq!(
            numbers,
            ["1,234,568", "1,000", "999", "12.3", "5.68", "0.123", "0"]
        );
    }

    #[test]
    fn a_table_is_aligned() {
        let table = table(&["a", "bc"], &[vec!["long".into(), "1".into()]]);

        assert_eq!(table, "| a    |  bc |\n| ---- | --: |\n| long |   1 |\n");
    }
}
