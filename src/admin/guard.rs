//! Keeps web pages out, and who has no token: a browser on this machine, or one behind a rebound name, can reach the API too.
//!
//! A request must name us (`Host`), and if a browser says where it comes from, that must be us as well.
//! This holds for every method and for paths that do not exist. Probes and scrapes come by other names
//! and show nothing that is worth guarding, so three paths are exempt.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, Uri, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::access::Access;
use super::extract::{Client, Scheme};
use super::problem::Error;
use crate::stats::Peer;

/// The paths that anybody may ask for by any name.
pub(super) const OPEN: [&str; 3] = ["/livez", "/readyz", "/metrics"];

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Lets a request pass, or answers it with a problem.
pub(super) async fn check(
    State(access): State<Arc<Access>>,
    matched: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let config = (access.current)();
    let scheme = request.extensions().get().map_or("http", |Scheme(scheme)| scheme);
    let peer = request.extensions().get().map(|Client(peer)| peer.clone());
    let is_exempt = OPEN.contains(&request.uri().path());
    let named = match is_exempt {
        true => Ok(()),
        false => verdict(request.version(), request.uri(), request.headers(), scheme, &config.admin.hosts),
    };
    let route = (matched.as_ref().map(MatchedPath::as_str), request.method());
    let who = named.and_then(|()| {
        let peer = peer.as_deref().unwrap_or(&Peer::Unnamed);
        access.authorise(&config.admin, route, request.headers(), peer)
    });
    match who {
        Ok(who) => {
            let mut response = next.run(request).await;
            response.extensions_mut().insert(who);
            response
        }
        Err(error) => error.into_response(),
    }
}

fn verdict(
    version: Version,
    uri: &Uri,
    headers: &HeaderMap,
    scheme: &str,
    hosts: &[String],
) -> Result<(), Error> {
    let host = host(version, headers)?;
    // A target in absolute form overrides Host, so it must name us too.
    for name in [Some(host), uri.authority().map(|authority| authority.as_str())].into_iter().flatten() {
        if !is_ours(name, hosts) {
            let detail = format!("Host {name:?} is neither localhost nor an IP address nor in admin.hosts");
            return Err(Error::Forbidden(detail));
        }
    }
    for origin in headers.get_all(header::ORIGIN) {
        if !origin.to_str().is_ok_and(|origin| is_same(origin, scheme, host)) {
            return Err(Error::Forbidden(format!("Origin {origin:?} is not this API")));
        }
    }
    for site in headers.get_all(SEC_FETCH_SITE) {
        if site != "same-origin" && site != "none" {
            return Err(Error::Forbidden(format!(
                "a page of another origin asked (Sec-Fetch-Site {site:?})"
            )));
        }
    }
    Ok(())
}

/// The one `Host`. HTTP/1.1 must have it; nobody may have two.
fn host(version: Version, headers: &HeaderMap) -> Result<&str, Error> {
    let mut all = headers.get_all(header::HOST).iter();
    match (all.next(), all.next()) {
        (Some(host), None) => {
            host.to_str().map_err(|_| Error::BadRequest("the Host header is not text".into()))
        }
        (Some(_), Some(_)) => Err(Error::BadRequest("there are several Host headers".into())),
        (None, _) if version < Version::HTTP_11 => Err(Error::Forbidden("a Host header is needed".into())),
        (None, _) => Err(Error::BadRequest("HTTP/1.1 needs a Host header".into())),
    }
}

/// Whether a host, with or without a port, is a name of ours. A name that an attacker can point at this
/// machine is none; an address is always what it says.
fn is_ours(host: &str, hosts: &[String]) -> bool {
    let Some(name) = without_port(host) else { return false };
    if let Some(v6) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return v6.parse::<Ipv6Addr>().is_ok();
    }
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<Ipv4Addr>().is_ok()
        || hosts.iter().any(|ours| ours.eq_ignore_ascii_case(name))
}

/// Cuts a port off; none where what follows the name is not one.
fn without_port(host: &str) -> Option<&str> {
    let name_end = host.rfind(']').map_or(0, |bracket| bracket + 1);
    let (name, port) = match host[name_end..].find(':') {
        Some(colon) => (&host[..name_end + colon], &host[name_end + colon + 1..]),
        None => (host, ""),
    };
    (!name.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(name)
}

/// Whether an origin (`scheme://host[:port]`) is how the request came: the scheme, and host and port of the
/// `Host` header.
fn is_same(origin: &str, scheme: &str, host: &str) -> bool {
    let Some(place) = origin.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://")) else {
        return false;
    };
    let default = if scheme == "https" { ":443" } else { ":80" };
    let plain = |place: &str| place.strip_suffix(default).unwrap_or(place).to_ascii_lowercase();
    plain(place) == plain(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(target: &str, headers: &[(&'static str, &str)], expected: Option<&str>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let hosts = ["polygate".to_owned()];
        let got = verdict(Version::HTTP_11, &target.parse().unwrap(), &map, "http", &hosts);
        match (got, expected) {
            (Ok(()), None) => {}
            (Err(error), Some(text)) if error.to_string().contains(text) => {}
            (got, expected) => panic!("{headers:?}: {got:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn we_are_localhost_addresses_and_the_configured_names() {
        for host in
            ["localhost", "LocalHost:9900", "127.0.0.1", "10.1.2.3:80", "[::1]", "[::1]:9900", "Polygate:1"]
        {
            check("/", &[("host", host)], None);
        }
    }

    #[test]
    fn every_other_host_is_refused() {
        for host in [
            "evil.example",
            "localhost.evil.example",
            "a.localhost",
            "localhost.",
            "127.0.0.1.evil.example",
            "127.1",
            "0x7f.0.0.1",
            "localhost:80:80",
            "localhost:x",
            "user@localhost",
            "[::1",
            "::1",
            "[::1]x",
            "[fe80::1%eth0]",
            "[localhost]",
            ":9900",
            "",
        ] {
            check("/", &[("host", host)], Some("Host"));
        }
        check("/", &[], Some("needs a Host"));
        check("/", &[("host", "localhost"), ("host", "localhost")], Some("several"));
        check("http://evil.example/", &[("host", "localhost")], Some("evil.example"));
        check("http://localhost/", &[("host", "localhost")], None);
    }

    #[test]
    fn http_1_0_without_a_host_is_forbidden() {
        let got = verdict(Version::HTTP_10, &Uri::from_static("/"), &HeaderMap::new(), "http", &[]);
        assert!(matches!(got, Err(Error::Forbidden(_))));
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        let host = ("host", "localhost:9900");
        check("/", &[host, ("origin", "http://localhost:9900")], None);
        check("/", &[host, ("origin", "http://LOCALHOST:9900"), ("sec-fetch-site", "same-origin")], None);
        check("/", &[("host", "localhost"), ("origin", "http://localhost:80")], None);
        check("/", &[host, ("sec-fetch-site", "none")], None);
        for origin in [
            "http://evil.example",
            "https://localhost:9900",
            "null",
            "http://localhost",
            "http://localhost:9901",
            "localhost:9900",
        ] {
            check("/", &[host, ("origin", origin)], Some("Origin"));
        }
        check("/", &[host, ("origin", "http://localhost:9900"), ("origin", "null")], Some("Origin"));
        for site in ["cross-site", "same-site", ""] {
            check("/", &[host, ("sec-fetch-site", site)], Some("another origin"));
        }
    }
}
