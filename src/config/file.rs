//! The configuration as the user types it: everything optional, nothing resolved.
//!
//! These types give the JSON Schema of the file, and their comments are its descriptions. They may
//! not touch the system; [`merge`](super::merge) makes the effective configuration of them.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::access::{Open, Role, TokenHash};
use super::endpoint::Endpoint;
use super::model::{Durability, LogFormat, Overload, UnixMode};
use super::text::{FilePath, HostName, LogFilter, Network};
use super::values::{Period, Size, Timeout};

mod shapes;
mod tls;
mod upstreams;

pub(super) use shapes::{AdminBind, List, OneOrMany, Table};
pub(super) use tls::{ProxyProtocolFile, TlsFile, UpstreamTlsFile};
pub(super) use upstreams::{HealthFile, TargetFile, UpstreamFile};

/// A polygate configuration.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    /// The version of the format. Only 1 exists.
    #[schemars(range(min = 1, max = 1))]
    pub(super) version: Option<u32>,
    /// Folder of everything that polygate writes, relative to the working directory. Default: the
    /// first path in $STATE_DIRECTORY, else `var`.
    pub(super) state_dir: Option<FilePath>,
    /// The admin API.
    pub(super) admin: Option<AdminFile>,
    /// The log on standard error.
    pub(super) log: Option<LogFile>,
    /// The runtime of the data plane.
    pub(super) runtime: Option<RuntimeFile>,
    /// When the configuration is read again, and what becomes of what left.
    pub(super) reload: Option<ReloadFile>,
    /// What happens on SIGTERM and SIGINT.
    pub(super) shutdown: Option<ShutdownFile>,
    /// Limits of the whole process.
    pub(super) limits: Option<GlobalLimitsFile>,
    /// The accounts that handlers with logins share.
    pub(super) accounts: Option<AccountsFile>,
    /// What holds for every listener that does not say otherwise. A key that does not fit a listener is
    /// ignored there.
    pub(super) defaults: Option<DefaultsFile>,
    /// The listeners, each under its name.
    pub(super) listeners: Option<Table<ListenerFile>>,
    /// What the handler type `forward` carries to, each under its name.
    pub(super) upstreams: Option<Table<UpstreamFile>>,
    /// Handlers with options, each under its name. A name that is also a handler type must have that type.
    pub(super) handlers: Option<Table<HandlerFile>>,
}

/// `[admin]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AdminFile {
    /// Where the admin API listens: TCP or a Unix socket, one or a list, or "off". Off loopback it needs a
    /// token. Default: "tcp://127.0.0.1:9900".
    pub(super) bind: Option<OneOrMany<AdminBind>>,
    /// Names besides `localhost` and IP literals that the `Host` header may carry. Default: none.
    pub(super) hosts: Option<List<HostName>>,
    /// Where /metrics, /livez and /readyz alone are served, and never need a token: one endpoint, or a list.
    /// Default: nowhere.
    pub(super) metrics_bind: Option<OneOrMany<AdminBind>>,
    /// What needs no token where there are tokens. Default: nothing.
    pub(super) open: Option<List<Open>>,
    /// File with a token of the role admin, relative to the folder of this file. Default: none.
    pub(super) token_file: Option<FilePath>,
    /// Tokens, each under its name. As soon as there is one, requests need one. Default: none.
    pub(super) tokens: Option<Table<TokenFile>>,
    /// TLS on the TCP endpoints of `bind`. Default: none.
    pub(super) tls: Option<TlsFile>,
}

/// `[admin.tokens.NAME]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["role"]))]
pub(super) struct TokenFile {
    /// What it may do: read, operate (reload, kill, steer upstreams) or admin (accounts); a higher role includes
    /// the lower.
    pub(super) role: Option<Role>,
    /// SHA-256 of the token; this or `file`.
    pub(super) sha256: Option<TokenHash>,
    /// File with the token, relative to the folder of this file.
    pub(super) file: Option<FilePath>,
}

/// `[log]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LogFile {
    /// A tracing filter: a level, or pairs such as "info,polygate::conn=warn". Default: "info".
    pub(super) level: Option<LogFilter>,
    /// Text or JSON. Default: "auto", text on a terminal and else JSON.
    pub(super) format: Option<LogFormat>,
}

/// `[runtime]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RuntimeFile {
    /// Worker threads. Default: 0, one per core.
    #[schemars(range(min = 0, max = 1024))]
    pub(super) workers: Option<usize>,
}

/// `[reload]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ReloadFile {
    /// How long connections of an endpoint that left may go on. Default: "off", until they end by themselves.
    pub(super) drain: Option<Timeout>,
    /// Whether a change of the file, or of a file that it names, is taken over by itself. Default: false.
    pub(super) watch: Option<bool>,
    /// How often the files are looked at, besides when the system tells of a change. Default: "2s".
    pub(super) watch_interval: Option<Period>,
}

/// `[shutdown]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ShutdownFile {
    /// How long /readyz says 503 while connections are still accepted. Default: "off".
    pub(super) delay: Option<Timeout>,
    /// How long established connections may finish after that; "off" is for ever. Default: "8s".
    pub(super) grace: Option<Timeout>,
}

/// `[limits]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GlobalLimitsFile {
    /// Connections of the whole process, all listeners together. Default: 10000.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub(super) max_connections: Option<usize>,
}

/// `[accounts]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AccountsFile {
    /// SQLite file of the accounts, relative to `state_dir`. Default: "accounts.db".
    pub(super) database: Option<FilePath>,
    /// Folder of their files, a home each, relative to `state_dir`. Default: "files".
    pub(super) root: Option<FilePath>,
    /// What an account may hold that has no quota of its own. Default: "1GiB".
    pub(super) quota: Option<Size>,
    /// Whether clients may make accounts for themselves. Default: false.
    pub(super) registration: Option<bool>,
    /// What an acknowledged upload survives: "acked" a power cut; "rename" the end of the process, and a power
    /// cut leaves the old file or the new one; "none" the end of the process. Default: "acked".
    pub(super) durability: Option<Durability>,
}

/// `[defaults]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DefaultsFile {
    /// Networks that may connect; empty is all of them. Default: empty.
    pub(super) allow: Option<List<Network>>,
    /// Networks that may not; looked at before `allow`. Default: empty.
    pub(super) deny: Option<List<Network>>,
    /// How much at once.
    pub(super) limits: Option<LimitsFile>,
    /// How long.
    pub(super) timeouts: Option<TimeoutsFile>,
    /// Options of the sockets.
    pub(super) socket: Option<SocketFile>,
    /// Rules for datagrams.
    pub(super) datagrams: Option<DatagramsFile>,
    /// TLS for connections, of listeners that have no table of their own. What a listener's own table leaves out is
    /// taken from here. Default: none.
    pub(super) tls: Option<TlsFile>,
    /// Who may say by a PROXY header where a connection comes from, in the same way. Default: nobody.
    pub(super) proxy_protocol: Option<ProxyProtocolFile>,
}

/// `[listeners.NAME]`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["bind", "handler"]))]
pub(super) struct ListenerFile {
    /// Where it listens, one endpoint or a list: tcp://HOST:PORT, udp://HOST:PORT, unix://PATH,
    /// unixgram://PATH (@NAME is an abstract name), or an inherited socket as fd+tcp://NAME.
    pub(super) bind: Option<OneOrMany<Endpoint>>,
    /// What is done with what arrives: a name in [handlers], or a handler type with default options.
    #[schemars(length(min = 1))]
    pub(super) handler: Option<String>,
    /// Networks that may connect; empty is all of them. Unix peers always pass. Default: empty.
    pub(super) allow: Option<List<Network>>,
    /// Networks that may not; looked at before `allow`. Default: empty.
    pub(super) deny: Option<List<Network>>,
    /// How much at once, counted over all its endpoints.
    pub(super) limits: Option<LimitsFile>,
    /// How long.
    pub(super) timeouts: Option<TimeoutsFile>,
    /// Options of the sockets.
    pub(super) socket: Option<SocketFile>,
    /// Rules for datagrams.
    pub(super) datagrams: Option<DatagramsFile>,
    /// TLS on its connections. Handlers that begin TLS themselves (ftp) take the certificate from here.
    pub(super) tls: Option<TlsFile>,
    /// PROXY headers before its connections, by which a load balancer tells who they are from.
    pub(super) proxy_protocol: Option<ProxyProtocolFile>,
}

/// `limits` of a listener.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LimitsFile {
    /// Connections at once. Default: that of the whole process.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub(super) max_connections: Option<usize>,
    /// Connections at once from one address, or from one user on Unix sockets. Default: 1000, and
    /// loopback is exempt unless this key is written.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub(super) max_connections_per_ip: Option<usize>,
    /// Connections a second, with a burst of as many. Default: 0, no limit.
    #[schemars(range(min = 0, max = 10_000_000))]
    pub(super) accept_rate: Option<u32>,
    /// After so many connections or datagrams the listener stops. Default: 0, no limit.
    #[schemars(range(min = 0, max = 9_223_372_036_854_775_807_i64))]
    pub(super) accept_total: Option<u64>,
    /// What happens to a connection over a limit. Default: `max_connections` defers and every other
    /// limit refuses.
    pub(super) overload: Option<Overload>,
}

/// `timeouts` of a listener: a duration or "off" each. Every handler type has its own defaults.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TimeoutsFile {
    /// TLS handshake and PROXY header. Default: "5s".
    pub(super) handshake: Option<Timeout>,
    /// From the accept, or the end of the handshake, to the first byte. Default: by handler.
    pub(super) first_byte: Option<Timeout>,
    /// A header, command or login complete; dripping does not extend it. Default: by handler.
    pub(super) request: Option<Timeout>,
    /// Nothing received and nothing sent. Default: by handler.
    pub(super) idle: Option<Timeout>,
    /// A write that the peer does not take. Default: "30s".
    pub(super) stall: Option<Timeout>,
    /// The whole connection. Default: "off".
    pub(super) lifetime: Option<Timeout>,
}

/// `socket` of a listener.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SocketFile {
    /// Length of the accept queue asked of the kernel. Default: 4096.
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub(super) backlog: Option<u32>,
    /// TCP_NODELAY on accepted connections. Default: true.
    pub(super) nodelay: Option<bool>,
    /// Idle time before TCP keepalive probes, or "off". Default: "60s".
    pub(super) keepalive: Option<Timeout>,
    /// SO_RCVBUF. Default: the kernel's.
    pub(super) receive_buffer: Option<Size>,
    /// SO_SNDBUF. Default: the kernel's.
    pub(super) send_buffer: Option<Size>,
    /// Permission bits of Unix socket nodes, an octal string. Default: "0660".
    pub(super) unix_mode: Option<UnixMode>,
}

/// `datagrams` of a listener.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DatagramsFile {
    /// Datagrams a second from one source. Default: 1000.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub(super) rate: Option<u32>,
    /// How many of them may come at once. Default: 2000.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub(super) burst: Option<u32>,
    /// Networks exempt from the rate. Default: loopback, "127.0.0.0/8" and "::1".
    pub(super) trusted: Option<List<Network>>,
    /// Longer ones are dropped; at most "64KiB". Default: "64KiB".
    pub(super) max_size: Option<Size>,
}

/// `[handlers.NAME]`: the type, and whatever options that type has; read from the tree by that type.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct HandlerFile(serde::de::IgnoredAny);

impl JsonSchema for HandlerFile {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HandlerFile".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // The options are walked later, by the schema of the type that the entry names.
        json_schema!({ "type": "object", "required": ["type"] })
    }
}
