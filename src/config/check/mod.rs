//! What a schema cannot say: names that must exist, endpoints that collide, keys that do not fit.
//!
//! Every check looks at what could be decoded and is silent about the rest, so that one finding
//! neither hides another nor drags bogus ones behind it.

mod admin;
pub(super) mod binds;
pub(super) mod fit;
pub(super) mod handlers;
mod tls;
mod upstream_tls;
pub(super) mod upstreams;

use std::path::Path;

use super::catalog::{Catalog, HandlerType};
use super::diagnostic::Severity;
use super::endpoint::{Endpoint, Host};
use super::file::{File, List, ListenerFile, OneOrMany};
use super::merge;
use super::model::{Admin, Listener};
use super::report::Report;
use super::substitute::Sources;
use super::text::BadValue;
use super::tree::{Node, Pointer};
use super::upstream::Upstream;
use binds::{Bound, Owner};
use handlers::{Handlers, Target};
use upstreams::Upstreams;

/// The longest datagram that a socket can receive, and so the longest that makes sense to accept.
const LONGEST_DATAGRAM: u64 = 64 << 10;
/// The largest socket buffer: the kernel counts it doubled in a signed 32-bit integer.
const LARGEST_BUFFER: u64 = (1 << 30) - 1;

/// A decoded text on its way to a configuration.
pub(super) struct Checker<'a, 't> {
    pub(super) tree: &'a Node,
    pub(super) file: &'a File,
    pub(super) catalog: &'a dyn Catalog,
    pub(super) state_dir: &'a Path,
    /// Where files are read.
    pub(super) sources: &'a Sources<'a>,
    pub(super) report: &'a mut Report<'t>,
}

/// What the checks make of the file: complete if they found no error.
pub(super) struct Checked {
    pub(super) admin: Admin,
    pub(super) listeners: Vec<Listener>,
    pub(super) upstreams: Vec<Upstream>,
    pub(super) unused_handlers: Vec<String>,
}

impl Checker<'_, '_> {
    /// Looks at everything.
    pub(super) fn run(&mut self) -> Checked {
        let mut bounds = Vec::new();
        let admin = self.admin(&mut bounds);
        let defaults = Pointer::root().child("defaults");
        self.sizes(&defaults);
        // Once, whoever uses it.
        let usual = self.file.defaults.as_ref().and_then(|file| file.tls.as_ref());
        let usual = self.tls(usual, &defaults.child("tls"));

        let mut upstreams = Upstreams::read(self.file, self.tree, self.state_dir, self.report);
        self.upstreams_tls(&mut upstreams);
        let mut handlers = Handlers::read(self.file, self.tree, self.catalog, self.report);
        let mut found = Vec::new();
        for (name, listener) in self.file.listeners.iter().flat_map(|table| &table.0) {
            let at = Pointer::root().child("listeners").child(name);
            let (endpoints, complete) = self.binds(name, listener, &at, &mut bounds);
            let target = self.handler(listener, &at, &mut handlers, &endpoints, complete);
            let tls = match &listener.tls {
                Some(own) => self.tls(Some(&self.over_defaults(own)), &at.child("tls")),
                None => usual.clone().filter(|_| self.has_tls(listener)),
            };
            self.sizes(&at);
            if complete {
                let kind = target.as_ref().and_then(|target| handlers.kind(target));
                let flows = kind.is_some_and(HandlerType::keeps_flows);
                self.fit(listener, &at, &endpoints, flows);
            }
            found.push((name, listener, endpoints, target, tls));
        }
        binds::duplicates(bounds, self.tree, self.report);
        let in_use = handlers.check(&upstreams, self.tree, self.report);

        let mut listeners = Vec::new();
        for (name, listener, endpoints, target, tls) in found {
            if let Some(target) = target {
                self.amplifiers(&handlers, name, listener, &target);
                self.in_public(&handlers, name, listener, &target);
                let flows = handlers.kind(&target).is_some_and(HandlerType::keeps_flows);
                if let Some((handler, timeouts)) = handlers.effective(&target) {
                    let bind = endpoints.into_iter().map(|(_, endpoint)| endpoint).collect();
                    let mut merged =
                        merge::listener(name, listener, self.file, bind, handler, timeouts, flows);
                    (merged.tls, merged.proxy_protocol) = (tls, self.proxy_protocol(listener));
                    listeners.push(merged);
                }
            }
        }
        // Like a handler that nobody uses, an upstream that nobody uses is checked and then left alone.
        let upstreams = upstreams.sound.into_iter().filter(|one| in_use.contains(&one.name)).collect();
        Checked { admin, listeners, upstreams, unused_handlers: handlers.unused(self.tree, self.report) }
    }

    /// The endpoints of a listener with their places, and whether all that were written are among them.
    fn binds(
        &mut self,
        name: &str,
        listener: &ListenerFile,
        at: &Pointer,
        bounds: &mut Vec<Bound>,
    ) -> (Vec<(Pointer, Endpoint)>, bool) {
        let at = at.child("bind");
        let Some(binds) = &listener.bind else {
            return (Vec::new(), false);
        };
        let mut endpoints = Vec::new();
        let mut complete = true;
        for (index, element) in binds.elements() {
            let at = index.map_or(at.clone(), |index| at.child(index));
            match element.cloned().map(|endpoint| endpoint.below(self.state_dir)) {
                Some(Ok(endpoint)) => {
                    let owner = Owner::Listener(name.into());
                    bounds.push(Bound { owner, endpoint: endpoint.clone(), at: at.clone() });
                    endpoints.push((at, endpoint));
                }
                Some(Err(error)) => {
                    complete = false;
                    self.report.at_value(Severity::Error, self.tree, &at, error);
                }
                None => complete = false,
            }
        }
        (endpoints, complete)
    }

    /// Finds the handler and looks whether it can serve every endpoint.
    fn handler(
        &mut self,
        listener: &ListenerFile,
        at: &Pointer,
        handlers: &mut Handlers<'_>,
        endpoints: &[(Pointer, Endpoint)],
        complete: bool,
    ) -> Option<Target> {
        let at = at.child("handler");
        let Some(name) = &listener.handler else {
            handlers.unknown_use();
            return None;
        };
        let target = match handlers.find(name, &at) {
            Ok(target) => target,
            Err(error) => {
                self.report.at_value(Severity::Error, self.tree, &at, error);
                return None;
            }
        };
        let kind = handlers.kind(&target)?;
        for (at, endpoint) in endpoints {
            if !kind.transports().contains(endpoint.transport()) {
                let served: Vec<&str> = kind.transports().iter().map(|t| t.as_str()).collect();
                let error = BadValue::new(format!(
                    "the handler type `{}` cannot serve {}",
                    kind.name(),
                    endpoint.transport()
                ))
                .help(format!("it serves {}", served.join(", ")));
                self.report.at_value(Severity::Error, self.tree, at, error);
            }
        }
        if complete {
            let transports = endpoints.iter().map(|(_, e)| e.transport());
            handlers.used_on(&target, transports, self.has_tls(listener));
        }
        Some(target)
    }

    /// Keys that need another kind of endpoint, and filters that filter nothing.
    fn fit(&mut self, listener: &ListenerFile, at: &Pointer, endpoints: &[(Pointer, Endpoint)], flows: bool) {
        let bind: Vec<&Endpoint> = endpoints.iter().map(|(_, endpoint)| endpoint).collect();
        self.fit_tables(listener, at, &bind);
        let (node, _) = self.tree.nearest(at);
        for (table, entry) in node.table().into_iter().flatten() {
            for key in entry.table().into_iter().flat_map(|keys| keys.keys()) {
                if let Err(error) = fit::fits(table, key, &bind, flows) {
                    self.report.at_key(Severity::Error, self.tree, &at.path([table, key]), error);
                }
            }
        }
        let unix = |endpoint: &&Endpoint| {
            matches!(endpoint.transport(), super::Transport::Unix | super::Transport::Unixgram)
        };
        if !bind.iter().all(unix) {
            return;
        }
        for (key, list) in [("allow", &listener.allow), ("deny", &listener.deny)] {
            if list.as_ref().is_some_and(|list| !list.0.is_empty()) {
                let warning = BadValue::new(format!("`{key}` has no effect: Unix peers always pass"))
                    .help("restrict a Unix socket with `socket.unix_mode`");
                self.report.at_key(Severity::Warning, self.tree, &at.child(key), warning);
            }
        }
    }

    /// Sizes that the system could not grant.
    fn sizes(&mut self, at: &Pointer) {
        for (table, key, most) in [
            ("datagrams", "max_size", LONGEST_DATAGRAM),
            ("socket", "receive_buffer", LARGEST_BUFFER),
            ("socket", "send_buffer", LARGEST_BUFFER),
        ] {
            let at = at.path([table, key]);
            let (node, exact) = self.tree.nearest(&at);
            let super::tree::Tree::String { text, .. } = &node.value else { continue };
            let Some(size) = text.parse::<super::Size>().ok().filter(|_| exact) else { continue };
            if size.bytes() > most {
                let error = BadValue::new(format!("`{key}` is at most {most} bytes, found {size}"));
                self.report.error(node.span.clone(), &at, error);
            }
        }
    }

    /// Whether `allow`, the listener's or the default one, says who may connect.
    fn names_networks(&self, listener: &ListenerFile) -> bool {
        let filtered = |list: &Option<List<_>>| list.as_ref().map(|list| !list.0.is_empty());
        let defaults = self.file.defaults.as_ref().and_then(|defaults| filtered(&defaults.allow));
        filtered(&listener.allow).or(defaults).unwrap_or(false)
    }

    /// Answers longer than their questions make a public UDP endpoint a weapon against third parties.
    fn amplifiers(&mut self, handlers: &Handlers<'_>, name: &str, listener: &ListenerFile, target: &Target) {
        if self.names_networks(listener) || !handlers.amplifies(target) {
            return;
        }
        let at = Pointer::root().child("listeners").child(name).child("bind");
        for (index, endpoint) in listener.bind.iter().flat_map(OneOrMany::elements) {
            if let Some(Endpoint::Udp(address)) = endpoint
                && !is_loopback(&address.host)
            {
                let at = index.map_or(at.clone(), |index| at.child(index));
                let warning = BadValue::new(
                    "answers can be longer than their questions: with forged senders this endpoint can be used to flood others",
                )
                .help("name the networks that may ask in `allow`, or bind a loopback address");
                self.report.at_value(Severity::Warning, self.tree, &at, warning);
            }
        }
    }

    /// What a handler does not like to be seen by others.
    fn in_public(&mut self, handlers: &Handlers<'_>, name: &str, listener: &ListenerFile, target: &Target) {
        if self.names_networks(listener) {
            return;
        }
        let at = Pointer::root().child("listeners").child(name).child("bind");
        for (index, endpoint) in listener.bind.iter().flat_map(OneOrMany::elements) {
            if let Some(Endpoint::Tcp(address)) = endpoint
                && !is_loopback(&address.host)
            {
                let at = index.map_or(at.clone(), |index| at.child(index));
                for finding in handlers.in_public(target, self.has_tls(listener)) {
                    let what = BadValue { message: finding.message, help: finding.help };
                    self.report.at_value(finding.severity, self.tree, &at, what);
                }
            }
        }
    }
}

/// Whether only this machine reaches the host.
fn is_loopback(host: &Host) -> bool {
    match host {
        Host::Ip(ip) => ip.to_canonical().is_loopback(),
        Host::Name(name) => name.trim_end_matches('.') == "localhost",
    }
}
