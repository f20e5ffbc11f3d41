//! Reading endpoints: `SCHEME://ADDRESS` with a precise message for what does not fit.

use std::net::{IpAddr, Ipv6Addr};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use super::{Endpoint, Host, HostPort, Transport, UnixAddress};
use crate::config::nearest;
use crate::config::text::{BadValue, is_host_name, text_value};

/// What `sockaddr_un` holds besides the terminating NUL (or the leading one of abstract names).
const LONGEST_UNIX_PATH: usize = 107;

/// Every scheme, for advice.
const SCHEMES: [&str; 8] = ["tcp", "udp", "unix", "unixgram", "fd+tcp", "fd+udp", "fd+unix", "fd+unixgram"];

impl FromStr for Endpoint {
    type Err = BadValue;

    /// Relative Unix paths stay relative here; loading a configuration makes them absolute.
    fn from_str(text: &str) -> Result<Self, BadValue> {
        let Some((scheme, address)) = text.split_once("://") else {
            return Err(without_scheme(text));
        };
        let (inherited, name) = match scheme.strip_prefix("fd+") {
            Some(rest) => (true, rest),
            None => (false, scheme),
        };
        let Some(transport) = Transport::ALL.into_iter().find(|t| t.as_str() == name) else {
            return Err(BadValue::new(format!("unknown scheme `{}`", scheme.escape_debug()))
                .help(nearest::advise(scheme, &SCHEMES, "the schemes are").unwrap_or_default()));
        };
        if inherited {
            return inherited_name(address).map(|name| Endpoint::Inherited(transport, name));
        }
        Ok(match transport {
            Transport::Tcp => Endpoint::Tcp(host_port(scheme, address)?),
            Transport::Udp => Endpoint::Udp(host_port(scheme, address)?),
            Transport::Unix => Endpoint::Unix(unix_address(scheme, address)?),
            Transport::Unixgram => Endpoint::Unixgram(unix_address(scheme, address)?),
        })
    }
}

impl Endpoint {
    /// The endpoint with a relative Unix path made absolute below `folder`; fails if it is then too long.
    pub(crate) fn below(self, folder: &Path) -> Result<Endpoint, BadValue> {
        let absolute = |address: UnixAddress| match address {
            UnixAddress::Path(path) => {
                let path: PathBuf = normalised(&folder.join(path));
                let length = path.as_os_str().len();
                if length > LONGEST_UNIX_PATH {
                    return Err(BadValue::new(format!(
                        "the socket's path `{}` is too long: {length} bytes, at most {LONGEST_UNIX_PATH} are possible",
                        path.display()
                    ))
                    .help("choose a shorter `state_dir` or name"));
                }
                Ok(UnixAddress::Path(path))
            }
            name @ UnixAddress::Abstract(_) => Ok(name),
        };
        Ok(match self {
            Endpoint::Unix(address) => Endpoint::Unix(absolute(address)?),
            Endpoint::Unixgram(address) => Endpoint::Unixgram(absolute(address)?),
            other => other,
        })
    }
}

/// The path without `.` components and double slashes; `..` stays, for links may stand before it.
pub(in crate::config) fn normalised(path: &Path) -> PathBuf {
    path.components().filter(|c| !matches!(c, Component::CurDir)).collect()
}

fn without_scheme(text: &str) -> BadValue {
    let shown = text.escape_debug();
    let error = BadValue::new(format!("the endpoint `{shown}` lacks a scheme"));
    if text.is_empty() {
        return BadValue::new("expected an endpoint, found an empty string")
            .help("write for example \"tcp://127.0.0.1:7007\"");
    }
    if let Some((scheme, _)) = text.split_once(':')
        && SCHEMES.contains(&scheme)
    {
        return error.help(format!("write `{scheme}://` before the address"));
    }
    if text.contains('/') || text.starts_with('@') {
        return error.help(format!("write \"unix://{shown}\" or \"unixgram://{shown}\""));
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return error.help(format!("write \"tcp://127.0.0.1:{shown}\" or \"udp://127.0.0.1:{shown}\""));
    }
    error.help(format!("write \"tcp://{shown}\" or \"udp://{shown}\""))
}

// === tcp and udp ===

fn host_port(scheme: &str, address: &str) -> Result<HostPort, BadValue> {
    if let Some(end) = address.find(['/', '?', '#']) {
        let (authority, rest) = address.split_at(end);
        return Err(BadValue::new(format!("`{}` after the port", rest.escape_debug()))
            .help(format!("a {scheme} endpoint has no path: write \"{scheme}://{authority}\"")));
    }
    if address.contains('@') {
        return Err(BadValue::new(format!("a {scheme} endpoint has no user name"))
            .help(format!("write \"{scheme}://HOST:PORT\"")));
    }
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let Some((host, rest)) = rest.split_once(']') else {
                return Err(BadValue::new(format!("the `[` in `{address}` is not closed"))
                    .help("write an IPv6 address as \"[::1]\""));
            };
            let port = match rest.strip_prefix(':') {
                Some(port) => Some(port),
                None if rest.is_empty() => None,
                None => return Err(BadValue::new(format!("`{rest}` after the address: expected `:PORT`"))),
            };
            (ipv6(host)?, port)
        }
        None if address.parse::<Ipv6Addr>().is_ok() || address.matches(':').count() > 1 => {
            return Err(BadValue::new(format!("the IPv6 address in `{address}` needs brackets"))
                .help(bracketed(scheme, address)));
        }
        None => match address.rsplit_once(':') {
            Some((host, port)) => (named_host(host)?, Some(port)),
            None => (named_host(address)?, None),
        },
    };
    let Some(port) = port else {
        return Err(BadValue::new(format!("the endpoint `{scheme}://{address}` lacks a port"))
            .help(format!("write \"{scheme}://{address}:PORT\"; port 0 lets the kernel choose")));
    };
    Ok(HostPort { host, port: port_number(port)? })
}

fn bracketed(scheme: &str, address: &str) -> String {
    match address.rsplit_once(':') {
        Some((host, port)) if host.parse::<Ipv6Addr>().is_ok() && port.parse::<u16>().is_ok() => {
            format!("write \"{scheme}://[{host}]:{port}\"")
        }
        _ => format!("write \"{scheme}://[ADDRESS]:PORT\""),
    }
}

fn port_number(text: &str) -> Result<u16, BadValue> {
    if text.is_empty() {
        return Err(BadValue::new("the port is missing after the `:`"));
    }
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(BadValue::new(format!("`{}` is not a port", text.escape_debug()))
            .help("a port is a number from 0 to 65535"));
    }
    text.parse::<u16>().map_err(|_| {
        BadValue::new(format!("port {text} is out of range")).help("a port is a number from 0 to 65535")
    })
}

fn ipv6(text: &str) -> Result<Host, BadValue> {
    if text.contains('%') {
        return Err(BadValue::new(format!("a zone is not supported: `{}`", text.escape_debug())));
    }
    match text.parse::<Ipv6Addr>() {
        Ok(ip) => Ok(Host::Ip(IpAddr::V6(ip))),
        Err(_) => Err(BadValue::new(format!("`{}` is not an IPv6 address", text.escape_debug()))
            .help("only IPv6 addresses stand in brackets")),
    }
}

fn named_host(text: &str) -> Result<Host, BadValue> {
    if text.is_empty() {
        return Err(BadValue::new("the host is missing")
            .help("write 0.0.0.0 for every IPv4 address, [::] for every IPv6 address"));
    }
    if text == "*" {
        return Err(BadValue::new("`*` is not a host")
            .help("write 0.0.0.0 for every IPv4 address, [::] for every IPv6 address"));
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(Host::Ip(ip));
    }
    let last = text.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    if !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit()) {
        // The resolver would take such names for short forms of addresses.
        return Err(BadValue::new(format!("`{text}` is not an IPv4 address")));
    }
    if !is_host_name(text) {
        return Err(BadValue::new(format!("`{}` is not a host", text.escape_debug()))
            .help("a host is an IPv4 address, an IPv6 address in brackets, or a name"));
    }
    Ok(Host::Name(text.to_ascii_lowercase()))
}

// === unix, unixgram and fd+ ===

fn unix_address(scheme: &str, text: &str) -> Result<UnixAddress, BadValue> {
    if text.contains('\0') {
        return Err(BadValue::new("the path of a Unix socket cannot hold a NUL"));
    }
    let name = text.strip_prefix('@');
    let (what, bytes) = match name {
        Some(name) => ("name", name.len()),
        None => ("path", text.len()),
    };
    if bytes == 0 {
        return Err(BadValue::new(format!("the {what} of the Unix socket is missing"))
            .help(format!("write \"{scheme}://PATH\" or \"{scheme}://@NAME\"")));
    }
    if bytes > LONGEST_UNIX_PATH {
        return Err(BadValue::new(format!(
            "the {what} of the Unix socket is too long: {bytes} bytes, at most {LONGEST_UNIX_PATH} are possible"
        )));
    }
    if let Some(name) = name {
        return Ok(UnixAddress::Abstract(name.into()));
    }
    if text.ends_with('/') || text.ends_with("/.") || text.ends_with("/..") || text == "." || text == ".." {
        return Err(BadValue::new(format!("`{text}` is a folder: expected the path of a socket")));
    }
    Ok(UnixAddress::Path(text.into()))
}

fn inherited_name(text: &str) -> Result<String, BadValue> {
    let printable = |b: u8| (b' '..=b'~').contains(&b) && b != b':';
    if (1..=255).contains(&text.len()) && text.bytes().all(printable) {
        return Ok(text.into());
    }
    Err(BadValue::new(format!("`{}` is not the name of an inherited socket", text.escape_debug()))
        .help("a name of LISTEN_FDNAMES has 1 to 255 printable ASCII characters, none of them `:`"))
}

text_value!(
    Endpoint,
    "Endpoint",
    "endpoint",
    "^((tcp|udp)://[^/]+:[0-9]+|(unix|unixgram|fd\\+(tcp|udp|unix|unixgram))://.+)$|\\$\\{"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let shown = match text.parse::<Endpoint>() {
            Ok(endpoint) => endpoint.to_string(),
            Err(error) => format!("! {error}"),
        };
        match expected.strip_prefix('!') {
            Some(part) => assert!(shown.starts_with('!') && shown.contains(part.trim()), "{text}: {shown}"),
            None => assert_eq!(shown, expected, "{text}"),
        }
    }

    #[test]
    fn endpoints_are_read() {
        for text in [
            "tcp://127.0.0.1:7007",
            "udp://0.0.0.0:0",
            "tcp://[::1]:80",
            "tcp://gateway.example:443",
            "unix://run/echo.sock",
            "unix:///run/a b.sock",
            "unixgram://@echo",
            "fd+tcp://web",
            "fd+unixgram://a/b",
        ] {
            check(text, text);
        }
        check("tcp://LocalHost:1", "tcp://localhost:1");
    }

    #[test]
    fn what_is_not_an_endpoint_says_why() {
        check("127.0.0.1:80", "! write \"tcp://127.0.0.1:80\"");
        check("run/echo.sock", "! write \"unix://run/echo.sock\"");
        check("tcp:127.0.0.1:80", "! write `tcp://` before");
        check("7007", "! write \"tcp://127.0.0.1:7007\"");
        check("", "! found an empty string");
        check("tpc://127.0.0.1:80", "! unknown scheme `tpc` (did you mean `tcp`?)");
        check("fd+tpc://x", "! unknown scheme `fd+tpc` (did you mean `fd+tcp`?)");
        check("http://127.0.0.1:80", "! unknown scheme `http`");
        check("tcp://127.0.0.1", "! lacks a port");
        check("tcp://127.0.0.1:", "! the port is missing");
        check("tcp://127.0.0.1:65536", "! port 65536 is out of range");
        check("tcp://127.0.0.1:+80", "! `+80` is not a port");
        check("tcp://127.0.0.1:80/x", "! has no path");
        check("tcp://:80", "! the host is missing");
        check("tcp://*:80", "! `*` is not a host");
        check("tcp://127.0.0.256:80", "! is not an IPv4 address");
        check("tcp://a b:80", "! `a b` is not a host");
        check("tcp://u@h:80", "! no user name");
        check("tcp://::1:80", "! write \"tcp://[::1]:80\"");
        check("tcp://[::1", "! is not closed");
        check("tcp://[::g]:1", "! is not an IPv6 address");
        check("tcp://[fe80::1%eth0]:1", "! a zone is not supported");
        check("tcp://[::1]80", "! expected `:PORT`");
        check("unix://", "! the path of the Unix socket is missing");
        check("unix://@", "! the name of the Unix socket is missing");
        check("unix://run/", "! is a folder");
        check("unix://a\0b", "! NUL");
        check(&format!("unix:///{}", "x".repeat(107)), "! too long: 108 bytes");
        check("fd+tcp://", "! name of an inherited socket");
        check("fd+tcp://a:b", "! name of an inherited socket");
    }

    #[test]
    fn relative_paths_are_joined_and_normalised() {
        let below =
            |text: &str| text.parse::<Endpoint>().unwrap().below(Path::new("/state")).unwrap().to_string();
        assert_eq!(below("unix://run/./a//b.sock"), "unix:///state/run/a/b.sock");
        assert_eq!(below("unix:////run/x"), "unix:///run/x");
        assert_eq!(below("unix://@run"), "unix://@run");
        let long = format!("unix://{}", "x".repeat(101));
        assert!(long.parse::<Endpoint>().unwrap().below(Path::new("/state")).is_err());
    }
}
