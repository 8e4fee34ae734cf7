//! Figures and tables as people read them.

/// A number with three digits that count, and with commas from a thousand on.
pub(crate) fn figure(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if !value.is_finite() => "-".to_owned(),
        _ if size >= 1_000.0 => grouped(value),
        _ if size >= 100.0 => format!("{value:.0}"),
        _ if size >= 10.0 => format!("{value:.1}"),
        _ if size >= 1.0 => format!("{value:.2}"),
        _ if size == 0.0 => "0".to_owned(),
        _ if size >= 0.1 => format!("{value:.3}"),
        _ => format!("{value:.4}"),
    }
}

/// The same, or a dash for what was not measured.
pub(crate) fn maybe(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), figure)
}

/// A whole number in a label, with commas; whatever else it is, as it is.
pub(crate) fn count(label: &str) -> String {
    label.parse::<u32>().map_or_else(|_| label.to_owned(), |number| grouped(f64::from(number)))
}

fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

/// A table in Markdown, its columns padded so that it reads well unrendered too.
pub(crate) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let rows: Vec<Vec<String>> = rows.into_iter().collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let longest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        longest.max(head[column].chars().count()).max(3)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).map(|(cell, width)| format!(" {cell:width$} |"));
        format!("|{}\n", padded.collect::<String>())
    };
    let mut text = line(&mut head.iter().copied());
    let rules: String = widths.iter().map(|width| format!("{}|", "-".repeat(width + 2))).collect();
    text += &format!("|{rules}\n");
    for row in &rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_count() {
        let shown = [0.01234, 0.1234, 1.234, 12.34, 123.4, 1_234.5, 1_234_567.0, 0.0, -2_000.0];
        assert_eq!(
            shown.map(figure),
            ["0.0123", "0.123", "1.23", "12.3", "123", "1,234", "1,234,567", "0", "-2,000"]
        );
        assert_eq!(maybe(None), "-");
        assert_eq!(["1", "10000", "cpu"].map(count), ["1", "10,000", "cpu"]);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let text = table(&["mode", "p50"], [vec!["local".into(), "1".into()]]);
        assert_eq!(text, "| mode  | p50 |\n|-------|-----|\n| local | 1   |\n");
    }
}
