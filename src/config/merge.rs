//! From what the user typed to what the program uses: every default filled in, key by key.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use super::Origin;
use super::check::fit;
use super::endpoint::{Endpoint, Host, HostPort, parse::normalised};
use super::file::{DatagramsFile, File, LimitsFile, List, ListenerFile, SocketFile, TimeoutsFile};
use super::model::{
    Accounts, Datagrams, Durability, GlobalLimits, HandlerUse, Limits, Listener, Log, LogFormat, Overload,
    Reload, Runtime, Shutdown, SocketOptions, Timeouts, UnixMode,
};
use super::text::{FilePath, Network};
use super::values::{Size, Timeout};

/// Where the admin API listens when nothing is written.
pub(super) fn default_admin() -> Endpoint {
    Endpoint::Tcp(HostPort { host: Host::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)), port: 9900 })
}

/// The absolute folder of everything that polygate writes.
pub(super) fn state_dir(file: &File, origin: &Origin, env: &dyn Fn(&str) -> Option<String>) -> PathBuf {
    // systemd lists several folders with colons; the first is the main one.
    let given = || env("STATE_DIRECTORY")?.split(':').find(|path| !path.is_empty()).map(PathBuf::from);
    let path = match &file.state_dir {
        Some(path) => path.0.clone(),
        None => given().unwrap_or_else(|| "var".into()),
    };
    normalised(&origin.working_directory.join(path))
}

pub(super) fn log(file: &File) -> Log {
    let log = file.log.as_ref();
    Log {
        level: log.and_then(|log| log.level.clone()).map_or_else(|| "info".into(), |level| level.0),
        format: log.and_then(|log| log.format).unwrap_or(LogFormat::Auto),
    }
}

pub(super) fn runtime(file: &File) -> Runtime {
    Runtime { workers: file.runtime.as_ref().and_then(|runtime| runtime.workers).unwrap_or(0) }
}

pub(super) fn reload(file: &File) -> Reload {
    let (reload, default) = (file.reload.as_ref(), Reload::default());
    Reload {
        drain: reload.and_then(|reload| reload.drain).unwrap_or(default.drain),
        watch: reload.and_then(|reload| reload.watch).unwrap_or(default.watch),
        watch_interval: reload.and_then(|reload| reload.watch_interval).unwrap_or(default.watch_interval),
    }
}

pub(super) fn shutdown(file: &File) -> Shutdown {
    let shutdown = file.shutdown.as_ref();
    Shutdown {
        delay: shutdown.and_then(|shutdown| shutdown.delay).unwrap_or(Timeout::OFF),
        grace: shutdown.and_then(|shutdown| shutdown.grace).unwrap_or(Timeout::after_secs(8)),
    }
}

pub(super) fn global_limits(file: &File) -> GlobalLimits {
    let written = file.limits.as_ref().and_then(|limits| limits.max_connections);
    GlobalLimits { max_connections: written.unwrap_or(10_000) }
}

pub(super) fn accounts(file: &File, state_dir: &Path) -> Accounts {
    let accounts = file.accounts.as_ref();
    let path = |written: Option<&FilePath>, default: &str| {
        normalised(&state_dir.join(written.map_or(Path::new(default), |path| &path.0)))
    };
    Accounts {
        database: path(accounts.and_then(|a| a.database.as_ref()), "accounts.db"),
        root: path(accounts.and_then(|a| a.root.as_ref()), "files"),
        quota: accounts.and_then(|a| a.quota).unwrap_or(Size::kib(1 << 20)),
        registration: accounts.and_then(|a| a.registration).unwrap_or(false),
        durability: accounts.and_then(|a| a.durability).unwrap_or(Durability::Acked),
    }
}

/// How long a flow of datagrams may stand still if it is not written.
const IDLE_FLOW: Timeout = Timeout::after_secs(60);

/// A listener: its own keys over those of `[defaults]` that fit it, over the built-in ones.
pub(super) fn listener(
    name: &str,
    own: &ListenerFile,
    file: &File,
    bind: Vec<Endpoint>,
    handler: HandlerUse,
    mut timeouts: Timeouts,
    flows: bool,
) -> Listener {
    if flows && !bind.iter().any(|endpoint| endpoint.transport().is_stream()) {
        timeouts.idle = IDLE_FLOW;
    }
    let defaults = file.defaults.as_ref();
    let layers = Layers { bind: bind.iter().collect(), flows };
    let limits = (own.limits.as_ref(), defaults.and_then(|d| d.limits.as_ref()));
    let own_timeouts = (own.timeouts.as_ref(), defaults.and_then(|d| d.timeouts.as_ref()));
    let socket = (own.socket.as_ref(), defaults.and_then(|d| d.socket.as_ref()));
    let datagrams = (own.datagrams.as_ref(), defaults.and_then(|d| d.datagrams.as_ref()));
    let networks = |own: &Option<List<Network>>, default: Option<&Option<List<Network>>>| {
        own.as_ref().or(default.and_then(Option::as_ref)).map(ip_networks).unwrap_or_default()
    };
    Listener {
        name: name.into(),
        handler,
        allow: networks(&own.allow, defaults.map(|d| &d.allow)),
        deny: networks(&own.deny, defaults.map(|d| &d.deny)),
        limits: layers.limits(limits, global_limits(file).max_connections),
        timeouts: layers.timeouts(own_timeouts, timeouts),
        socket: layers.socket(socket),
        datagrams: layers.datagrams(datagrams),
        tls: None,
        proxy_protocol: None,
        bind,
    }
}

/// A table of the listener, and the same table of `[defaults]`.
type Pair<'a, T> = (Option<&'a T>, Option<&'a T>);

/// The listener's endpoints decide what fits.
struct Layers<'a> {
    bind: Vec<&'a Endpoint>,
    /// Whether the handler keeps something for each sender of datagrams.
    flows: bool,
}

impl Layers<'_> {
    /// A key of the listener, else of `[defaults]`, as far as it fits.
    fn key<T, V>(
        &self,
        (own, default): Pair<'_, T>,
        table: &str,
        key: &str,
        get: impl Fn(&T) -> Option<V>,
    ) -> Option<V> {
        fit::fits(table, key, &self.bind, self.flows).ok()?;
        own.and_then(&get).or_else(|| default.and_then(&get))
    }

    fn limits(&self, from: Pair<'_, LimitsFile>, global: usize) -> Limits {
        let per_ip = self.key(from, "limits", "max_connections_per_ip", |l| l.max_connections_per_ip);
        Limits {
            max_connections: self
                .key(from, "limits", "max_connections", |l| l.max_connections)
                .unwrap_or(global),
            max_connections_per_ip: per_ip.unwrap_or(1_000),
            per_ip_spares_loopback: per_ip.is_none(),
            accept_rate: self.key(from, "limits", "accept_rate", |l| l.accept_rate).unwrap_or(0),
            accept_total: self.key(from, "limits", "accept_total", |l| l.accept_total).unwrap_or(0),
            overload: self.key(from, "limits", "overload", |l| l.overload).unwrap_or(Overload::Defer),
        }
    }

    fn timeouts(&self, from: Pair<'_, TimeoutsFile>, base: Timeouts) -> Timeouts {
        let key = |key: &str, get: fn(&TimeoutsFile) -> Option<Timeout>, base: Timeout| {
            self.key(from, "timeouts", key, get).unwrap_or(base)
        };
        Timeouts {
            handshake: key("handshake", |t| t.handshake, base.handshake),
            first_byte: key("first_byte", |t| t.first_byte, base.first_byte),
            request: key("request", |t| t.request, base.request),
            idle: key("idle", |t| t.idle, base.idle),
            stall: key("stall", |t| t.stall, base.stall),
            lifetime: key("lifetime", |t| t.lifetime, base.lifetime),
        }
    }

    fn socket(&self, from: Pair<'_, SocketFile>) -> SocketOptions {
        SocketOptions {
            backlog: self.key(from, "socket", "backlog", |s| s.backlog).unwrap_or(4096),
            nodelay: self.key(from, "socket", "nodelay", |s| s.nodelay).unwrap_or(true),
            keepalive: self
                .key(from, "socket", "keepalive", |s| s.keepalive)
                .unwrap_or(Timeout::after_secs(60)),
            receive_buffer: self.key(from, "socket", "receive_buffer", |s| s.receive_buffer),
            send_buffer: self.key(from, "socket", "send_buffer", |s| s.send_buffer),
            unix_mode: self.key(from, "socket", "unix_mode", |s| s.unix_mode).unwrap_or(UnixMode(0o660)),
        }
    }

    fn datagrams(&self, from: Pair<'_, DatagramsFile>) -> Datagrams {
        let trusted = self.key(from, "datagrams", "trusted", |d| d.trusted.as_ref().map(ip_networks));
        Datagrams {
            rate: self.key(from, "datagrams", "rate", |d| d.rate).unwrap_or(1_000),
            burst: self.key(from, "datagrams", "burst", |d| d.burst).unwrap_or(2_000),
            trusted: trusted.unwrap_or_else(loopback),
            max_size: self.key(from, "datagrams", "max_size", |d| d.max_size).unwrap_or(Size::kib(64)),
        }
    }
}

fn ip_networks(list: &List<Network>) -> Vec<IpNet> {
    list.0.iter().flatten().map(|network| network.0).collect()
}

fn loopback() -> Vec<IpNet> {
    let v4 = IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8);
    vec![v4, IpNet::from(IpAddr::V6(Ipv6Addr::LOCALHOST))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{TestCatalog, origin, valid};

    #[test]
    fn an_empty_text_is_a_gateway_without_listeners() {
        let config = valid("").config;
        assert_eq!(config.state_dir, Path::new("/srv/var"));
        assert_eq!(config.admin.bind, [default_admin()]);
        assert_eq!((config.log.level.as_str(), config.log.format), ("info", LogFormat::Auto));
        assert_eq!((config.runtime.workers, config.limits.max_connections), (0, 10_000));
        assert_eq!((config.shutdown.delay, config.shutdown.grace), (Timeout::OFF, Timeout::after_secs(8)));
        assert!(config.listeners.is_empty() && config.unused_handlers.is_empty());
    }

    #[test]
    fn a_listener_has_the_defaults_of_the_contract() {
        let config = valid(
            "limits.max_connections = 7\nlisteners.a = { bind = \"tcp://[::1]:1\", handler = \"echo\" }",
        );
        let listener = &config.config.listeners[0];
        let limits = Limits {
            max_connections: 7,
            max_connections_per_ip: 1_000,
            per_ip_spares_loopback: true,
            accept_rate: 0,
            accept_total: 0,
            overload: Overload::Defer,
        };
        assert_eq!(listener.limits, limits);
        assert_eq!(listener.timeouts, Timeouts::RAW);
        let socket = SocketOptions {
            backlog: 4096,
            nodelay: true,
            keepalive: Timeout::after_secs(60),
            receive_buffer: None,
            send_buffer: None,
            unix_mode: UnixMode(0o660),
        };
        assert_eq!(listener.socket, socket);
        assert_eq!((listener.datagrams.rate, listener.datagrams.burst), (1_000, 2_000));
        assert_eq!(listener.datagrams.max_size, Size::kib(64));
        assert_eq!(listener.datagrams.trusted, loopback());
    }

    #[test]
    fn a_listener_goes_over_the_defaults_key_by_key() {
        let config = valid(
            r#"
            [defaults]
            allow = ["10.0.0.0/8"]
            deny = ["10.1.0.0/16"]
            limits = { max_connections_per_ip = 5, overload = "reset" }
            timeouts = { idle = "1s", stall = "off" }
            socket = { nodelay = false, unix_mode = "0600" }
            [listeners.a]
            bind = "tcp://127.0.0.1:1"
            handler = "echo"
            allow = []
            limits.max_connections = 9
            timeouts.idle = "2s"
            [listeners.b]
            bind = "udp://127.0.0.1:1"
            handler = "echo"
            "#,
        )
        .config;
        let [a, b] = &config.listeners[..] else { panic!("{config:?}") };
        assert_eq!((a.allow.len(), a.deny.len()), (0, 1));
        assert_eq!((a.limits.max_connections, a.limits.max_connections_per_ip), (9, 5));
        assert_eq!((a.limits.overload, a.limits.per_ip_spares_loopback), (Overload::Reset, false));
        assert_eq!((a.timeouts.idle, a.timeouts.stall), (Timeout::after_secs(2), Timeout::OFF));
        assert_eq!((a.socket.nodelay, a.socket.unix_mode), (false, UnixMode(0o660)));
        // What needs connections is ignored where there are none.
        assert_eq!(b.timeouts, Timeouts::RAW);
        assert_eq!((b.limits.max_connections_per_ip, b.limits.overload), (1_000, Overload::Defer));
        assert_eq!((b.allow.len(), b.socket.nodelay), (1, true));
    }

    #[test]
    fn the_state_folder_is_the_written_one_or_systemds_or_var() {
        let folder = |text: &str, env: Option<&str>| {
            let env = |name: &str| env.filter(|_| name == "STATE_DIRECTORY").map(ToOwned::to_owned);
            crate::config::load_with(text, &origin(), &TestCatalog, &env).unwrap().config.state_dir
        };
        assert_eq!(folder("", None), PathBuf::from("/srv/var"));
        assert_eq!(folder("", Some("/var/lib/a:/var/lib/b")), PathBuf::from("/var/lib/a"));
        assert_eq!(folder("", Some("")), PathBuf::from("/srv/var"));
        assert_eq!(folder("state_dir = \"./x//y\"", Some("/a")), PathBuf::from("/srv/x/y"));
        assert_eq!(folder("state_dir = \"/x\"", None), PathBuf::from("/x"));
    }
}
