//! Sockets: bound, accepted, read and written. Nothing here knows listeners or handlers.

pub mod sock_diag;

use std::sync::Arc;

use crate::config::Endpoint;

/// A bound and listening socket of the admin API. Blocking mode is off.
#[derive(Debug, Clone)]
pub struct AdminSocket {
    /// As configured.
    pub endpoint: Endpoint,
    /// As start-up prints it: `http://127.0.0.1:9900` or `unix:///PATH`.
    pub url: String,
    /// The socket; the last clone to be dropped closes it (and removes a Unix node).
    pub socket: Arc<StreamSocket>,
}

/// A listening stream socket that is not registered with any runtime.
#[derive(Debug)]
pub enum StreamSocket {
    /// TCP.
    Tcp(std::net::TcpListener),
    /// Unix.
    Unix(std::os::unix::net::UnixListener),
}
