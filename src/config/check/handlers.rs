//! `[handlers]`: types, options, and who uses them.

use serde_json::{Map, Value, json};

use super::upstreams::Upstreams;
use crate::config::catalog::{Catalog, Findings, HandlerType};
use crate::config::diagnostic::Severity;
use crate::config::endpoint::{Transport, Transports};
use crate::config::file::File;
use crate::config::model::{HandlerUse, Timeouts};
use crate::config::nearest::{advise, suggest};
use crate::config::report::Report;
use crate::config::text::BadValue;
use crate::config::tree::{Node, Pointer, Tree};
use crate::config::walk::Walker;

/// The handlers that listeners can name.
pub(crate) struct Handlers<'a> {
    catalog: &'a dyn Catalog,
    entries: Vec<Entry<'a>>,
    /// Types named without an entry, by the listeners that do so.
    bare: Vec<Entry<'a>>,
    /// Whether some listener's handler could not be read, so that nothing can be called unused.
    unknown_use: bool,
}

/// A handler to be built: an entry of `[handlers]`, or a type with default options.
struct Entry<'a> {
    name: String,
    at: Pointer,
    kind: Option<&'a dyn HandlerType>,
    /// The options that fit the type's schema.
    options: Value,
    /// Whether they are complete, so that the type can look at them.
    complete: bool,
    /// Whether nothing was found wrong with them.
    sound: bool,
    used: bool,
    /// The transports of each listener that uses it.
    transports: Vec<Transports>,
    /// Whether some listener that uses it has a `tls` table, and whether some has none.
    tables: Vec<bool>,
    /// With every default, once checked.
    effective: Option<Value>,
}

/// The handler that a listener names.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// An entry of `[handlers]`.
    Named(usize),
    /// A type with default options.
    Bare(usize),
}

impl<'a> Handlers<'a> {
    /// Reads the entries and compares their options with the schemas of their types.
    pub(crate) fn read(
        file: &File,
        tree: &Node,
        catalog: &'a dyn Catalog,
        report: &mut Report<'_>,
    ) -> Handlers<'a> {
        let mut entries = Vec::new();
        for (name, _) in file.handlers.iter().flat_map(|table| &table.0) {
            let at = Pointer::root().child("handlers").child(name);
            let (node, _) = tree.nearest(&at);
            let mut entry = Entry::new(name.clone(), at);
            entry.kind = entry_type(name, &entry.at, node, catalog, report);
            if let Some(kind) = entry.kind {
                entry.read_options(kind, node, report);
            }
            entries.push(entry);
        }
        Handlers { catalog, entries, bare: Vec::new(), unknown_use: false }
    }

    /// The handler of that name, which a listener names at `at`.
    pub(crate) fn find(&mut self, name: &str, at: &Pointer) -> Result<Target, BadValue> {
        if let Some(index) = self.entries.iter().position(|entry| entry.name == name) {
            self.entries[index].used = true;
            return Ok(Target::Named(index));
        }
        if let Some(kind) = self.catalog.get(name) {
            let mut entry = Entry::new(name.into(), at.clone());
            entry.kind = Some(kind);
            self.bare.push(entry);
            return Ok(Target::Bare(self.bare.len() - 1));
        }
        let entries: Vec<String> = self.entries.iter().map(|entry| entry.name.clone()).collect();
        let mut valid: Vec<&str> = entries.iter().map(String::as_str).collect();
        valid.extend(self.catalog.types().iter().map(|kind| kind.name()));
        valid.dedup();
        // What was probably meant is not called unused as well.
        if let Some(meant) = suggest(name, valid.iter().copied()) {
            let quoted = |entry: &&mut Entry<'_>| meant.contains(&format!("`{}`", entry.name));
            self.entries.iter_mut().filter(quoted).for_each(|entry| entry.used = true);
        }
        Err(BadValue {
            message: format!("there is no handler `{}`", name.escape_debug()),
            help: advise(name, &valid, "the handlers are"),
        })
    }

    /// Notes that a listener's handler could not be read.
    pub(crate) fn unknown_use(&mut self) {
        self.unknown_use = true;
    }

    /// The handler's type, if it is known.
    pub(crate) fn kind(&self, target: &Target) -> Option<&'a dyn HandlerType> {
        self.entry(target).kind
    }

    /// Notes the transports of a listener that uses the handler, and whether it has a `tls` table.
    pub(crate) fn used_on(
        &mut self,
        target: &Target,
        transports: impl Iterator<Item = Transport>,
        has_table: bool,
    ) {
        let entry = match target {
            Target::Named(index) => &mut self.entries[*index],
            Target::Bare(index) => &mut self.bare[*index],
        };
        // What the type cannot serve is reported at the endpoint.
        let can = entry.kind.map_or(Transports::NONE, HandlerType::transports);
        let set = transports
            .filter(|t| can.contains(*t))
            .fold(Transports::NONE, |all, transport| all | transport.into());
        if set != Transports::NONE && !entry.transports.contains(&set) {
            entry.transports.push(set);
        }
        if !entry.tables.contains(&has_table) {
            entry.tables.push(has_table);
        }
    }

    /// Lets the types look at their options, and fills the defaults in.
    /// Returns the upstreams of handlers that listeners use.
    pub(crate) fn check(
        &mut self,
        upstreams: &Upstreams,
        tree: &Node,
        report: &mut Report<'_>,
    ) -> Vec<String> {
        let (mut named, mut in_use) = (Vec::new(), Vec::new());
        for (entry, bare) in
            self.entries.iter_mut().map(|e| (e, false)).chain(self.bare.iter_mut().map(|e| (e, true)))
        {
            entry.check(tree, report, bare);
            if let Some(name) = entry.upstream(upstreams, tree, report) {
                if entry.used || bare {
                    in_use.push(name.clone());
                }
                named.push(name);
            }
        }
        for name in upstreams.names.iter().filter(|name| !named.contains(name)) {
            let at = Pointer::root().child("upstreams").child(name);
            let warning = BadValue::new(format!("no handler uses the upstream `{name}`"));
            report.at_key(Severity::Warning, tree, &at, warning);
        }
        in_use
    }

    /// What a listener gets: the handler with its options, and the timeouts of its type.
    pub(crate) fn effective(&self, target: &Target) -> Option<(HandlerUse, Timeouts)> {
        let entry = self.entry(target);
        let kind = entry.kind?;
        let options = entry.effective.clone()?;
        let name = entry.name.clone();
        let keeps_flows = kind.keeps_flows();
        Some((HandlerUse { name, kind: kind.name().into(), options, keeps_flows }, kind.default_timeouts()))
    }

    /// What to warn of where other machines can connect.
    pub(crate) fn in_public(&self, target: &Target, has_tls: bool) -> Findings {
        let entry = self.entry(target);
        match (entry.kind, &entry.effective) {
            (Some(kind), Some(options)) => kind.check_in_public(options, has_tls),
            _ => Vec::new(),
        }
    }

    /// Whether an answer can be longer than its question.
    pub(crate) fn amplifies(&self, target: &Target) -> bool {
        let entry = self.entry(target);
        match (entry.kind, &entry.effective) {
            (Some(kind), Some(options)) => kind.amplifies(options),
            _ => false,
        }
    }

    /// The names of the entries that nobody uses, each with a warning.
    pub(crate) fn unused(&self, tree: &Node, report: &mut Report<'_>) -> Vec<String> {
        let unused: Vec<&Entry<'_>> = self.entries.iter().filter(|entry| !entry.used).collect();
        if !self.unknown_use {
            for entry in &unused {
                let warning = BadValue::new(format!("no listener uses the handler `{}`", entry.name));
                report.at_key(Severity::Warning, tree, &entry.at, warning);
            }
        }
        unused.into_iter().map(|entry| entry.name.clone()).collect()
    }

    fn entry(&self, target: &Target) -> &Entry<'a> {
        match target {
            Target::Named(index) => &self.entries[*index],
            Target::Bare(index) => &self.bare[*index],
        }
    }
}

impl Entry<'_> {
    fn new(name: String, at: Pointer) -> Self {
        Entry {
            name,
            at,
            kind: None,
            options: json!({}),
            complete: true,
            sound: true,
            used: false,
            transports: Vec::new(),
            tables: Vec::new(),
            effective: None,
        }
    }

    /// Walks option by option: one in which something is wrong is left out as a whole.
    fn read_options(&mut self, kind: &dyn HandlerType, node: &Node, report: &mut Report<'_>) {
        let schema = kind.schema();
        let mut properties = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        properties.insert("type".into(), json!({ "type": "string" }));
        let mut options = Map::new();
        for (key, option) in node.table().into_iter().flatten().filter(|(key, _)| *key != "type") {
            let at = self.at.child(key);
            let mut walker = Walker::new(&schema, report);
            let value = match (properties.get(key), schema.get("additionalProperties")) {
                (Some(rules), _) => walker.walk(option, rules, &at),
                (None, Some(rules @ Value::Object(_))) => walker.walk(option, rules, &at),
                (None, _) => walker.unknown(key, option, &properties, &at),
            };
            match value {
                Some(value) if !walker.broken => {
                    options.insert(key.clone(), value);
                }
                _ => {
                    self.sound = false;
                    self.complete &= !required.contains(&key.as_str());
                }
            }
        }
        for key in required.into_iter().filter(|key| node.get(key).is_none()) {
            self.complete = false;
            self.sound = false;
            let error = BadValue::new(format!("the key `{key}` is missing"))
                .help(format!("a handler of the type `{}` needs it", kind.name()));
            report.error(node.key(), &self.at, error);
        }
        self.options = Value::Object(options);
    }

    fn check(&mut self, tree: &Node, report: &mut Report<'_>, bare: bool) {
        let Some(kind) = self.kind.filter(|_| self.complete) else {
            return;
        };
        if self.sound {
            match kind.effective(&self.options) {
                Ok(options) => self.effective = Some(options),
                Err(error) => {
                    let what = BadValue::new(match bare {
                        true => {
                            format!("the handler type `{}` cannot go without options: {error}", self.name)
                        }
                        false => format!("the options of the handler `{}` do not fit: {error}", self.name),
                    });
                    let what = if bare { what.help("give it an entry in [handlers]") } else { what };
                    report.at_value(Severity::Error, tree, &self.at, what);
                    return;
                }
            }
        }
        let own = vec![kind.transports()];
        let sets = if self.transports.is_empty() { &own } else { &self.transports };
        let of_transports = sets.iter().flat_map(|set| kind.check(&self.options, *set));
        let of_tables = self.tables.iter().flat_map(|has| kind.check_tls(&self.options, *has));
        for finding in of_transports.chain(of_tables) {
            let at = if bare { self.at.clone() } else { self.at.path(&finding.path) };
            let what = BadValue { message: finding.message, help: finding.help };
            report.at_value(finding.severity, tree, &at, what);
        }
    }
}

impl Entry<'_> {
    /// The upstream that the options name: it must exist, and carry what comes. Returns its name.
    fn upstream(&self, upstreams: &Upstreams, tree: &Node, report: &mut Report<'_>) -> Option<String> {
        let (key, name) = self.kind?.upstream(self.effective.as_ref()?)?;
        let at = self.at.child(key);
        let Some(found) = upstreams.find(&name) else {
            let valid: Vec<&str> = upstreams.names.iter().map(String::as_str).collect();
            let error = BadValue {
                message: format!("there is no upstream `{}`", name.escape_debug()),
                help: advise(&name, &valid, "the upstreams are"),
            };
            report.at_value(Severity::Error, tree, &at, error);
            return Some(name);
        };
        let carried = found.transports();
        for (set, what) in [(Transports::STREAMS, "connections"), (Transports::DATAGRAMS, "datagrams")] {
            let comes = self.transports.iter().any(|transports| transports.intersects(set));
            if comes && carried != Transports::NONE && !carried.intersects(set) {
                let error = BadValue::new(format!("the upstream `{name}` does not carry {what}"))
                    .help("a listener with endpoints for both needs two handlers, so two listeners");
                report.at_value(Severity::Error, tree, &at, error);
            }
        }
        Some(name)
    }
}

/// The type that the entry names, if it exists and may have that name.
fn entry_type<'a>(
    name: &str,
    at: &Pointer,
    node: &Node,
    catalog: &'a dyn Catalog,
    report: &mut Report<'_>,
) -> Option<&'a dyn HandlerType> {
    let at = at.child("type");
    let written = node.get("type")?;
    let text = match &written.value {
        Tree::String { text, .. } => text,
        Tree::Broken => return None,
        other => {
            let error = BadValue::new(format!("expected a string, found {}", other.kind()));
            report.error(written.span.clone(), &at, error);
            return None;
        }
    };
    let Some(kind) = catalog.get(text) else {
        let types: Vec<&str> = catalog.types().iter().map(|kind| kind.name()).collect();
        let error = BadValue {
            message: format!("there is no handler type `{}`", text.escape_debug()),
            help: advise(text, &types, "the types are"),
        };
        report.error(written.span.clone(), &at, error);
        return None;
    };
    if catalog.get(name).is_some() && kind.name() != name {
        let error = BadValue::new(format!(
            "the handler `{name}` has the name of a type, so its type must be `{name}`"
        ))
        .help("give the handler another name");
        report.error(written.span.clone(), &at, error);
    }
    Some(kind)
}
