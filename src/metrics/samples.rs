//! A made-up listener for the tests of the views.

use std::time::SystemTime;

use crate::config::{
    Datagrams, Endpoint, HandlerUse, Host, HostPort, Limits, Listener, Size, SocketOptions, Timeout,
    Timeouts, Transport, UnixMode, Validity,
};
use crate::supervisor::{EndpointView, ListenerView, State};

/// A running listener on TCP (inode 11) and UDP (inode 12).
pub(crate) fn listener(name: &str) -> ListenerView {
    let at = || HostPort { host: Host::Ip([127, 0, 0, 1].into()), port: 7007 };
    let endpoint = |transport, inode| EndpointView {
        bind: format!("{transport}://127.0.0.1:7007"),
        address: format!("{transport}://127.0.0.1:7007"),
        transport,
        inode,
    };
    ListenerView {
        config: Listener {
            name: name.into(),
            bind: vec![Endpoint::Tcp(at()), Endpoint::Udp(at())],
            handler: HandlerUse {
                name: "greeter".into(),
                kind: "echo".into(),
                options: serde_json::json!({}),
                keeps_flows: false,
            },
            allow: Vec::new(),
            deny: Vec::new(),
            limits: Limits {
                max_connections: 100,
                max_connections_per_ip: 10,
                per_ip_spares_loopback: true,
                accept_rate: 0,
                accept_total: 0,
                overload: crate::config::Overload::Defer,
            },
            timeouts: Timeouts::RAW,
            socket: SocketOptions {
                backlog: 4096,
                nodelay: true,
                keepalive: Timeout::OFF,
                receive_buffer: None,
                send_buffer: None,
                unix_mode: UnixMode(0o660),
            },
            datagrams: Datagrams { rate: 1000, burst: 2000, trusted: Vec::new(), max_size: Size::kib(64) },
            tls: None,
            proxy_protocol: None,
        },
        state: State::Running,
        endpoints: vec![endpoint(Transport::Tcp, 11), endpoint(Transport::Udp, 12)],
        generation: 1,
        certificate: Some(Validity { from: SystemTime::UNIX_EPOCH, until: SystemTime::UNIX_EPOCH }),
    }
}
