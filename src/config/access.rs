//! Who may use the admin API: roles, tokens, and what needs none.
//!
//! A token itself is never kept, only its SHA-256, and even that is shown to nobody.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::text::{BadValue, text_value};

/// What a token lets its bearer do; a higher role includes the lower ones.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look at everything, and check a configuration.
    Read,
    /// Reload, kill, steer upstreams.
    Operate,
    /// Change accounts.
    Admin,
}

impl Role {
    /// All of them, the lowest first.
    pub const ALL: [Role; 3] = [Role::Read, Role::Operate, Role::Admin];

    /// As the configuration writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Operate => "operate",
            Role::Admin => "admin",
        }
    }
}

/// What `admin.open` may list: it needs no token although there are tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Open {
    /// `/livez`
    Livez,
    /// `/readyz`
    Readyz,
    /// `/metrics`
    Metrics,
    /// The page at `/`, with the files that it loads.
    Page,
}

impl Open {
    /// The paths that it opens, as the routes declare them.
    pub fn paths(self) -> &'static [&'static str] {
        match self {
            Open::Livez => &["/livez"],
            Open::Readyz => &["/readyz"],
            Open::Metrics => &["/metrics"],
            Open::Page => &["/", "/page/{file}"],
        }
    }
}

/// A token that is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Token {
    /// Its name in `[admin.tokens]`; `admin.token_file` for that key.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The SHA-256 of the token.
    pub sha256: TokenHash,
    /// The file that it was read from; none where the configuration has its SHA-256.
    pub file: Option<PathBuf>,
}

impl Token {
    /// The name of the token of `admin.token_file`; no name in `[admin.tokens]` has a dot.
    pub const OF_FILE: &str = "admin.token_file";
}

/// The SHA-256 of a token. It is not shown: neither by `Debug` nor in the effective configuration.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    /// Of a token.
    pub fn of(token: &[u8]) -> Self {
        TokenHash(Sha256::digest(token).into())
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(hidden)")
    }
}

impl Serialize for TokenHash {
    /// A hash of the hash: enough to tell that a token has changed, for the plan.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(Sha256::digest(self.0))
    }
}

impl FromStr for TokenHash {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let wrong = || {
            BadValue::new(format!("expected a SHA-256, found {} characters", text.chars().count()))
                .help("write its 64 hexadecimal digits: printf %s \"$TOKEN\" | sha256sum")
        };
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut hash = [0; 32];
        for (index, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| wrong())?;
        }
        Ok(TokenHash(hash))
    }
}

text_value!(TokenHash, "TokenHash", "sha256", "^[0-9A-Fa-f]{64}$|\\$\\{");

/// Whether a text can be sent as a token: visible ASCII characters, up to 4096 of them.
pub(super) fn check_token(text: &str) -> Result<(), BadValue> {
    let help = "a token is one line of visible characters, for example from: openssl rand -hex 32";
    let what = match text {
        "" => "holds no token",
        _ if text.len() > 4096 => "holds more than 4096 bytes",
        _ if !text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            "holds a space, a line break or a character that is not ASCII"
        }
        _ => return Ok(()),
    };
    Err(BadValue::new(what).help(help))
}
