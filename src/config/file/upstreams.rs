//! `[upstreams]` as the user types it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{List, UpstreamTlsFile};
use crate::config::endpoint::Endpoint;
use crate::config::upstream::{Balance, HealthKind, SendProxy};
use crate::config::values::{Period, Timeout};

/// `[upstreams.NAME]`: where `forward` carries connections or datagrams to.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["to"]))]
pub(in crate::config) struct UpstreamFile {
    /// The endpoints: each tcp://HOST:PORT, unix://PATH, udp://HOST:PORT or unixgram://PATH, or a table with
    /// `endpoint`, `weight` and `backup`. Either all for connections or all for datagrams.
    #[schemars(length(min = 1))]
    pub(in crate::config) to: Option<List<TargetFile>>,
    /// Which endpoint a new connection gets. Default: "round_robin".
    pub(in crate::config) balance: Option<Balance>,
    /// How it is connected.
    pub(in crate::config) connect: Option<ConnectFile>,
    /// Probes. Default: none.
    pub(in crate::config) health: Option<HealthFile>,
    /// Ejection of an endpoint whose connections fail. Default: 3 failures in 10 s eject it for 10 s.
    pub(in crate::config) passive: Option<PassiveFile>,
    /// A PROXY header that tells the endpoint who the client is. Default: "off".
    pub(in crate::config) send_proxy: Option<SendProxy>,
    /// TLS to the endpoints. Default: none.
    pub(in crate::config) tls: Option<UpstreamTlsFile>,
    /// How long the addresses of a name are used before it is resolved again. Default: "30s".
    pub(in crate::config) dns: Option<Period>,
}

/// One of `to`: an endpoint, or a table.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(in crate::config) enum TargetFile {
    /// An endpoint.
    Plain(Endpoint),
    /// An endpoint with more.
    Full(FullTargetFile),
}

/// An endpoint with its weight.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["endpoint"]))]
pub(in crate::config) struct FullTargetFile {
    /// The endpoint.
    pub(in crate::config) endpoint: Option<Endpoint>,
    /// Its share in relation to the others. Default: 1.
    #[schemars(range(min = 1, max = 1000))]
    pub(in crate::config) weight: Option<u32>,
    /// Whether it is used only when no other is up. Default: false.
    pub(in crate::config) backup: Option<bool>,
}

/// `connect`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct ConnectFile {
    /// How long one try may take. Default: "3s".
    pub(in crate::config) timeout: Option<Period>,
    /// How many other tries follow one that fails. Default: 2.
    #[schemars(range(min = 0, max = 10))]
    pub(in crate::config) retries: Option<u32>,
}

/// `health`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["kind"]))]
pub(in crate::config) struct HealthFile {
    /// What a probe does.
    pub(in crate::config) kind: Option<HealthKind>,
    /// The time between two probes. Default: "5s".
    pub(in crate::config) interval: Option<Period>,
    /// How long a probe may take. Default: "2s".
    pub(in crate::config) timeout: Option<Period>,
    /// So many good probes in a row bring an endpoint back. Default: 2.
    #[schemars(range(min = 1, max = 100))]
    pub(in crate::config) rise: Option<u32>,
    /// So many bad probes in a row take it out. Default: 3.
    #[schemars(range(min = 1, max = 100))]
    pub(in crate::config) fall: Option<u32>,
    /// The path that an http probe asks for. Default: "/".
    pub(in crate::config) path: Option<String>,
    /// What a send_expect or udp probe sends.
    pub(in crate::config) send: Option<String>,
    /// What its answer must contain. Default: any answer will do.
    pub(in crate::config) expect: Option<String>,
    /// Whether the connections of an endpoint that is found unhealthy are closed. Default: false.
    pub(in crate::config) close_on_unhealthy: Option<bool>,
}

/// `passive`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct PassiveFile {
    /// So many failed connections eject an endpoint. Default: 3.
    #[schemars(range(min = 1, max = 1000))]
    pub(in crate::config) failures: Option<u32>,
    /// The time in which they count. Default: "10s".
    pub(in crate::config) window: Option<Period>,
    /// How long it is out, or "off" for no ejection. Default: "10s".
    pub(in crate::config) ejection: Option<Timeout>,
}
