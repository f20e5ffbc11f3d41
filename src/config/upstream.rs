//! `[upstreams]` as the program uses it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::endpoint::{Endpoint, Transports};
use super::file::{HealthFile, TargetFile, UpstreamFile};
use super::tls::UpstreamTls;
use super::values::{Period, Timeout};

/// One `[upstreams.NAME]` entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Upstream {
    /// Its name.
    #[serde(skip)]
    pub name: String,
    /// The endpoints, in the order of the file.
    pub to: Vec<Target>,
    /// Which endpoint a new connection gets.
    pub balance: Balance,
    /// How it is connected.
    pub connect: Connect,
    /// Probes.
    pub health: Option<Health>,
    /// Ejection.
    pub passive: Passive,
    /// A PROXY header before everything else.
    pub send_proxy: SendProxy,
    /// TLS to the endpoints.
    pub tls: Option<UpstreamTls>,
    /// How long the addresses of a name are used.
    pub dns: Period,
}

impl Upstream {
    /// The transports of its endpoints.
    pub fn transports(&self) -> Transports {
        self.to.iter().fold(Transports::NONE, |all, to| all | to.endpoint.transport().into())
    }
}

/// One endpoint of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Target {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Its share in relation to the others.
    pub weight: u32,
    /// Whether it is used only when no other is up.
    pub backup: bool,
}

/// `balance`: which endpoint a new connection, or flow of datagrams, gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// One after the other, by weight.
    RoundRobin,
    /// The one with the fewest connections for its weight.
    LeastConnections,
    /// The same for the same client address, by weighted rendezvous hashing.
    Source,
    /// The less loaded of two that are drawn by weight.
    RandomTwo,
    /// The same for the same client address, by a Maglev table: a change moves few clients.
    Maglev,
}

/// `connect`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Connect {
    /// How long one try may take.
    pub timeout: Period,
    /// How many other tries follow one that fails.
    pub retries: u32,
}

/// `health`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Health {
    /// What a probe does.
    pub kind: HealthKind,
    /// The time between two probes.
    pub interval: Period,
    /// How long a probe may take.
    pub timeout: Period,
    /// Good probes in a row that bring an endpoint back.
    pub rise: u32,
    /// Bad probes in a row that take it out.
    pub fall: u32,
    /// What an http probe asks for.
    pub path: Option<String>,
    /// What a udp or send_expect probe sends.
    pub send: Option<String>,
    /// What its answer must contain; none or empty is any answer.
    pub expect: Option<String>,
    /// Whether the connections of an endpoint that is found unhealthy are closed.
    pub close_on_unhealthy: bool,
}

/// `health.kind`: what a probe does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthKind {
    /// Connects.
    Tcp,
    /// Asks for `path`, and wants a status from 200 to 399.
    Http,
    /// Sends `send` as a datagram, and wants an answer.
    Udp,
    /// Connects, sends `send`, and wants `expect`.
    SendExpect,
}

/// `passive`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Passive {
    /// Failed connections that eject an endpoint.
    pub failures: u32,
    /// The time in which they count.
    pub window: Period,
    /// How long it is out; off is never.
    pub ejection: Timeout,
}

/// `send_proxy`: a PROXY header that tells an endpoint who the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SendProxy {
    /// None.
    Off,
    /// A line of text.
    V1,
    /// The binary form.
    V2,
}

/// An entry with every default filled in. `to` are its endpoints, checked and absolute.
pub(super) fn merge(name: &str, file: &UpstreamFile, to: Vec<Target>) -> Upstream {
    let (connect, passive) = (file.connect.as_ref(), file.passive.as_ref());
    Upstream {
        name: name.into(),
        to,
        balance: file.balance.unwrap_or(Balance::RoundRobin),
        connect: Connect {
            timeout: connect.and_then(|c| c.timeout).unwrap_or(Period::after_secs(3)),
            retries: connect.and_then(|c| c.retries).unwrap_or(2),
        },
        health: file.health.as_ref().and_then(health),
        passive: Passive {
            failures: passive.and_then(|p| p.failures).unwrap_or(3),
            window: passive.and_then(|p| p.window).unwrap_or(Period::after_secs(10)),
            ejection: passive.and_then(|p| p.ejection).unwrap_or(Timeout::after_secs(10)),
        },
        send_proxy: file.send_proxy.unwrap_or(SendProxy::Off),
        // Read by the check.
        tls: None,
        dns: file.dns.unwrap_or(Period::after_secs(30)),
    }
}

fn health(file: &HealthFile) -> Option<Health> {
    let kind = file.kind?;
    let sends = matches!(kind, HealthKind::Udp | HealthKind::SendExpect);
    let default = |text: &Option<String>| text.clone().unwrap_or_default();
    Some(Health {
        kind,
        interval: file.interval.unwrap_or(Period::after_secs(5)),
        timeout: file.timeout.unwrap_or(Period::after_secs(2)),
        rise: file.rise.unwrap_or(2),
        fall: file.fall.unwrap_or(3),
        path: (kind == HealthKind::Http).then(|| file.path.clone().unwrap_or_else(|| "/".into())),
        send: sends.then(|| default(&file.send)),
        expect: sends.then(|| default(&file.expect)),
        close_on_unhealthy: file.close_on_unhealthy.unwrap_or(false),
    })
}

/// An endpoint with its weight, as far as it was written.
pub(super) fn target(file: &TargetFile) -> Option<Target> {
    match file {
        TargetFile::Plain(endpoint) => Some(Target { endpoint: endpoint.clone(), weight: 1, backup: false }),
        TargetFile::Full(full) => Some(Target {
            endpoint: full.endpoint.clone()?,
            weight: full.weight.unwrap_or(1),
            backup: full.backup.unwrap_or(false),
        }),
    }
}

/// Upstreams as the effective configuration shows them: a table by name.
pub(super) fn by_name<S: serde::Serializer>(all: &[Upstream], serializer: S) -> Result<S::Ok, S::Error> {
    let table: BTreeMap<&str, &Upstream> = all.iter().map(|one| (one.name.as_str(), one)).collect();
    table.serialize(serializer)
}
