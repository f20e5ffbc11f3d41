//! The effective configuration: what the program uses.
//!
//! Every default is filled in, every path is absolute, every `${…}` is replaced. It is made from the
//! text by [`load`](super::load) only, so whoever holds a [`Config`] holds a checked one. What the
//! user typed lives in `file`.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::Serialize;
use serde_json::Value;

use super::access::{Open, Token};
use super::endpoint::{Endpoint, Transports};
use super::tls::{ProxyProtocol, Tls};
use super::upstream::Upstream;
use super::values::{Period, Size, Timeout};

/// A checked configuration with every default filled in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Config {
    /// The version of the format; always 1.
    pub version: u32,
    /// Absolute folder of everything that polygate writes.
    pub state_dir: PathBuf,
    /// The admin API.
    pub admin: Admin,
    /// The log.
    pub log: Log,
    /// The data plane's runtime.
    pub runtime: Runtime,
    /// When it is read again.
    pub reload: Reload,
    /// What happens on SIGTERM and SIGINT.
    pub shutdown: Shutdown,
    /// Limits of the whole process.
    pub limits: GlobalLimits,
    /// The accounts that handlers with logins share.
    pub accounts: Accounts,
    /// The listeners, in the order of the file.
    pub listeners: Vec<Listener>,
    /// The upstreams, in the order of the file.
    #[serde(serialize_with = "super::upstream::by_name")]
    pub upstreams: Vec<Upstream>,
    /// The names of `[handlers]` entries that no listener uses: decoded, checked, not built.
    pub unused_handlers: Vec<String>,
}

impl Config {
    /// The configuration of a gateway that has no listener yet: what start-up is compared with.
    pub fn empty() -> Self {
        Config {
            version: 1,
            state_dir: PathBuf::new(),
            admin: Admin::default(),
            log: Log { level: "info".into(), format: LogFormat::Auto },
            runtime: Runtime { workers: 0 },
            reload: Reload::default(),
            shutdown: Shutdown { delay: Timeout::OFF, grace: Timeout::after_secs(8) },
            limits: GlobalLimits { max_connections: 10_000 },
            accounts: Accounts {
                database: PathBuf::new(),
                root: PathBuf::new(),
                quota: Size::kib(1 << 20),
                registration: false,
                durability: Durability::Acked,
            },
            listeners: Vec::new(),
            upstreams: Vec::new(),
            unused_handlers: Vec::new(),
        }
    }

    /// The listener of that name.
    pub fn listener(&self, name: &str) -> Option<&Listener> {
        self.listeners.iter().find(|l| l.name == name)
    }
}

/// `[admin]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Admin {
    /// Where the API listens: `tcp://` or `unix://`; off this machine only with a token. Empty: `"off"`.
    pub bind: Vec<Endpoint>,
    /// Names besides `localhost` and IP literals that the `Host` header may carry.
    pub hosts: Vec<String>,
    /// Where `/metrics`, `/livez` and `/readyz` alone are served.
    pub metrics_bind: Vec<Endpoint>,
    /// What needs no token.
    pub open: Vec<Open>,
    /// The tokens; where there is one, requests need one.
    pub tokens: Vec<Token>,
    /// TLS on `bind`, TCP alone.
    pub tls: Option<Tls>,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Log {
    /// A `tracing` filter, for example `info` or `info,polygate::conn=warn`.
    pub level: String,
    /// Text or JSON.
    pub format: LogFormat,
}

/// `log.format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Text when standard error is a terminal, else JSON.
    Auto,
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// `[runtime]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Runtime {
    /// Worker threads of the data plane; 0 is one per core.
    pub workers: usize,
}

/// `[reload]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reload {
    /// How long conns of an endpoint that left may go on; off is until they end by themselves.
    pub drain: Timeout,
    /// Whether a change of the files is taken over by itself.
    pub watch: bool,
    /// How often the files are looked at.
    pub watch_interval: Period,
}

impl Default for Reload {
    fn default() -> Self {
        Reload { drain: Timeout::OFF, watch: false, watch_interval: Period::after_secs(2) }
    }
}

/// `[shutdown]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shutdown {
    /// How long `/readyz` says 503 while connections are still accepted.
    pub delay: Timeout,
    /// How long established connections may finish after that; off is for ever.
    pub grace: Timeout,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GlobalLimits {
    /// Connections of the whole process, all listeners together.
    pub max_connections: usize,
}

/// `[accounts]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Accounts {
    /// Absolute path of the SQLite file.
    pub database: PathBuf,
    /// Absolute path of the folder that the homes are in.
    pub root: PathBuf,
    /// What an account has that has no quota of its own.
    pub quota: Size,
    /// Whether clients may make accounts for themselves.
    pub registration: bool,
    /// What an acknowledged upload survives.
    pub durability: Durability,
}

/// `accounts.durability`: what an acknowledged upload survives. Each survives the end of the process, and
/// none ever leaves a torn file in place of an old one then.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Durability {
    /// Nothing is synced: a power cut may lose or tear files of the last half minute.
    None,
    /// The content is synced before the rename: a power cut leaves the old file or the new one, whole.
    Rename,
    /// The directory is synced too: a power cut leaves the new file.
    Acked,
}

/// One `[listeners.NAME]` entry.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Listener {
    /// Its name: the identity in errors, logs, metrics, API and reload.
    pub name: String,
    /// Its endpoints, in the order of the file, each once.
    pub bind: Vec<Endpoint>,
    /// What is done with what arrives.
    pub handler: HandlerUse,
    /// Networks that may connect; empty is all of them.
    pub allow: Vec<IpNet>,
    /// Networks that may not; looked at before `allow`.
    pub deny: Vec<IpNet>,
    /// How much at once.
    pub limits: Limits,
    /// How long.
    pub timeouts: Timeouts,
    /// Options of the listening sockets and of what they accept.
    pub socket: SocketOptions,
    /// Rules for datagrams.
    pub datagrams: Datagrams,
    /// TLS on connections.
    pub tls: Option<Tls>,
    /// PROXY headers before connections.
    pub proxy_protocol: Option<ProxyProtocol>,
}

impl Listener {
    /// The transports of its endpoints.
    pub fn transports(&self) -> Transports {
        self.bind.iter().fold(Transports::NONE, |all, e| all | e.transport().into())
    }
}

/// The handler that a listener names, with its options.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HandlerUse {
    /// The name written at the listener: of a `[handlers]` entry, or a type.
    pub name: String,
    /// The handler type, for example `echo`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its options, defaults filled in: what its `Options` type serialises to.
    pub options: Value,
    /// Whether it keeps something for each sender of datagrams.
    #[serde(skip)]
    pub keeps_flows: bool,
}

/// `limits` of a listener, counted over all its endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Connections at once.
    pub max_connections: usize,
    /// Connections at once from one address, or from one user on Unix sockets.
    pub max_connections_per_ip: usize,
    /// Whether loopback peers are exempt from `max_connections_per_ip`: they are unless it is written.
    #[serde(skip)]
    pub per_ip_spares_loopback: bool,
    /// Connections a second, with a burst of as many; 0 is no limit.
    pub accept_rate: u32,
    /// After so many connections or datagrams the listener stops; 0 is no limit.
    pub accept_total: u64,
    /// What happens to a connection over a limit.
    pub overload: Overload,
}

/// `limits.overload`: what happens to a connection over a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overload {
    /// Wait in the kernel's backlog (`max_connections` only; every other limit refuses).
    Defer,
    /// Accept, send the handler's refusal where it has one, and close.
    Refuse,
    /// Accept and reset.
    Reset,
}

/// `timeouts` of a listener. All run on the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Timeouts {
    /// TLS handshake and PROXY header.
    pub handshake: Timeout,
    /// From the accept (or the end of the handshake) to the first byte.
    pub first_byte: Timeout,
    /// A header, command or login complete; dripping does not extend it.
    pub request: Timeout,
    /// Nothing received and nothing sent.
    pub idle: Timeout,
    /// A write that the peer does not take.
    pub stall: Timeout,
    /// The whole connection.
    pub lifetime: Timeout,
}

impl Timeouts {
    /// The defaults of raw streams: idle 5 min, stall 30 s, handshake 5 s, the rest off.
    pub const RAW: Timeouts = Timeouts {
        handshake: Timeout::after_secs(5),
        first_byte: Timeout::OFF,
        request: Timeout::OFF,
        idle: Timeout::after_secs(300),
        stall: Timeout::after_secs(30),
        lifetime: Timeout::OFF,
    };
}

/// `socket` of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SocketOptions {
    /// Length of the accept queue asked of the kernel.
    pub backlog: u32,
    /// TCP_NODELAY on accepted connections.
    pub nodelay: bool,
    /// Idle time before TCP keepalive probes.
    pub keepalive: Timeout,
    /// SO_RCVBUF; none is the kernel's default.
    pub receive_buffer: Option<Size>,
    /// SO_SNDBUF; none is the kernel's default.
    pub send_buffer: Option<Size>,
    /// Permission bits of Unix socket nodes.
    pub unix_mode: UnixMode,
}

/// `socket.unix_mode`: permission bits, written as an octal string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnixMode(pub u32);

/// `datagrams` of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Datagrams {
    /// Datagrams a second from one source.
    pub rate: u32,
    /// How many may come at once.
    pub burst: u32,
    /// Networks exempt from the rate (never from the loop guard).
    pub trusted: Vec<IpNet>,
    /// Longer ones are dropped.
    pub max_size: Size,
}

/// Whether one of the networks holds the address; an IPv4-mapped IPv6 address counts as IPv4.
pub fn contains(networks: &[IpNet], ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    networks.iter().any(|net| net.contains(&ip))
}

impl Serialize for UnixMode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:04o}", self.0))
    }
}
