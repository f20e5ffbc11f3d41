//! Names as clients write them: bytes, relative to a working directory, taken apart once.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::StorageError;

/// The longest part of a name (NAME_MAX).
const LONGEST_PART: usize = 255;

/// The longest name as a whole (PATH_MAX, without the NUL).
const LONGEST: usize = 4095;

/// A name in a home: absolute there, without `.`, `..` and doubled slashes; any bytes but NUL. Whether it leads
/// anywhere, and that it never leads out, is the kernel's to say.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct HomePath(Vec<u8>);

impl HomePath {
    /// The home itself.
    pub const ROOT: HomePath = HomePath(Vec::new());

    /// What a client means by `name` when this is its working directory. `..` goes up, at the top nowhere.
    ///
    /// # Errors
    /// [`StorageError::Name`] for a NUL, what is too long, and names that the gateway keeps for itself.
    pub fn join(&self, name: impl AsRef<[u8]>) -> Result<HomePath, StorageError> {
        let name = name.as_ref();
        let mut path = if name.first() == Some(&b'/') { Vec::new() } else { self.0.clone() };
        for part in name.split(|b| *b == b'/') {
            match part {
                b"" | b"." => {}
                b".." => path.truncate(path.iter().rposition(|b| *b == b'/').unwrap_or(0)),
                part if part.len() > LONGEST_PART || part.contains(&0) => return Err(StorageError::Name),
                part if super::disk::is_reserved(part) => return Err(StorageError::Name),
                part => {
                    if !path.is_empty() {
                        path.push(b'/');
                    }
                    path.extend_from_slice(part);
                }
            }
            if path.len() > LONGEST {
                return Err(StorageError::Name);
            }
        }
        Ok(HomePath(path))
    }

    /// A file name, not a path: what is not exactly one part is refused.
    ///
    /// # Errors
    /// [`StorageError::Name`].
    pub fn file(name: &str) -> Result<HomePath, StorageError> {
        if name.is_empty() || name.contains('/') || name == "." || name == ".." {
            return Err(StorageError::Name);
        }
        HomePath::ROOT.join(name)
    }

    /// Whether it is the home itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory above it; the home is above itself.
    #[must_use]
    pub fn parent(&self) -> HomePath {
        HomePath(self.0[..self.0.iter().rposition(|b| *b == b'/').unwrap_or(0)].to_vec())
    }

    /// The last part; none for the home itself.
    pub fn name(&self) -> Option<&OsStr> {
        let start = self.0.iter().rposition(|b| *b == b'/').map_or(0, |slash| slash + 1);
        (!self.is_root()).then(|| OsStr::from_bytes(&self.0[start..]))
    }

    /// As clients see it, from `/` on, byte for byte.
    pub fn to_bytes(&self) -> Vec<u8> {
        [b"/", &self.0[..]].concat()
    }

    /// For system calls relative to the home's directory.
    pub(super) fn relative(&self) -> &Path {
        if self.is_root() { Path::new(".") } else { Path::new(OsStr::from_bytes(&self.0)) }
    }
}

/// As clients see it; bytes that are not UTF-8 are replaced, so this is for logs and views.
impl fmt::Display for HomePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(from: &str, name: &str, expected: &str) {
        let from = HomePath::ROOT.join(from).unwrap();
        let found = from.join(name).map_or_else(|error| format!("! {error}"), |path| path.to_string());
        assert_eq!(found, expected, "{from} and {name}");
    }

    #[test]
    fn names_are_taken_apart_as_clients_mean_them() {
        check("", "a", "/a");
        check("/a/b", "c", "/a/b/c");
        check("/a/b", "/c", "/c");
        check("/a/b", "..", "/a");
        check("/a/b", "../../../..//etc/./x/", "/etc/x");
        check("/a", "", "/a");
        check("", "/", "/");
        check("", "\u{fffd} ..\t", "/\u{fffd} ..\t");
        check("", "a\0b", "! the name is not allowed");
        check("", &"x".repeat(256), "! the name is not allowed");
        check("", &"x/".repeat(3000), "! the name is not allowed");
        check("", ".polygate-x.partial", "! the name is not allowed");
    }

    #[test]
    fn parents_and_last_parts_fit_together() {
        let path = HomePath::ROOT.join("/a/b").unwrap();
        assert_eq!((path.parent().to_string(), path.name()), ("/a".into(), Some(OsStr::new("b"))));
        assert_eq!((path.parent().parent(), path.parent().name()), (HomePath::ROOT, Some(OsStr::new("a"))));
        assert_eq!((HomePath::ROOT.parent(), HomePath::ROOT.name()), (HomePath::ROOT, None));
        let odd = HomePath::ROOT.join(b"\xff/\xfe").unwrap();
        assert_eq!(odd.to_bytes(), b"/\xff/\xfe");
        for name in ["", ".", "..", "a/b", "/a"] {
            assert!(HomePath::file(name).is_err(), "{name}");
        }
        assert_eq!(HomePath::file("a b").unwrap().to_string(), "/a b");
    }
}
