//! Strings with a grammar: what all of them share.
//!
//! Such a type has one `FromStr`. Reading with serde, the JSON Schema (a `format` with a `pattern`
//! that lets `${…}` pass) and the precise message of a finding all go by it, so that they cannot
//! disagree. The smaller types live here; durations, sizes and endpoints have files of their own.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use tracing_subscriber::EnvFilter;

use super::model::UnixMode;
use super::nearest::{self, quoted_list};

/// Why a string does not fit its grammar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadValue {
    /// What is wrong and what was expected.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl BadValue {
    /// A reason without advice.
    pub fn new(message: impl Into<String>) -> Self {
        BadValue { message: message.into(), help: None }
    }

    /// The same with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(help) = &self.help {
            write!(f, " ({help})")?;
        }
        Ok(())
    }
}

impl std::error::Error for BadValue {}

/// Implements `Deserialize` by `FromStr`, `JsonSchema` by format and pattern, and on request
/// `Serialize` by `Display`.
macro_rules! text_value {
    ($type:ty, $name:literal, $format:literal, $pattern:literal, serialize) => {
        $crate::config::text::text_value!($type, $name, $format, $pattern);

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
    ($type:ty, $name:literal, $format:literal, $pattern:literal) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "format": $format, "pattern": $pattern })
            }
        }
    };
}
pub(crate) use text_value;

/// The name of a listener or handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name(String);

/// A network; a plain address is the network of that address alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network(pub(super) IpNet);

/// A host name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostName(pub(super) String);

/// A `tracing` filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogFilter(pub(super) String);

/// A path in the file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FilePath(pub(super) PathBuf);

// === impl Name ===

impl FromStr for Name {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let rules = "a name has 1 to 63 of a-z, 0-9, `_` and `-` and starts with a letter or digit";
        let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        let fits = text.len() <= 63
            && text.chars().all(inside)
            && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        if fits {
            return Ok(Name(text.into()));
        }
        Err(BadValue::new(format!("`{}` is not a valid name", text.escape_debug())).help(rules))
    }
}

// === impl Network ===

impl FromStr for Network {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let example = "write for example \"10.0.0.0/8\", \"192.0.2.7\" or \"2001:db8::/32\"";
        let network = match text.split_once('/') {
            None => text.parse::<IpAddr>().ok().map(IpNet::from),
            Some((address, prefix)) => {
                let Ok(address) = address.parse::<IpAddr>() else {
                    return Err(BadValue::new(format!("expected a network, found `{text}`")).help(example));
                };
                let longest = if address.is_ipv4() { 32 } else { 128 };
                let digits = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
                let length = prefix.parse::<u8>().ok().filter(|n| digits && *n <= longest);
                let Some(length) = length else {
                    return Err(BadValue::new(format!(
                        "`/{prefix}` is not a prefix length: expected 0 to {longest}"
                    )));
                };
                IpNet::new(address, length).ok()
            }
        };
        match network {
            Some(network) => Ok(Network(canonical(network.trunc()))),
            None => Err(BadValue::new(format!("expected a network, found `{text}`")).help(example)),
        }
    }
}

/// An IPv4-mapped network as IPv4: peers are compared in that form.
fn canonical(network: IpNet) -> IpNet {
    if let IpNet::V6(v6) = network
        && v6.prefix_len() >= 96
        && let Some(v4) = v6.addr().to_ipv4_mapped()
        && let Ok(mapped) = Ipv4Net::new(Ipv4Addr::from(v4.octets()), v6.prefix_len() - 96)
    {
        return IpNet::V4(mapped);
    }
    network
}

// === impl HostName ===

impl FromStr for HostName {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        if is_host_name(text) {
            return Ok(HostName(text.to_ascii_lowercase()));
        }
        Err(BadValue::new(format!("expected a host name, found `{}`", text.escape_debug()))
            .help("write the name alone, without scheme, port or path, for example \"gateway.example\""))
    }
}

/// Whether the text is a host name: labels of letters, digits, `-` and `_`.
pub(super) fn is_host_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

// === impl LogFilter ===

impl FromStr for LogFilter {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
        let level = |word: &str| LEVELS.contains(&word.to_ascii_lowercase().as_str());
        let example = "write a level, or `target=level` pairs: \"info,polygate::conn=warn\"";
        if text.trim().is_empty() {
            return Err(BadValue::new("the log filter is empty").help(example));
        }
        for directive in split_directives(text) {
            let directive = directive.trim();
            let word = directive.rsplit_once('=').filter(|(_, last)| !last.contains([']', '}']));
            let word = match word {
                Some((_, last)) => last,
                // A bare `[span]` filter has no level; a bare word is one.
                None if directive.contains('[') => continue,
                None => directive,
            };
            if !level(word) {
                let near = nearest::suggest(word, LEVELS).unwrap_or_else(|| {
                    format!("the levels are {}; {example}", quoted_list(LEVELS.iter().copied()))
                });
                return Err(BadValue::new(format!("`{}` is not a log level", word.escape_debug())).help(near));
            }
        }
        match EnvFilter::builder().parse(text) {
            Ok(_) => Ok(LogFilter(text.into())),
            Err(error) => Err(BadValue::new(format!("not a log filter: {error}")).help(example)),
        }
    }
}

/// Whether a text is a filter for `log.level`.
///
/// # Errors
/// What is wrong with it.
pub fn check_log_filter(text: &str) -> Result<(), BadValue> {
    text.parse::<LogFilter>().map(|_| ())
}

/// Splits at the commas that are not inside a span's fields.
fn split_directives(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    text.split(move |c| {
        match c {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
}

// === impl FilePath ===

impl FromStr for FilePath {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        if text.is_empty() {
            return Err(BadValue::new("expected a path, found an empty string"));
        }
        if text.contains('\0') {
            return Err(BadValue::new("a path cannot hold a NUL"));
        }
        Ok(FilePath(text.into()))
    }
}

// === impl UnixMode ===

impl FromStr for UnixMode {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let digits = (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o777);
        mode.map(UnixMode).ok_or_else(|| {
            BadValue::new(format!("expected permission bits, found `{}`", text.escape_debug()))
                .help("write three octal digits after a 0, for example \"0660\"")
        })
    }
}

text_value!(Name, "Name", "name", "^[a-z0-9][a-z0-9_-]{0,62}$");
text_value!(Network, "Network", "network", "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$|\\$\\{");
text_value!(HostName, "HostName", "host-name", "^[A-Za-z0-9_.-]+$|\\$\\{");
text_value!(LogFilter, "LogFilter", "log-filter", ".");
text_value!(FilePath, "FilePath", "path", ".");
text_value!(UnixMode, "UnixMode", "unix-mode", "^0?[0-7]{3}$|\\$\\{");
