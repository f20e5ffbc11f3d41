//! No endpoint twice, and no wildcard over another bind's address.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::config::diagnostic::Severity;
use crate::config::endpoint::{Endpoint, Host, HostPort};
use crate::config::report::Report;
use crate::config::text::BadValue;
use crate::config::tree::{Node, Pointer};

/// Who binds an endpoint.
#[derive(Clone)]
pub(crate) enum Owner {
    /// A listener.
    Listener(String),
    /// The admin API; by default if nothing was written.
    Admin { written: bool },
    /// `admin.metrics_bind`.
    Metrics,
}

/// An endpoint with its place.
pub(crate) struct Bound {
    pub(crate) owner: Owner,
    pub(crate) endpoint: Endpoint,
    pub(crate) at: Pointer,
}

/// Reports every bind that collides with an earlier one.
pub(crate) fn duplicates(mut bounds: Vec<Bound>, tree: &Node, report: &mut Report<'_>) {
    // A default has no place of its own: it comes first, so that the finding stands at what was written.
    let place = |bound: &Bound| match bound.owner {
        Owner::Admin { written: false } => None,
        _ => Some(tree.nearest(&bound.at).0.span.start),
    };
    bounds.sort_by_key(place);
    // Only binds of one port or path can collide, so that ten thousand of them are compared in no time.
    let mut groups: HashMap<String, Vec<&Bound>> = HashMap::new();
    for later in &bounds {
        let group = groups.entry(group(&later.endpoint)).or_default();
        let found = group.iter().find_map(|earlier| Some((*earlier, collide(earlier, later)?)));
        group.push(later);
        let Some((earlier, same)) = found else {
            continue;
        };
        let line = place(earlier).map(|start| report.line(start));
        let who = match (&earlier.owner, line) {
            (Owner::Listener(name), Some(line)) => format!("listener `{name}` on line {line}"),
            (Owner::Admin { written: true }, Some(line)) => format!("`admin.bind` on line {line}"),
            (Owner::Metrics, Some(line)) => format!("`admin.metrics_bind` on line {line}"),
            _ => "`admin.bind` by default".into(),
        };
        let error = match same {
            Collision::Same => BadValue::new(format!("{} is bound twice: first by {who}", later.endpoint)),
            Collision::Path => BadValue::new(format!(
                "{} has the path of {}, bound by {who}",
                later.endpoint, earlier.endpoint
            )),
            Collision::Wildcard => {
                BadValue::new(format!("{} overlaps {}, bound by {who}", later.endpoint, earlier.endpoint))
                    .help("a wildcard address takes the port on every address of its family")
            }
        };
        report.at_value(Severity::Error, tree, &later.at, error);
    }
}

/// What binds that can collide have in common.
fn group(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Tcp(at) => format!("tcp {}", at.port),
        Endpoint::Udp(at) => format!("udp {}", at.port),
        Endpoint::Unix(at) | Endpoint::Unixgram(at) => format!("unix {at}"),
        Endpoint::Inherited(..) => endpoint.to_string(),
    }
}

enum Collision {
    Same,
    Path,
    Wildcard,
}

fn collide(a: &Bound, b: &Bound) -> Option<Collision> {
    match (&a.endpoint, &b.endpoint) {
        (Endpoint::Tcp(x), Endpoint::Tcp(y)) | (Endpoint::Udp(x), Endpoint::Udp(y)) => {
            if x.port == 0 || x.port != y.port {
                None
            } else if x == y {
                Some(Collision::Same)
            } else if covers(x, y) || covers(y, x) {
                Some(Collision::Wildcard)
            } else {
                None
            }
        }
        (Endpoint::Unix(x), Endpoint::Unixgram(y)) | (Endpoint::Unixgram(x), Endpoint::Unix(y)) => {
            let path = matches!(x, crate::config::UnixAddress::Path(_));
            (path && x == y).then_some(Collision::Path)
        }
        (x, y) => (x == y).then_some(Collision::Same),
    }
}

/// Whether the first is a wildcard literal of the second's family.
fn covers(wildcard: &HostPort, other: &HostPort) -> bool {
    match (&wildcard.host, &other.host) {
        (Host::Ip(IpAddr::V4(wildcard)), Host::Ip(IpAddr::V4(_))) => wildcard.is_unspecified(),
        (Host::Ip(IpAddr::V6(wildcard)), Host::Ip(IpAddr::V6(_))) => wildcard.is_unspecified(),
        _ => false,
    }
}
