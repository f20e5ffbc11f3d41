//! The options of `ftp`, and what is wrong with them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ports::PortRange;
use crate::config::{Finding, Findings, Period, Size};

/// The longest greeting: a line of the protocol.
const LONGEST_GREETING: usize = 512;

/// How long the address of a name is used before it is resolved again.
const RESOLVED_FOR: Duration = Duration::from_secs(30);

/// Options of `ftp`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "ftp")]
pub struct Options {
    /// The text of the first reply, on one line.
    pub(super) greeting: String,
    /// Who has no account: the folder that they may read from.
    pub(super) anonymous: Option<Anonymous>,
    /// The ports of passive data connections, for example "40000-40009". Default: the kernel's choice.
    pub(super) passive_ports: Option<String>,
    /// The IPv4 address that replies to PASV name: "auto" (the one that the client has reached), an address or a
    /// name, or a table by the client's network with a `default`.
    pub(super) public_host: PublicHost,
    /// Whether PORT and EPRT are served: connections to the client's own address, ports of 1024 and above.
    pub(super) active: bool,
    /// How long a data connection may take to come, and may stand still.
    pub(super) data_timeout: Period,
    /// What an upload at an offset does with what is behind its last byte: "truncate" or "keep".
    pub(super) rest_tail: RestTail,
    /// Whether SITE CHMOD is served.
    pub(super) site_chmod: bool,
    /// What TLS is for: "off", "explicit" (clients may begin it with AUTH TLS), "required" (they must before they log
    /// in) or "implicit" (it begins with the connection). All but "off" need the listener's `tls` table. Default:
    /// "explicit" with a table, else "off".
    pub(super) tls: Option<TlsMode>,
    /// Whether a data connection with TLS must resume the control connection's, which proves that both are of one
    /// client. Some clients cannot.
    pub(super) require_resumption: bool,
    /// Sessions at once of one account. Default: as many as the listener's limits allow.
    #[schemars(range(min = 1))]
    pub(super) max_sessions_per_account: Option<u32>,
    /// How many bytes a second an account may move over all of its data connections, both ways together, where it has
    /// no bandwidth of its own. Default: no limit.
    pub(super) bandwidth: Option<Size>,
}

/// Guests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Anonymous {
    /// The folder that they may read, relative to `state_dir`; made where it is missing.
    pub(super) root: String,
}

/// What TLS is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TlsMode {
    /// There is none.
    Off,
    /// Clients may begin it (RFC 4217).
    Explicit,
    /// Clients must begin it before they log in.
    Required,
    /// It begins with the connection.
    Implicit,
}

/// What is behind the last byte of an upload at an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RestTail {
    /// It is cut off.
    Truncate,
    /// It stays.
    Keep,
}

/// Where clients are told to connect to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PublicHost {
    /// For all.
    One(String),
    /// By the client's network; `default` is for the others.
    ByNetwork(BTreeMap<String, String>),
}

impl Default for Options {
    fn default() -> Self {
        Options {
            greeting: "polygate FTP".into(),
            anonymous: None,
            passive_ports: None,
            public_host: PublicHost::One(AUTO.into()),
            active: false,
            data_timeout: Period::after_secs(10),
            rest_tail: RestTail::Truncate,
            site_chmod: false,
            tls: None,
            require_resumption: false,
            max_sessions_per_account: None,
            bandwidth: None,
        }
    }
}

const AUTO: &str = "auto";
const DEFAULT: &str = "default";

impl Options {
    /// What is wrong with them.
    pub(super) fn check(&self) -> Findings {
        let mut findings = Vec::new();
        if self.greeting.len() > LONGEST_GREETING || self.greeting.contains(['\r', '\n', '\0']) {
            findings.push(Finding::error(&["greeting"], "expected one line of at most 512 bytes"));
        }
        if let Some(Err(message)) = self.range() {
            findings.push(Finding::error(&["passive_ports"], message));
        }
        if let Some(root) = self.anonymous.as_ref().map(|anonymous| &anonymous.root)
            && (root.is_empty() || root.contains('\0'))
        {
            findings.push(Finding::error(&["anonymous", "root"], "expected the path of a folder"));
        }
        match &self.public_host {
            PublicHost::One(host) => findings.extend(check_host(&["public_host"], host)),
            PublicHost::ByNetwork(hosts) => {
                for (network, host) in hosts {
                    let at = ["public_host", network.as_str()];
                    if network != DEFAULT && network.parse::<IpNet>().is_err() {
                        let message = format!("expected a network like `10.0.0.0/8`, or `{DEFAULT}`");
                        findings.push(Finding::error(&at, message));
                    }
                    findings.extend(check_host(&at, host));
                }
            }
        }
        findings
    }

    /// What is wrong with them on a listener with a `tls` table, or without one.
    pub(super) fn check_tls(&self, has_table: bool) -> Findings {
        let mut findings = Vec::new();
        if !has_table && !matches!(self.tls, None | Some(TlsMode::Off)) {
            findings.push(
                Finding::error(
                    &["tls"],
                    "a listener with this handler has no `tls` table, and so no certificate",
                )
                .help("give the listener one: tls = { cert = \"…\", key = \"…\" }"),
            );
        }
        if self.require_resumption && !self.has_tls(has_table) {
            findings.push(Finding::error(&["require_resumption"], "there is no TLS to be resumed"));
        }
        findings
    }

    /// What TLS is for, on a listener with a certificate or without.
    pub(super) fn tls_mode(&self, has_certificate: bool) -> TlsMode {
        let default = if has_certificate { TlsMode::Explicit } else { TlsMode::Off };
        self.tls.unwrap_or(default)
    }

    fn has_tls(&self, has_certificate: bool) -> bool {
        self.tls_mode(has_certificate) != TlsMode::Off
    }

    /// The passive ports, where they are named.
    pub(super) fn range(&self) -> Option<Result<PortRange, String>> {
        self.passive_ports.as_ref().map(|text| text.parse())
    }
}

fn check_host(at: &[&str], host: &str) -> Option<Finding> {
    let name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()) {
        return Some(
            Finding::error(at, "an IPv6 address cannot stand in a reply to PASV")
                .help("EPSV needs no address: IPv6 clients use the one that they have reached"),
        );
    }
    let wrong = host.is_empty() || host.len() > 253 || !host.chars().all(name);
    wrong.then(|| Finding::error(at, "expected \"auto\", an IPv4 address or a host name"))
}

/// Which address a client is told, decided once and for all clients.
#[derive(Debug)]
pub(super) struct Addresses {
    by_network: Vec<(IpNet, String)>,
    default: String,
    /// What a name was resolved to, and when.
    resolved: std::sync::Mutex<BTreeMap<String, (Instant, Ipv4Addr)>>,
}

impl Addresses {
    /// What the option says; the longest network goes first.
    pub(super) fn new(host: &PublicHost) -> Self {
        let mut addresses =
            Addresses { by_network: Vec::new(), default: AUTO.into(), resolved: std::sync::Mutex::default() };
        match host {
            PublicHost::One(host) => addresses.default.clone_from(host),
            PublicHost::ByNetwork(hosts) => {
                for (network, host) in hosts {
                    match network.parse::<IpNet>() {
                        Ok(network) => addresses.by_network.push((network.trunc(), host.clone())),
                        Err(_) => addresses.default.clone_from(host),
                    }
                }
            }
        }
        addresses.by_network.sort_by_key(|(network, _)| std::cmp::Reverse(network.prefix_len()));
        addresses
    }

    /// The address for a client that has reached `local`. None: there is no IPv4 address to tell.
    pub(super) async fn of(&self, client: IpAddr, local: IpAddr) -> Option<Ipv4Addr> {
        let client = client.to_canonical();
        let found = self.by_network.iter().find(|(network, _)| network.contains(&client));
        let host = found.map_or(&self.default, |(_, host)| host);
        if host == AUTO {
            let IpAddr::V4(ip) = local.to_canonical() else { return None };
            return Some(ip);
        }
        if let Ok(ip) = host.parse() {
            return Some(ip);
        }
        self.resolve(host).await
    }

    async fn resolve(&self, name: &str) -> Option<Ipv4Addr> {
        let locked = || self.resolved.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((at, ip)) = locked().get(name).filter(|(at, _)| at.elapsed() < RESOLVED_FOR) {
            let _ = at;
            return Some(*ip);
        }
        let found = tokio::net::lookup_host((name, 0)).await.ok().and_then(|mut found| {
            found.find_map(|at| match at {
                SocketAddr::V4(at) => Some(*at.ip()),
                SocketAddr::V6(_) => None,
            })
        });
        match found {
            Some(ip) => drop(locked().insert(name.into(), (Instant::now(), ip))),
            // An old answer is better than none.
            None => return locked().get(name).map(|(_, ip)| *ip),
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(options: &Options) -> Vec<String> {
        options.check().iter().map(|finding| finding.path.join(".")).collect()
    }

    #[test]
    fn what_is_wrong_is_found_at_its_place() {
        assert!(paths(&Options::default()).is_empty());
        let hosts = [("10.0.0.0/8", "auto"), ("x", "::1"), ("default", "a b")];
        let hosts = hosts.map(|(network, host)| (network.to_owned(), host.to_owned()));
        let options = Options {
            greeting: "a\nb".into(),
            anonymous: Some(Anonymous { root: String::new() }),
            passive_ports: Some("80-90".into()),
            public_host: PublicHost::ByNetwork(hosts.into()),
            ..Options::default()
        };
        let expected =
            ["greeting", "passive_ports", "anonymous.root", "public_host.default", "public_host.x"];
        assert_eq!(paths(&options)[..4], expected[..4]);
        assert_eq!(paths(&options).len(), 6, "an unknown network and an IPv6 address at one place");
    }

    #[tokio::test]
    async fn a_client_is_told_the_address_for_its_network() {
        let hosts = [("10.0.0.0/8", "auto"), ("10.1.0.0/16", "192.0.2.7"), ("default", "198.51.100.1")];
        let hosts = hosts.map(|(network, host)| (network.to_owned(), host.to_owned()));
        let addresses = Addresses::new(&PublicHost::ByNetwork(hosts.into()));
        let local = "10.9.9.9".parse().unwrap();
        for (client, expected) in
            [("10.2.0.1", "10.9.9.9"), ("10.1.0.1", "192.0.2.7"), ("203.0.113.5", "198.51.100.1")]
        {
            let found = addresses.of(client.parse().unwrap(), local).await;
            assert_eq!(found, Some(expected.parse().unwrap()), "{client}");
        }
        let auto = Addresses::new(&PublicHost::One("auto".into()));
        assert_eq!(auto.of("::1".parse().unwrap(), "::1".parse().unwrap()).await, None);
    }
}
