//! What an account is, and which names and passwords it may have.

use std::time::SystemTime;

/// The longest name, in bytes.
const LONGEST_NAME: usize = 64;

/// The longest password, in characters.
const LONGEST_PASSWORD: usize = 128;

/// An account as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its own quota in bytes; none is the configured one.
    pub quota: Option<u64>,
    /// Its own bandwidth in bytes a second, where a handler asks: 0 is no limit, none is the handler's.
    pub bandwidth: Option<u64>,
    /// Whether it may change nothing.
    pub read_only: bool,
    /// Whether it may not log in.
    pub disabled: bool,
    /// The directory of its files, a name right below the root.
    pub home: String,
    /// When it was made.
    pub created_at: SystemTime,
    /// When somebody last logged in, to the minute.
    pub last_login_at: Option<SystemTime>,
}

/// What to change of an account. None leaves a thing as it is.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// A new password.
    pub password: Option<String>,
    /// Its own quota in bytes, or (`Some(None)`) the configured one.
    pub quota: Option<Option<u64>>,
    /// Its own bandwidth in bytes a second (0: no limit), or (`Some(None)`) that of the handler.
    pub bandwidth: Option<Option<u64>>,
    /// Whether it may change nothing.
    pub read_only: Option<bool>,
    /// Whether it may not log in.
    pub disabled: Option<bool>,
}

impl Changes {
    /// Whether the database can hold it.
    pub(super) fn fits(&self) -> bool {
        let largest = i64::MAX.unsigned_abs();
        [self.quota, self.bandwidth].into_iter().flatten().flatten().all(|bytes| bytes <= largest)
    }
}

/// Why an account could not be made, changed or found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// The name is not allowed.
    #[error("a name has 1 to 64 of A-Z, a-z, 0-9, `_`, `.` and `-` and starts with a letter, digit or `_`")]
    Name,
    /// The password is not allowed.
    #[error("a password has 1 to 128 characters")]
    Password,
    /// A number of bytes that the database cannot hold: SQLite's integers are signed.
    #[error("a quota or bandwidth is at most 9223372036854775807 bytes")]
    TooLarge,
    /// The name is taken.
    #[error("there is an account of that name")]
    Exists,
    /// There is no such account.
    #[error("there is no account of that name")]
    NotFound,
    /// The configuration does not let people make accounts themselves.
    #[error("registration is off")]
    RegistrationOff,
    /// The database or the disk does not work.
    #[error("{0}")]
    Unavailable(String),
}

/// Whether an account may have that name: `[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}`.
pub fn is_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.len() <= LONGEST_NAME
        && name.starts_with(first)
        && name.chars().all(|c| first(c) || c == '.' || c == '-')
}

/// Whether an account may have that password: 1 to 128 characters.
pub fn is_password(password: &str) -> bool {
    !password.is_empty() && password.chars().take(LONGEST_PASSWORD + 1).count() <= LONGEST_PASSWORD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_passwords_have_rules() {
        for name in ["a", "_", "0", "Ann.Lee-2_", &"x".repeat(64)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".", "..", "-a", ".a", "a/b", "a b", "ä", "a\0", &"x".repeat(65)] {
            assert!(!is_name(name), "{name}");
        }
        assert!(is_password("x") && is_password(&"密".repeat(128)));
        assert!(!is_password("") && !is_password(&"x".repeat(129)));
    }
}
