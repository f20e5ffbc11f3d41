//! Where the admin API is: a URL that was named, else what the configuration binds it to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use hyper::Uri;
use polygate::config::{Config, Endpoint, Host, HostPort, LoadError, UnixAddress, load_file};

use polygate::handlers::builtin;

use super::exit::{Exit, Failure};
use super::{Global, find};

/// The variable that names the admin API.
const VARIABLE: &str = "POLYGATE_ADMIN";

/// The address of an admin API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AdminUrl {
    /// `http://HOST:PORT`; holds `HOST:PORT`.
    Http(String),
    /// `https://HOST:PORT`; holds `HOST:PORT`.
    Https(String),
    /// `unix:///PATH`
    Unix(PathBuf),
}

/// The admin API to ask: `--admin`, else the variable, else the configuration that `run` would take,
/// else the default.
pub(crate) fn locate(global: &Global) -> Result<AdminUrl, Failure> {
    if let Some(url) = &global.admin {
        return Ok(url.clone());
    }
    if let Some(url) = std::env::var_os(VARIABLE).filter(|url| !url.is_empty()) {
        let parsed = url.to_string_lossy().parse::<AdminUrl>();
        return parsed.map_err(|why| Failure::new(Exit::Usage, format!("${VARIABLE}: {why}")));
    }
    let file = match find::config(None, global.config.as_deref()) {
        Ok(file) => file,
        Err(_) => return Ok(AdminUrl::default()),
    };
    let first = match load_file(&file, &builtin()) {
        Ok(loaded) => {
            let tls = loaded.config.admin.tls.is_some();
            first_bind(&loaded.config).map(|endpoint| (endpoint, tls))
        }
        // A broken file must not keep anybody from the gateway that runs on the one before.
        Err(LoadError::Syntax(_, text) | LoadError::Invalid(_, text)) => {
            guess(&text).map(|endpoint| (endpoint, false))
        }
        Err(unreadable @ LoadError::Unreadable(..)) => {
            let mut failure = Failure::from(unreadable);
            failure.message.push_str("; name another with --config FILE, or the admin API with --admin URL");
            return Err(failure);
        }
    };
    let url = first.and_then(|(endpoint, tls)| Ok(AdminUrl::of_endpoint(&endpoint)?.with_tls(tls)));
    url.map_err(|why| {
        let file = file.display();
        Failure::new(Exit::Unavailable, format!("{file} {why}; name the admin API with --admin URL"))
    })
}

/// Whom to trust where the API is reached by `https://`: what `--ca` names, else the variable, else the certificate that
/// the configuration names.
pub(crate) fn roots(global: &Global) -> Result<Option<String>, Failure> {
    let variable = std::env::var_os("POLYGATE_CA").filter(|value| !value.is_empty()).map(PathBuf::from);
    let file = match global.ca.clone().or(variable) {
        Some(file) => file,
        None => {
            let file = find::config(None, global.config.as_deref()).ok();
            let loaded = file.and_then(|file| load_file(&file, &builtin()).ok());
            return Ok(loaded.and_then(|loaded| loaded.config.admin.tls).map(|tls| tls.pem.cert));
        }
    };
    let shown = file.display();
    let text = std::fs::read_to_string(&file);
    text.map(Some).map_err(|error| {
        Failure::new(Exit::Usage, format!("cannot read the certificates in {shown}: {error}"))
    })
}

/// The token to show: that of `--token-file`, else of the variables; none where none of them says anything.
pub(crate) fn token(global: &Global) -> Result<Option<String>, Failure> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let file = match &global.token_file {
        Some(file) => Some(file.clone()),
        None => match variable("POLYGATE_TOKEN") {
            Some(token) => return clean(&token.to_string_lossy(), "$POLYGATE_TOKEN").map(Some),
            None => variable("POLYGATE_TOKEN_FILE").map(PathBuf::from),
        },
    };
    let Some(file) = file else { return Ok(None) };
    let shown = file.display();
    let text = std::fs::read_to_string(&file).map_err(|error| {
        let exit = match error.kind() {
            std::io::ErrorKind::PermissionDenied => Exit::NoPermission,
            _ => Exit::Usage,
        };
        Failure::new(exit, format!("cannot read the token file {shown}: {error}"))
    })?;
    clean(&text, &format!("the token file {shown}")).map(Some)
}

/// A token as it can be sent in a header.
fn clean(text: &str, source: &str) -> Result<String, Failure> {
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        let why = format!("{source} holds no token: expected one line of visible ASCII characters");
        return Err(Failure::new(Exit::Usage, why));
    }
    Ok(token.to_owned())
}

fn first_bind(config: &Config) -> Result<Endpoint, String> {
    config.admin.bind.first().cloned().ok_or_else(|| "switches the admin API off".into())
}

/// The admin API's endpoint in a text that is not a valid configuration, as far as it can be made out.
fn guess(text: &str) -> Result<Endpoint, String> {
    let unclear = || "is invalid and does not tell where the admin API is".to_owned();
    let Ok(file) = text.parse::<toml::Table>() else {
        return Err(unclear());
    };
    let bind = match file.get("admin").map(|admin| admin.get("bind")) {
        None | Some(None) => return Ok(default_endpoint()),
        Some(Some(toml::Value::Array(list))) => list.first().and_then(toml::Value::as_str),
        Some(Some(bind)) => bind.as_str(),
    };
    let endpoint: Endpoint = bind.and_then(|bind| bind.parse().ok()).ok_or_else(unclear)?;
    let state_dir = file.get("state_dir").and_then(toml::Value::as_str).unwrap_or("var");
    match endpoint {
        Endpoint::Unix(UnixAddress::Path(path)) => {
            Ok(Endpoint::Unix(UnixAddress::Path(Path::new(state_dir).join(path))))
        }
        other => Ok(other),
    }
}

fn default_endpoint() -> Endpoint {
    Endpoint::Tcp(HostPort { host: Host::Ip(Ipv4Addr::LOCALHOST.into()), port: 9900 })
}

// === impl AdminUrl ===

impl Default for AdminUrl {
    fn default() -> Self {
        AdminUrl::Http("127.0.0.1:9900".into())
    }
}

impl AdminUrl {
    /// The same through TLS, where it is TCP.
    fn with_tls(self, tls: bool) -> Self {
        match self {
            AdminUrl::Http(at) if tls => AdminUrl::Https(at),
            other => other,
        }
    }

    /// The address to dial for an endpoint that is bound.
    fn of_endpoint(endpoint: &Endpoint) -> Result<Self, String> {
        match endpoint {
            Endpoint::Tcp(at) if at.port == 0 => Err("lets the kernel choose the admin API's port".into()),
            Endpoint::Tcp(at) => {
                let host = match &at.host {
                    Host::Ip(IpAddr::V4(ip)) if ip.is_unspecified() => Host::Ip(Ipv4Addr::LOCALHOST.into()),
                    Host::Ip(IpAddr::V6(ip)) if ip.is_unspecified() => Host::Ip(Ipv6Addr::LOCALHOST.into()),
                    host => host.clone(),
                };
                Ok(AdminUrl::Http(HostPort { host, port: at.port }.to_string()))
            }
            Endpoint::Unix(UnixAddress::Path(path)) => Ok(AdminUrl::Unix(path.clone())),
            other => Err(format!("binds the admin API to {other}, which this command cannot dial")),
        }
    }
}

impl FromStr for AdminUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not http://HOST:PORT, https://HOST:PORT or unix:///PATH");
        if let Some(path) = text.strip_prefix("unix://") {
            let path = Path::new(path);
            return match path.is_absolute() && path.file_name().is_some() {
                true => Ok(AdminUrl::Unix(path.to_owned())),
                false => Err(wrong()),
            };
        }
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let bare = uri.path() == "/" && uri.query().is_none() && !text.contains('#');
        match (uri.scheme_str(), uri.authority()) {
            (Some(scheme @ ("http" | "https")), Some(at))
                if bare && at.port_u16().is_some() && !at.as_str().contains('@') =>
            {
                Ok(AdminUrl::Http(at.to_string()).with_tls(scheme == "https"))
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for AdminUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdminUrl::Http(at) => write!(f, "http://{at}"),
            AdminUrl::Https(at) => write!(f, "https://{at}"),
            AdminUrl::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_http_with_a_port_or_unix_with_an_absolute_path() {
        for good in
            ["http://127.0.0.1:9900", "https://[::1]:9900", "http://gate.example:80", "unix:///run/a.sock"]
        {
            assert_eq!(good.parse::<AdminUrl>().unwrap().to_string(), good);
        }
        assert_eq!("http://h:1/".parse::<AdminUrl>().unwrap(), AdminUrl::Http("h:1".into()));
        let bad = [
            "",
            "localhost:9900",
            "http://localhost",
            "http://h:1/api",
            "http://h:1?x",
            "http://h:1#x",
            "http://u:p@h:1",
            "http://h:99999",
            "tcp://127.0.0.1:9900",
            "unix://run/a.sock",
            "unix:///",
        ];
        for bad in bad {
            assert!(bad.parse::<AdminUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bound_endpoint_is_dialled_where_it_can_be() {
        let url = |text: &str| AdminUrl::of_endpoint(&text.parse().unwrap()).map(|url| url.to_string());
        assert_eq!(url("tcp://127.0.0.1:9900").unwrap(), "http://127.0.0.1:9900");
        assert_eq!(url("tcp://0.0.0.0:1").unwrap(), "http://127.0.0.1:1");
        assert_eq!(url("tcp://[::]:1").unwrap(), "http://[::1]:1");
        assert_eq!(url("tcp://gate.example:1").unwrap(), "http://gate.example:1");
        assert_eq!(url("unix:///run/a.sock").unwrap(), "unix:///run/a.sock");
        assert!(url("tcp://127.0.0.1:0").is_err());
        assert!(url("fd+tcp://admin").is_err());
    }

    #[test]
    fn a_broken_file_still_tells_where_the_admin_api_is() {
        let at = |text: &str| guess(text).map(|endpoint| endpoint.to_string());
        assert_eq!(at("wrong = 1").unwrap(), "tcp://127.0.0.1:9900");
        assert_eq!(at("[admin]\nbnd = 1").unwrap(), "tcp://127.0.0.1:9900");
        assert_eq!(at("admin.bind = 'tcp://[::1]:7'\nx = 1").unwrap(), "tcp://[::1]:7");
        let relative = "state_dir = '/srv'\nadmin.bind = ['unix://run/a.sock', 'tcp://127.0.0.1:1']";
        assert_eq!(at(relative).unwrap(), "unix:///srv/run/a.sock");
        assert!(at("admin.bind = 'off'").is_err());
        assert!(at("admin.bind = 3").is_err());
        assert!(at("= [").is_err());
    }
}
