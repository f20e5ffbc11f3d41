//! `ftp://[USER@]HOST[:PORT]/PATH` and `json-ftp://USER@HOST:PORT/NAME`.

use std::fmt;
use std::str::FromStr;

use polygate::config::{BadValue, Endpoint, Host, HostPort};

use super::super::terminal::escape;

/// FTP's port (RFC 959, 8).
const FTP_PORT: &str = "21";

/// What is spoken there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Ftp,
    JsonFtp,
}

/// Where a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    protocol: Protocol,
    user: Option<String>,
    at: HostPort,
    /// Relative to where the login leads; may be empty.
    path: String,
}

impl FromStr for Address {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let advice = "write ftp://USER@HOST:PORT/PATH or json-ftp://USER@HOST:PORT/NAME";
        let bad = |message: String| BadValue::new(message).help(advice);
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| bad(format!("`{}` is no URL", escape(text))))?;
        let protocol = match scheme {
            "ftp" => Protocol::Ftp,
            "json-ftp" => Protocol::JsonFtp,
            other => return Err(bad(format!("unknown scheme `{}`", escape(other)))),
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let user = match user {
            Some(with) if with.contains(':') => {
                return Err(BadValue::new("a password in a URL would be seen by every process").help(
                    "leave it out: it is asked for, or read from --password-file or $POLYGATE_PASSWORD",
                ));
            }
            Some("") => return Err(bad("the user name before the `@` is missing".into())),
            Some(user) => Some(decode(user)?),
            None if protocol == Protocol::JsonFtp => {
                return Err(bad("json-ftp has no guests: the user name is missing".into()));
            }
            None => None,
        };
        let path = decode(path)?;
        if protocol == Protocol::JsonFtp && path.contains('/') {
            return Err(bad(format!("`{}` is a path, and json-ftp has names only", escape(&path))));
        }
        Ok(Address { protocol, user, at: host_port(protocol, host)?, path })
    }
}

fn host_port(protocol: Protocol, host: &str) -> Result<HostPort, BadValue> {
    // An IPv6 address has colons too, but not behind its bracket.
    let has_port = host.rsplit(']').next().is_some_and(|rest| rest.contains(':'));
    let whole = match protocol {
        Protocol::Ftp if !has_port => format!("tcp://{host}:{FTP_PORT}"),
        _ => format!("tcp://{host}"),
    };
    match whole.parse::<Endpoint>() {
        Ok(Endpoint::Tcp(at)) if at.port > 0 => Ok(at),
        Ok(_) => Err(BadValue::new("nobody can be reached on port 0")),
        // Its advice is about endpoints.
        Err(error) => Err(BadValue::new(error.message)),
    }
}

/// What stands behind `%` (RFC 3986, 2.1).
fn decode(text: &str) -> Result<String, BadValue> {
    let bad = |why: &str| BadValue::new(format!("`{}`: {why}", escape(text)));
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        match (digit(bytes.next()), digit(bytes.next())) {
            (Some(high), Some(low)) => out.push((high * 16 + low) as u8),
            _ => return Err(bad("expected two hexadecimal digits behind `%`, %25 for the sign itself")),
        }
    }
    // It would end the command that it stands in.
    if out.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Err(bad("a line end or NUL cannot be sent"));
    }
    String::from_utf8(out).map_err(|_| bad("it is not UTF-8"))
}

impl Address {
    pub(super) fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The path of a file; a folder's gets that name behind it. None where there is no name.
    pub(super) fn path_for(&self, name: Option<&str>) -> Option<String> {
        match self.path.is_empty() || self.path.ends_with('/') {
            true => name.map(|name| format!("{}{name}", self.path)),
            false => Some(self.path.clone()),
        }
    }

    pub(super) fn host_port(&self) -> (String, u16) {
        let host = match &self.at.host {
            Host::Ip(ip) => ip.to_string(),
            Host::Name(name) => name.clone(),
        };
        (host, self.at.port)
    }

    /// Without user and path.
    pub(super) fn server(&self) -> String {
        let scheme = match self.protocol {
            Protocol::Ftp => "ftp",
            Protocol::JsonFtp => "json-ftp",
        };
        format!("{scheme}://{}", self.at)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.server(), escape(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        match text.parse::<Address>() {
            Ok(address) => {
                let user = address.user().unwrap_or("-");
                assert_eq!(format!("{user} {address}"), expected, "{text}");
            }
            Err(error) => {
                let part = expected.strip_prefix("! ").unwrap_or_else(|| panic!("{text}: {error}"));
                assert!(error.to_string().contains(part), "{text}: {error}");
            }
        }
    }

    #[test]
    fn urls_are_read() {
        check("ftp://ann@127.0.0.1:2121/a/b.txt", "ann ftp://127.0.0.1:2121/a/b.txt");
        check("ftp://files.example/", "- ftp://files.example:21/");
        check("ftp://[::1]/x%20y", "- ftp://[::1]:21/x y");
        check("ftp://a%40b@[::1]:2121//etc", "a@b ftp://[::1]:2121//etc");
        check("json-ftp://ann@h:2122/欢.txt", "ann json-ftp://h:2122/欢.txt");
        check("json-ftp://ann@h:2122", "ann json-ftp://h:2122/");
    }

    #[test]
    fn what_is_no_url_says_why() {
        check("a.txt", "! `a.txt` is no URL (write ftp://");
        check("http://h/x", "! unknown scheme `http`");
        check("ftp://ann:secret@h/x", "! a password in a URL");
        check("ftp://@h/x", "! user name before the `@` is missing");
        check("json-ftp://h:1/x", "! has no guests");
        check("json-ftp://ann@h/x", "! lacks a port");
        check("json-ftp://ann@h:1/a/b", "! has names only");
        check("ftp://h/a%0d%0aDELE x", "! a line end or NUL");
        check("ftp://h/a%2", "! two hexadecimal digits");
        check("ftp://h/%ff", "! not UTF-8");
        check("ftp:///x", "! the host is missing");
    }

    #[test]
    fn a_folder_takes_the_files_name() {
        let path = |url: &str, name| url.parse::<Address>().unwrap().path_for(name);
        assert_eq!(path("ftp://h/in/", Some("a")).as_deref(), Some("in/a"));
        assert_eq!(path("ftp://h", Some("a")).as_deref(), Some("a"));
        assert_eq!(path("ftp://h/b", Some("a")).as_deref(), Some("b"));
        assert_eq!(path("ftp://h/in/", None), None);
    }
}
