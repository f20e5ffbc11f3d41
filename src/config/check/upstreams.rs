//! `[upstreams]`: endpoints that can be dialled, and probes that fit them.

use std::path::Path;

use crate::config::diagnostic::Severity;
use crate::config::endpoint::{Endpoint, HostPort, Transports};
use crate::config::file::{File, HealthFile, UpstreamFile};
use crate::config::report::Report;
use crate::config::text::BadValue;
use crate::config::tree::{Node, Pointer};
use crate::config::upstream::{self, HealthKind, Target, Upstream};

/// The upstreams that handlers can name.
pub(crate) struct Upstreams {
    /// Every name that was written, sound or not.
    pub(crate) names: Vec<String>,
    pub(crate) sound: Vec<Upstream>,
}

impl Upstreams {
    pub(crate) fn read(file: &File, tree: &Node, state_dir: &Path, report: &mut Report<'_>) -> Self {
        let mut all = Upstreams { names: Vec::new(), sound: Vec::new() };
        for (name, written) in file.upstreams.iter().flat_map(|table| &table.0) {
            let at = Pointer::root().child("upstreams").child(name);
            all.names.push(name.clone());
            let to = targets(written, &at, tree, state_dir, report);
            let whole = upstream::merge(name, written, to);
            if let Some(health) = &written.health {
                probe(health, whole.transports(), &at.child("health"), tree, report);
            }
            all.sound.push(whole);
        }
        all
    }

    /// The upstream of that name, if it was written.
    pub(crate) fn find(&self, name: &str) -> Option<&Upstream> {
        self.sound.iter().find(|upstream| upstream.name == name)
    }
}

fn targets(
    file: &UpstreamFile,
    at: &Pointer,
    tree: &Node,
    state_dir: &Path,
    report: &mut Report<'_>,
) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    for (index, written) in file.to.iter().flat_map(|list| &list.0).enumerate() {
        let at = at.child("to").child(index);
        let Some(target) = written.as_ref().and_then(upstream::target) else { continue };
        let checked = dialled(target.endpoint.clone(), state_dir).and_then(|endpoint| {
            if targets.iter().any(|earlier| earlier.endpoint == endpoint) {
                return Err(BadValue::new(format!("{endpoint} stands here twice"))
                    .help("give it a weight instead"));
            }
            let first = targets.first().map(|first| first.endpoint.transport());
            match first.filter(|first| first.is_stream() != endpoint.transport().is_stream()) {
                Some(first) => Err(BadValue::new(format!(
                    "{endpoint} and {first}:// cannot stand in one upstream: one is for connections, the other for datagrams"
                ))),
                None => Ok(endpoint),
            }
        });
        match checked {
            Ok(endpoint) => targets.push(Target { endpoint, ..target }),
            Err(error) => report.at_value(Severity::Error, tree, &at, error),
        }
    }
    targets
}

/// An endpoint that can be dialled, its path absolute.
fn dialled(endpoint: Endpoint, state_dir: &Path) -> Result<Endpoint, BadValue> {
    match endpoint {
        Endpoint::Inherited(..) => {
            Err(BadValue::new(format!("{endpoint} cannot be dialled"))
                .help("an inherited socket is for `bind`"))
        }
        Endpoint::Tcp(HostPort { port: 0, .. }) | Endpoint::Udp(HostPort { port: 0, .. }) => {
            Err(BadValue::new(format!("{endpoint} cannot be dialled: the port is 0")))
        }
        endpoint => endpoint.below(state_dir),
    }
}

/// Whether a probe has what it needs, and nothing that it does not look at.
fn probe(file: &HealthFile, transports: Transports, at: &Pointer, tree: &Node, report: &mut Report<'_>) {
    let Some(kind) = file.kind else { return };
    let mut error =
        |key: &str, error: BadValue| report.at_value(Severity::Error, tree, &at.child(key), error);
    let datagrams = transports.intersects(Transports::DATAGRAMS);
    if datagrams != (kind == HealthKind::Udp) && transports != Transports::NONE {
        let what =
            if datagrams { "datagrams: its probes are `udp`" } else { "connections: `udp` is for datagrams" };
        error("kind", BadValue::new(format!("the upstream is for {what}")));
    }
    let sends = matches!(kind, HealthKind::Udp | HealthKind::SendExpect);
    for (key, is_written, is_used) in [
        ("path", file.path.is_some(), kind == HealthKind::Http),
        ("send", file.send.is_some(), sends),
        ("expect", file.expect.is_some(), sends),
    ] {
        if is_written && !is_used {
            error(key, BadValue::new(format!("`{key}` is not for this kind of probe")));
        }
    }
    if let Some(path) = &file.path
        && (!path.starts_with('/') || path.bytes().any(|byte| byte <= b' ' || byte == 0x7f))
    {
        error("path", BadValue::new("expected a path that begins with `/`, without white space"));
    }
    if kind == HealthKind::SendExpect && file.expect.is_none() {
        error("kind", BadValue::new("a send_expect probe needs `expect`"));
    }
    if kind == HealthKind::Udp && file.send.is_none() {
        error("kind", BadValue::new("a udp probe needs `send`: something that is answered"));
    }
}
