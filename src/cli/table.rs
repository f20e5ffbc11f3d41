//! Tables for people: aligned columns, and numbers with a unit that can be read at a glance.

use super::terminal;

/// How a column is aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows under a header.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns and no row.
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Table { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Appends a row, one cell a column. Control characters in cells are made visible.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells.iter().map(|cell| terminal::escape(cell)).collect());
    }

    /// The table as text. With colour the header stands out.
    pub(crate) fn render(&self, color: bool) -> String {
        let header: Vec<String> = self.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|at| self.rows.iter().chain([&header]).map(|row| width(&row[at])).max().unwrap_or(0))
            .collect();
        let mut out = String::new();
        let head = self.line(&header, &widths);
        match color {
            true => out.push_str(&format!("\x1b[1m{head}\x1b[0m\n")),
            false => out.push_str(&format!("{head}\n")),
        }
        for row in &self.rows {
            out.push_str(&self.line(row, &widths));
            out.push('\n');
        }
        out
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for ((cell, (_, align)), full) in cells.iter().zip(&self.columns).zip(widths) {
            if !line.is_empty() {
                line.push_str("  ");
            }
            let padding = " ".repeat(full - width(cell));
            match align {
                Align::Left => line.extend([cell.as_str(), &padding]),
                Align::Right => line.extend([padding.as_str(), cell]),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

/// Bytes with a binary unit: `512B`, `1.5KiB`, `20MiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count}B");
    }
    let mut scaled = count as f64 / 1024.0;
    let mut unit = 0;
    // What rounds to 1024 belongs to the next unit.
    while scaled >= 1023.5 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    match scaled < 9.95 {
        true => format!("{scaled:.1}{}", UNITS[unit]),
        false => format!("{scaled:.0}{}", UNITS[unit]),
    }
}

/// A duration in its two largest units: `0.4s`, `12s`, `3m 05s`, `2h 00m`, `5d 03h`.
pub(crate) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "-".into();
    }
    if seconds < 9.95 {
        return format!("{seconds:.1}s");
    }
    // A float to integer cast saturates.
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{whole}s"),
        60..3600 => format!("{}m {:02}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h {:02}m", whole / 3600, whole % 3600 / 60),
        _ => format!("{}d {:02}h", whole / 86_400, whole % 86_400 / 3600),
    }
}

/// A count with its word: `1 listener`, `2 listeners`.
pub(crate) fn plural(count: usize, word: &str) -> String {
    match count {
        1 => format!("1 {word}"),
        _ => format!("{count} {word}s"),
    }
}

/// Percent-encodes everything that is not unreserved (RFC 3986).
pub(crate) fn encode(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_space() {
        let mut table = Table::new(&[("NAME", Align::Left), ("ACTIVE", Align::Right), ("X", Align::Left)]);
        table.row(vec!["echo".into(), "5".into(), "a".into()]);
        table.row(vec!["wünsche".into(), "12345678".into(), String::new()]);
        let expected = "\
NAME       ACTIVE  X
echo            5  a
wünsche  12345678
";
        assert_eq!(table.render(false), expected);
        assert!(table.render(true).starts_with("\x1b[1mNAME       ACTIVE  X\x1b[0m\n"));
    }

    #[test]
    fn an_empty_first_cell_keeps_its_column() {
        let mut table = Table::new(&[("A", Align::Left), ("B", Align::Left)]);
        table.row(vec![String::new(), "x".into()]);
        assert_eq!(table.render(false), "A  B\n   x\n");
    }

    #[test]
    fn cells_cannot_forge_rows() {
        let mut table = Table::new(&[("A", Align::Left)]);
        table.row(vec!["x\ny\u{1b}[2J".into()]);
        assert_eq!(table.render(false), "A\nx\\ny\\u{1b}[2J\n");
    }

    #[test]
    fn bytes_have_a_unit() {
        let cases = [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1.0KiB"),
            (1536, "1.5KiB"),
            (10 * 1024, "10KiB"),
            (1024 * 1024 - 1, "1.0MiB"),
            (20 << 20, "20MiB"),
            (u64::MAX, "16EiB"),
        ];
        for (count, expected) in cases {
            assert_eq!(bytes(count), expected, "{count}");
        }
    }

    #[test]
    fn durations_have_two_units() {
        let cases = [
            (0.0, "0.0s"),
            (0.44, "0.4s"),
            (9.99, "10s"),
            (59.4, "59s"),
            (59.6, "1m 00s"),
            (185.0, "3m 05s"),
            (7200.0, "2h 00m"),
            (86_399.0, "23h 59m"),
            (442_800.0, "5d 03h"),
            (-1.0, "-"),
            (f64::NAN, "-"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(duration(seconds), expected, "{seconds}");
        }
    }
}
