//! Values with a unit: durations and sizes, each with its own grammar and schema.
//!
//! Both are strings of whole numbers with units (`"1h 30m"`, `"64KiB"`). There is no sign, no
//! fraction and no bare number, and zero is refused: what may be switched off says `"off"`. They
//! display in the same grammar, in the shortest exact form.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::text::{BadValue, text_value};

/// The longest duration: a hundred years, so that a deadline can always be computed.
const LONGEST: Duration = Duration::from_secs(36_500 * 86_400);

/// The units of durations with their milliseconds, longest first.
const DURATION_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The units of sizes with their bytes, in the order of preference for display within a size.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

/// A duration that is never zero and cannot be `"off"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(Duration);

impl Period {
    /// So many seconds, at least one.
    pub const fn after_secs(seconds: u64) -> Self {
        Period(Duration::from_secs(if seconds == 0 { 1 } else { seconds }))
    }

    /// So many milliseconds, at least one.
    pub const fn after_millis(millis: u64) -> Self {
        Period(Duration::from_millis(if millis == 0 { 1 } else { millis }))
    }

    /// As the standard type.
    pub const fn get(self) -> Duration {
        self.0
    }
}

/// A duration, or `"off"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeout(Option<Duration>);

impl Timeout {
    /// No limit: `"off"`.
    pub const OFF: Timeout = Timeout(None);

    /// So many seconds.
    pub const fn after_secs(seconds: u64) -> Self {
        Timeout(Some(Duration::from_secs(seconds)))
    }

    /// As the standard type; none is off.
    pub const fn get(self) -> Option<Duration> {
        self.0
    }
}

/// A number of bytes, never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

impl Size {
    /// In bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// So many bytes.
    pub const fn of(bytes: u64) -> Self {
        Size(bytes)
    }

    /// So many KiB.
    pub const fn kib(n: u64) -> Self {
        Size(n * 1024)
    }
}

// === impl Period, Timeout ===

impl FromStr for Period {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        if text == "off" {
            return Err(BadValue::new("expected a duration, `off` is not possible here")
                .help("write for example \"30s\""));
        }
        parse_duration(text, "a duration").map(Period)
    }
}

impl FromStr for Timeout {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        if text == "off" {
            return Ok(Timeout::OFF);
        }
        parse_duration(text, "a duration or \"off\"").map(|d| Timeout(Some(d)))
    }
}

fn parse_duration(text: &str, expected: &str) -> Result<Duration, BadValue> {
    let example = "write for example \"500ms\", \"30s\" or \"1h 30m\"; the units are ms, s, m, h and d";
    if text.is_empty() {
        return Err(BadValue::new(format!("expected {expected}, found an empty string")).help(example));
    }
    let mut total: u64 = 0;
    let mut smallest = usize::MAX;
    for part in text.split(' ') {
        let (number, unit) = split_number(part);
        if number.is_empty() {
            return Err(BadValue::new(format!("expected {expected}, found `{text}`")).help(example));
        }
        if unit.is_empty() {
            return Err(BadValue::new(format!("the duration `{text}` lacks a unit")).help(example));
        }
        let Some(rank) = DURATION_UNITS.iter().position(|(name, _)| *name == unit) else {
            return Err(
                BadValue::new(format!("`{unit}` in `{text}` is not a unit of durations")).help(example)
            );
        };
        if smallest != usize::MAX && rank <= smallest {
            return Err(BadValue::new(format!("the units of `{text}` do not descend"))
                .help("write each unit once, the largest first, for example \"1h 30m\""));
        }
        smallest = rank;
        total = number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(DURATION_UNITS[rank].1))
            .and_then(|ms| ms.checked_add(total))
            .filter(|ms| Duration::from_millis(*ms) <= LONGEST)
            .ok_or_else(|| {
                BadValue::new(format!("the duration `{text}` is too long")).help("the longest is \"36500d\"")
            })?;
    }
    if total == 0 {
        let off = expected.contains("off");
        let help = if off { "write \"off\" for none" } else { "write a longer one, for example \"1s\"" };
        return Err(BadValue::new("a duration cannot be zero").help(help));
    }
    Ok(Duration::from_millis(total))
}

/// Splits the leading digits off.
fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        let mut separator = "";
        for (unit, milliseconds) in DURATION_UNITS {
            let count = rest / milliseconds;
            rest %= milliseconds;
            if count > 0 {
                write!(f, "{separator}{count}{unit}")?;
                separator = " ";
            }
        }
        Ok(())
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("off"),
            Some(duration) => Period(duration).fmt(f),
        }
    }
}

// === impl Size ===

impl FromStr for Size {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let example =
            "write for example \"64KiB\" or \"1MB\"; the units are B, kB, MB, GB, TB, KiB, MiB, GiB and TiB";
        let (number, unit) = split_number(text);
        if number.is_empty() {
            return Err(BadValue::new(format!("expected a size, found `{text}`")).help(example));
        }
        if unit.is_empty() {
            return Err(BadValue::new(format!("the size `{text}` lacks a unit")).help(example));
        }
        // `KB` is read as `kB`: there is no other thing that it could mean.
        let unit = if unit == "KB" { "kB" } else { unit };
        let Some((_, factor)) = SIZE_UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(BadValue::new(format!("`{unit}` in `{text}` is not a unit of sizes")).help(example));
        };
        match number.parse::<u64>().ok().and_then(|n| n.checked_mul(*factor)) {
            None => Err(BadValue::new(format!("the size `{text}` is too large"))),
            Some(0) => Err(BadValue::new("a size cannot be zero")),
            Some(bytes) => Ok(Size(bytes)),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The largest unit that divides it: exact, and binary before decimal where both do.
        let fits = |unit: &&(&str, u64)| self.0.is_multiple_of(unit.1);
        let (unit, factor) = SIZE_UNITS.iter().find(fits).unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

text_value!(Period, "Period", "duration", "^[0-9]+(ms|s|m|h|d)( [0-9]+(ms|s|m|h))*$|\\$\\{", serialize);
text_value!(
    Timeout,
    "Timeout",
    "timeout",
    "^(off|[0-9]+(ms|s|m|h|d)( [0-9]+(ms|s|m|h))*)$|\\$\\{",
    serialize
);
text_value!(Size, "Size", "size", "^[0-9]+([kKMGT]?B|[KMGT]iB)$|\\$\\{", serialize);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn timeout(text: &str, expected: &str) {
        let shown = match text.parse::<Timeout>() {
            Ok(value) => value.to_string(),
            Err(error) => format!("! {}", error.message),
        };
        assert!(
            if expected.starts_with('!') { shown.starts_with(expected) } else { shown == expected },
            "{text}: {shown}"
        );
    }

    #[test]
    fn durations_are_read_and_shown_in_one_grammar() {
        timeout("500ms", "500ms");
        timeout("30s", "30s");
        timeout("300s", "5m");
        timeout("90m", "1h 30m");
        timeout("1h 30m", "1h 30m");
        timeout("2d", "2d");
        timeout("36500d", "36500d");
        timeout("1500ms", "1s 500ms");
        timeout("off", "off");
    }

    #[test]
    fn what_is_not_a_duration_says_why() {
        timeout("", "! expected a duration or \"off\", found an empty");
        timeout("30", "! the duration `30` lacks a unit");
        timeout("-1s", "! expected a duration");
        timeout("+1s", "! expected a duration");
        timeout("1.5s", "! `.5s` in `1.5s` is not a unit");
        timeout("1 h", "! the duration `1 h` lacks a unit");
        timeout("1h  30m", "! expected a duration");
        timeout("30m 1h", "! the units of `30m 1h` do not descend");
        timeout("1h 1h", "! the units");
        timeout("5min", "! `min` in");
        timeout("0s", "! a duration cannot be zero");
        timeout("0h 0m", "! a duration cannot be zero");
        timeout("36501d", "! the duration `36501d` is too long");
        timeout("99999999999999999999s", "! the duration");
        timeout("Off", "! expected a duration");
        assert!("off".parse::<Period>().is_err());
    }

    #[track_caller]
    fn size(text: &str, expected: Result<(u64, &str), &str>) {
        match (text.parse::<Size>(), expected) {
            (Ok(size), Ok((bytes, shown))) => {
                assert_eq!((size.bytes(), size.to_string().as_str()), (bytes, shown));
            }
            (Err(error), Err(part)) => assert!(error.message.contains(part), "{}", error.message),
            (got, _) => panic!("{text}: {got:?}"),
        }
    }

    #[test]
    fn sizes_are_read_and_shown_in_one_grammar() {
        size("1B", Ok((1, "1B")));
        size("64KiB", Ok((65_536, "64KiB")));
        size("1MB", Ok((1_000_000, "1MB")));
        size("1000kB", Ok((1_000_000, "1MB")));
        size("1KB", Ok((1_000, "1kB")));
        size("2TiB", Ok((2 << 40, "2TiB")));
        size("0B", Err("cannot be zero"));
        size("64", Err("lacks a unit"));
        size("", Err("expected a size"));
        size("-1B", Err("expected a size"));
        size("1.5MB", Err("not a unit"));
        size("64 KiB", Err("not a unit"));
        size("99999999999TiB", Err("too large"));
    }
}
