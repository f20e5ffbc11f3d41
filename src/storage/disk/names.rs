//! Names on the disk that clients neither see nor use: temporary files of uploads, and partials.
//!
//! A partial of NAME is `.polygate-~NAME.partial`, a temporary file `.polygate-XXXXXXXXXXXX~NAME.partial`: so
//! what a crash leaves tells whose it is, and a client's own `NAME.partial` is another file. A name that is
//! too long for that keeps no partial; its temporary files do not carry it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

const PREFIX: &[u8] = b".polygate-";
const SUFFIX: &[u8] = b".partial";
const RANDOM: usize = 12;

/// The longest name that fits with all that.
const LONGEST: usize = 255 - PREFIX.len() - RANDOM - 1 - SUFFIX.len();

/// A reserved name on the disk.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reserved {
    /// The partial of a name.
    Partial(OsString),
    /// An upload of a name; of none where the name is too long.
    Temporary(Option<OsString>),
}

/// Whether clients may not use the name.
pub(crate) fn is_reserved(name: &[u8]) -> bool {
    name.starts_with(PREFIX)
}

/// What a name on the disk stands for; none for files of clients.
pub(super) fn reserved(name: &OsStr) -> Option<Reserved> {
    let rest = name.as_bytes().strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let tilde = rest.iter().position(|b| *b == b'~')?;
    let of = OsStr::from_bytes(&rest[tilde + 1..]).to_owned();
    match tilde {
        0 if !of.is_empty() => Some(Reserved::Partial(of)),
        RANDOM => Some(Reserved::Temporary((!of.is_empty()).then_some(of))),
        _ => None,
    }
}

/// The partial of a name; none where the name is too long.
pub(super) fn partial(name: &OsStr) -> Option<OsString> {
    (name.len() <= LONGEST).then(|| assemble("", name))
}

/// A new temporary file for a name.
pub(super) fn temporary(name: &OsStr) -> OsString {
    let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(RANDOM).collect();
    assemble(&random, if name.len() <= LONGEST { name } else { OsStr::new("") })
}

/// How a partial is listed.
pub(super) fn shown(name: &OsStr) -> OsString {
    OsString::from_vec([name.as_bytes(), SUFFIX].concat())
}

/// The name whose partial is listed like this.
pub(super) fn of_shown(name: &OsStr) -> Option<&OsStr> {
    name.as_bytes().strip_suffix(SUFFIX).filter(|name| !name.is_empty()).map(OsStr::from_bytes)
}

fn assemble(random: &str, name: &OsStr) -> OsString {
    OsString::from_vec([PREFIX, random.as_bytes(), b"~", name.as_bytes(), SUFFIX].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_crash_leaves_tells_whose_it_is() {
        for name in ["a", "a~b.partial", "\u{fffd} ", &"x".repeat(LONGEST)] {
            let name = OsStr::new(name);
            let partial = partial(name).unwrap();
            assert_eq!(reserved(&partial), Some(Reserved::Partial(name.into())));
            let temporary = temporary(name);
            assert!(temporary.len() <= 255 && is_reserved(temporary.as_bytes()));
            assert_eq!(reserved(&temporary), Some(Reserved::Temporary(Some(name.into()))));
            assert_eq!(of_shown(&shown(name)), Some(name));
        }
        let long = "x".repeat(LONGEST + 1);
        assert_eq!(partial(OsStr::new(&long)), None);
        assert_eq!(reserved(&temporary(OsStr::new(&long))), Some(Reserved::Temporary(None)));
        for name in ["a", "a.partial", ".polygate-", ".polygate-~.partial", ".polygate-x~a.partial"] {
            assert_eq!(reserved(OsStr::new(name)), None, "{name}");
        }
        assert_eq!(of_shown(OsStr::new(".partial")), None);
    }
}
