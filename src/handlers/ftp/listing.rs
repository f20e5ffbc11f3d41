//! Listings: lines like those of `ls -l`, bare names, and facts (RFC 959, 4.1.3; RFC 3659, 7).

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::format_time;
use super::reply::push_name;
use crate::storage::{Entry, Kind};

/// What is older has the year in place of the hour, as `ls` does it.
const HALF_A_YEAR: Duration = Duration::from_secs(365 * 86_400 / 2);

/// The facts that there are, in their order.
const NAMES: [&str; 5] = ["type", "size", "modify", "perm", "unique"];

/// Which facts MLST and MLSD tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts(u8);

impl Facts {
    pub(super) const ALL: Facts = Facts((1 << NAMES.len()) - 1);

    /// Those named, separated by `;`; unknown ones are passed over (RFC 3659, 7.9).
    pub(super) fn chosen(names: &[u8]) -> Self {
        let mut facts = Facts(0);
        for name in names.split(|byte| *byte == b';') {
            if let Some(at) = NAMES.iter().position(|fact| name.eq_ignore_ascii_case(fact.as_bytes())) {
                facts.0 |= 1 << at;
            }
        }
        facts
    }

    fn has(self, at: usize) -> bool {
        self.0 & (1 << at) != 0
    }

    /// As in the reply to OPTS.
    pub(super) fn names(self) -> String {
        self.list("")
    }

    /// As in the reply to FEAT: a star at those that are told.
    pub(super) fn feature(self) -> String {
        NAMES.iter().enumerate().fold(String::new(), |mut line, (at, name)| {
            // Writing into a String cannot fail.
            let _ = write!(line, "{name}{};", if self.has(at) { "*" } else { "" });
            line
        })
    }

    fn list(self, mark: &str) -> String {
        NAMES.iter().enumerate().filter(|(at, _)| self.has(*at)).fold(String::new(), |mut line, (_, name)| {
            let _ = write!(line, "{name}{mark};");
            line
        })
    }
}

/// An entry whose facts are told.
pub(super) struct FactOf<'a> {
    pub(super) entry: &'a Entry,
    /// Whether whoever asks may change it.
    pub(super) writable: bool,
}

/// The facts and the space behind them.
pub(super) fn push_facts(line: &mut Vec<u8>, facts: Facts, of: &FactOf<'_>) {
    let entry = of.entry;
    let mut text = String::new();
    for (at, name) in NAMES.iter().enumerate().filter(|(at, _)| facts.has(*at)) {
        let _ = match at {
            0 => write!(text, "{name}={};", kind_of(entry.kind)),
            1 if entry.kind == Kind::Folder => Ok(()),
            1 => write!(text, "{name}={};", entry.size),
            2 => write!(text, "{name}={};", format_time(entry.modified)),
            3 => write!(text, "{name}={};", permissions(entry.kind, of.writable)),
            _ => write!(text, "{name}={:x}g{:x};", entry.unique.0, entry.unique.1),
        };
    }
    text.push(' ');
    line.extend_from_slice(text.as_bytes());
}

fn kind_of(kind: Kind) -> &'static str {
    match kind {
        Kind::File | Kind::Partial => "file",
        Kind::Folder => "dir",
        Kind::Other => "OS.unix=other",
    }
}

/// What may be done (RFC 3659, 7.5.5).
fn permissions(kind: Kind, writable: bool) -> &'static str {
    match (kind, writable) {
        (Kind::Folder, true) => "cdeflmp",
        (Kind::Folder, false) => "el",
        (Kind::File | Kind::Partial, true) => "adfrw",
        (Kind::File | Kind::Partial, false) => "r",
        (Kind::Other, true) => "df",
        (Kind::Other, false) => "",
    }
}

/// One line of a listing.
#[derive(Debug, Clone)]
pub(super) enum Format {
    /// LIST.
    Long,
    /// NLST, with what stands before each name.
    Names(Vec<u8>),
    /// MLSD.
    Facts(Facts, bool),
}

impl Format {
    /// Appends the line of an entry.
    pub(super) fn push(&self, output: &mut Vec<u8>, entry: &Entry, now: SystemTime) {
        match self {
            Format::Long => push_long(output, entry, now),
            Format::Names(prefix) => output.extend_from_slice(prefix),
            Format::Facts(facts, writable) => {
                push_facts(output, *facts, &FactOf { entry, writable: *writable });
            }
        }
        push_name(output, entry.name.as_bytes());
        output.extend_from_slice(b"\r\n");
    }
}

fn push_long(output: &mut Vec<u8>, entry: &Entry, now: SystemTime) {
    let mut text = String::with_capacity(64);
    text.push(match entry.kind {
        Kind::Folder => 'd',
        Kind::File | Kind::Partial | Kind::Other => '-',
    });
    for (at, letter) in "rwxrwxrwx".chars().enumerate() {
        text.push(if entry.mode & (0o400 >> at) != 0 { letter } else { '-' });
    }
    let _ = write!(text, " {:>4} ftp      ftp      {:>12} ", entry.links, entry.size);
    push_date(&mut text, entry.modified, now);
    text.push(' ');
    output.extend_from_slice(text.as_bytes());
}

/// `Nov 27 04:10`, or `Nov 27  2025` of what is older than half a year or to come.
fn push_date(text: &mut String, time: SystemTime, now: SystemTime) {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let recent = now.duration_since(time).is_ok_and(|age| age < HALF_A_YEAR);
    let time = TimeZone::UTC.to_datetime(Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH));
    let month = MONTHS[usize::try_from(time.month() - 1).unwrap_or(0) % 12];
    let _ = match recent {
        true => write!(text, "{month} {:>2} {:02}:{:02}", time.day(), time.hour(), time.minute()),
        false => write!(text, "{month} {:>2} {:>5}", time.day(), time.year()),
    };
}

/// Whether a name is written with the characters of a pattern.
pub(super) fn is_pattern(name: &[u8]) -> bool {
    name.iter().any(|byte| matches!(byte, b'*' | b'?' | b'['))
}

/// Whether a name fits a pattern of `*`, `?` and `[a-z]`. A name that begins with a dot fits only a pattern that
/// does, too.
pub(super) fn fits(pattern: &[u8], name: &OsStr) -> bool {
    let name = name.as_bytes();
    (name.first() != Some(&b'.') || pattern.first() == Some(&b'.')) && fits_bytes(pattern, name)
}

/// Goes back to the last star only, so that no pattern takes more than the product of both lengths.
fn fits_bytes(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match step(&pattern[p..], name[n]) {
            Step::Star => {
                star = Some((p, n));
                p += 1;
            }
            Step::Fits(length) => {
                p += length;
                n += 1;
            }
            Step::Not => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, n) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

enum Step {
    Star,
    /// So much of the pattern is used.
    Fits(usize),
    Not,
}

fn step(pattern: &[u8], byte: u8) -> Step {
    match pattern.first() {
        None => Step::Not,
        Some(b'*') => Step::Star,
        Some(b'?') => Step::Fits(1),
        Some(b'[') => match pattern[1..].iter().position(|byte| *byte == b']') {
            Some(end) if end > 0 => {
                if in_set(&pattern[1..=end], byte) {
                    Step::Fits(end + 2)
                } else {
                    Step::Not
                }
            }
            _ => literal(b'[', byte),
        },
        Some(letter) => literal(*letter, byte),
    }
}

fn literal(letter: u8, byte: u8) -> Step {
    if letter == byte { Step::Fits(1) } else { Step::Not }
}

fn in_set(set: &[u8], byte: u8) -> bool {
    let (negated, set) = match set.first() {
        Some(b'!' | b'^') if set.len() > 1 => (true, &set[1..]),
        _ => (false, set),
    };
    let mut rest = set;
    let mut found = false;
    while let Some(first) = rest.first() {
        match rest {
            [low, b'-', high, behind @ ..] => {
                found |= (*low..=*high).contains(&byte);
                rest = behind;
            }
            _ => {
                found |= *first == byte;
                rest = &rest[1..];
            }
        }
    }
    found != negated
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, kind: Kind) -> Entry {
        Entry {
            name: name.into(),
            kind,
            size: 1234,
            modified: SystemTime::UNIX_EPOCH + Duration::from_secs(951_782_399),
            mode: 0o640,
            links: 1,
            unique: (1, 0xab),
        }
    }

    fn line(format: &Format, entry: &Entry, age: Duration) -> String {
        let mut output = Vec::new();
        format.push(&mut output, entry, entry.modified + age);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn a_long_line_is_what_ls_writes() {
        let file = entry("a b", Kind::File);
        let day = Duration::from_secs(86_400);
        assert_eq!(
            line(&Format::Long, &file, day),
            "-rw-r-----    1 ftp      ftp              1234 Feb 28 23:59 a b\r\n"
        );
        let folder = entry("d", Kind::Folder);
        assert_eq!(
            line(&Format::Long, &folder, day * 200),
            "drw-r-----    1 ftp      ftp              1234 Feb 28  2000 d\r\n"
        );
    }

    #[test]
    fn facts_are_those_that_were_chosen() {
        let file = entry("x\r\ny", Kind::File);
        let all = Format::Facts(Facts::ALL, true);
        assert_eq!(
            line(&all, &file, Duration::ZERO),
            "type=file;size=1234;modify=20000228235959;perm=adfrw;unique=1gab; x??y\r\n"
        );
        let some = Facts::chosen(b"Size;nope;TYPE");
        assert_eq!(
            (some.names().as_str(), some.feature().as_str()),
            ("type;size;", "type*;size*;modify;perm;unique;")
        );
        assert_eq!(
            line(&Format::Facts(some, false), &entry("d", Kind::Folder), Duration::ZERO),
            "type=dir; d\r\n"
        );
        assert_eq!(line(&Format::Facts(Facts::chosen(b""), false), &file, Duration::ZERO), " x??y\r\n");
    }

    #[test]
    fn patterns_fit_whole_names() {
        for (pattern, name, expected) in [
            ("*.txt", "a.txt", true),
            ("*.txt", "a.txt.gz", false),
            ("*", ".hidden", false),
            (".*", ".hidden", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]*[!0-9]", "b12x", true),
            ("[a-c]*[!0-9]", "b123", false),
            ("[", "[", true),
            ("a*b*c", "aXbYbZc", true),
            ("**", "", true),
        ] {
            assert_eq!(fits(pattern.as_bytes(), OsStr::new(name)), expected, "{pattern} {name}");
        }
        // No pattern makes it slow.
        assert!(!fits(b"*a*a*a*a*a*a*a*a*a*ab".repeat(20).as_slice(), OsStr::new(&"a".repeat(255))));
    }
}
