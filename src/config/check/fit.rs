//! Which keys of a listener need which kind of endpoint.
//!
//! One table says it: a written key that does not fit is an error, one from `[defaults]` is ignored,
//! and the rendered configuration leaves out what does not fit.

use crate::config::endpoint::{Endpoint, Transport, UnixAddress};
use crate::config::text::BadValue;

/// The kind of endpoint that a key needs.
#[derive(Clone, Copy)]
enum Needs {
    Tcp,
    Stream,
    Datagram,
    /// A socket with a node in the file system, and none without.
    Node,
}

/// What is not listed fits every listener. `*` is every key of the table.
const KEYS: [(&str, &str, Needs); 10] = [
    ("limits", "max_connections", Needs::Stream),
    ("limits", "max_connections_per_ip", Needs::Stream),
    ("limits", "accept_rate", Needs::Stream),
    ("limits", "overload", Needs::Stream),
    ("timeouts", "*", Needs::Stream),
    ("socket", "backlog", Needs::Stream),
    ("socket", "nodelay", Needs::Tcp),
    ("socket", "keepalive", Needs::Tcp),
    ("socket", "unix_mode", Needs::Node),
    ("datagrams", "*", Needs::Datagram),
];

/// Whether the key has a meaning for a listener with these endpoints; the error says why not.
///
/// `flows` says that the handler keeps something for each sender of datagrams.
pub(crate) fn fits(table: &str, key: &str, bind: &[&Endpoint], flows: bool) -> Result<(), BadValue> {
    if flows && (table, key) == ("timeouts", "idle") {
        return Ok(());
    }
    let Some((.., needs)) = KEYS.iter().find(|(t, k, _)| *t == table && (*k == key || *k == "*")) else {
        return Ok(());
    };
    let stream = |e: &&&Endpoint| e.transport().is_stream();
    let lacking = match needs {
        Needs::Tcp if bind.iter().any(|e| e.transport() == Transport::Tcp) => return Ok(()),
        Needs::Tcp => "it has no TCP endpoint",
        Needs::Stream if bind.iter().any(|e| stream(&e)) => return Ok(()),
        Needs::Stream => "it has no endpoint for connections",
        Needs::Datagram if bind.iter().any(|e| !stream(&e)) => return Ok(()),
        Needs::Datagram => "it has no endpoint for datagrams",
        Needs::Node if bind.iter().any(|e| is_abstract(e)) => "an abstract socket has no mode",
        Needs::Node if bind.iter().any(|e| is_node(e)) => return Ok(()),
        Needs::Node => "it has no Unix socket with a path",
    };
    Err(BadValue::new(format!("`{table}.{key}` does not fit this listener: {lacking}")))
}

fn is_abstract(endpoint: &Endpoint) -> bool {
    matches!(
        endpoint,
        Endpoint::Unix(UnixAddress::Abstract(_)) | Endpoint::Unixgram(UnixAddress::Abstract(_))
    )
}

fn is_node(endpoint: &Endpoint) -> bool {
    matches!(endpoint, Endpoint::Unix(UnixAddress::Path(_)) | Endpoint::Unixgram(UnixAddress::Path(_)))
}
