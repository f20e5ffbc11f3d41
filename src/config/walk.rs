//! Compares a tree with a JSON Schema and collects every finding, each at its place.
//!
//! Serde stops at its first error and knows no places, so this goes before it. What comes out is the
//! part of the tree that fits: a broken entry of a table is left out, a broken element of an array is
//! null, so that whatever else was written can still be decoded and checked.

use serde_json::{Map, Value};

use super::formats;
use super::nearest::{advise, suggest};
use super::report::Report;
use super::text::BadValue;
use super::tree::{Node, Pointer, Tree};
use rules::{expected, fits, flat, is_null, list_or, literals, only_all_of, types, wrong_type};

mod rules;

/// Compares nodes with the schemas of one root, to which `$ref` refers.
pub(super) struct Walker<'a, 't> {
    pub(super) root: &'a Value,
    pub(super) report: &'a mut Report<'t>,
    /// Whether something was broken so far.
    pub(super) broken: bool,
}

impl<'a, 't> Walker<'a, 't> {
    pub(super) fn new(root: &'a Value, report: &'a mut Report<'t>) -> Self {
        Walker { root, report, broken: false }
    }

    /// The node as JSON, as far as it fits the schema.
    pub(super) fn walk(&mut self, node: &Node, schema: &Value, at: &Pointer) -> Option<Value> {
        if matches!(node.value, Tree::Broken) {
            self.broken = true;
            return None;
        }
        let schema = self.resolve(schema);
        let Some(rules) = schema.as_object() else {
            return Some(plain(node));
        };
        if let Some(inner) = only_all_of(rules) {
            return self.walk(node, inner, at);
        }
        for choice in ["anyOf", "oneOf"] {
            if let Some(Value::Array(branches)) = rules.get(choice) {
                return self.choose(node, branches, at);
            }
        }
        if let Some(valid) = literals(rules) {
            return self.literal(node, &valid, at);
        }
        let types = types(rules);
        if types.is_empty() {
            return Some(plain(node));
        }
        let replaced = self.reread(node, &types, at)?;
        let node = replaced.as_ref().unwrap_or(node);
        if !fits(node, &types) {
            return self.fail(node, at, wrong_type(node, &types, rules));
        }
        match &node.value {
            Tree::Table(_) => self.table(node, rules, at),
            Tree::Array(items) => self.array(node, items, rules, at),
            Tree::String { text, .. } => match formats::check(rules, text) {
                Ok(()) => Some(Value::String(text.clone())),
                Err(error) => self.fail(node, at, error),
            },
            Tree::Integer(_) | Tree::Float(_) => match formats::range(rules, &node.value) {
                Ok(()) => Some(plain(node)),
                Err(error) => self.fail(node, at, error),
            },
            _ => Some(plain(node)),
        }
    }

    fn fail(&mut self, node: &Node, at: &Pointer, what: BadValue) -> Option<Value> {
        self.broken = true;
        self.report.error(node.span.clone(), at, what);
        None
    }

    /// Follows `$ref` within the root.
    fn resolve<'s>(&self, schema: &'s Value) -> &'s Value
    where
        'a: 's,
    {
        let mut schema = schema;
        // A chain of references is short; the bound only keeps a cycle from hanging.
        for _ in 0..16 {
            let target = schema.get("$ref").and_then(Value::as_str);
            match target.and_then(|r| self.root.pointer(r.trim_start_matches('#'))) {
                Some(next) => schema = next,
                None => break,
            }
        }
        schema
    }

    /// A string that was one whole `${…}`, read as TOML where no string is due.
    fn reread(&mut self, node: &Node, types: &[&str], at: &Pointer) -> Option<Option<Node>> {
        let Tree::String { text, whole: true } = &node.value else {
            return Some(None);
        };
        if types.contains(&"string") {
            return Some(None);
        }
        let value = toml::de::DeValue::parse(text.trim())
            .map(|value| Node::alone(value.get_ref(), node.span.clone()))
            .ok()
            .filter(|value| !matches!(value, Tree::Broken));
        match value {
            Some(value) => {
                let key_span = node.key_span.clone();
                Some(Some(Node { span: node.span.clone(), key_span, value }))
            }
            None => {
                let found = format!("expected {}, found `{}`", expected(types), text.escape_debug());
                self.fail(node, at, BadValue::new(found));
                None
            }
        }
    }

    /// Goes into the one branch that the node's type leads to, or accepts what any branch accepts.
    fn choose(&mut self, node: &Node, branches: &[Value], at: &Pointer) -> Option<Value> {
        let branches: Vec<&Value> =
            branches.iter().map(|branch| self.resolve(branch)).filter(|b| !is_null(b)).collect();
        let constants: Option<Vec<&Value>> =
            branches.iter().map(|b| b.as_object().and_then(literals)).collect::<Option<Vec<_>>>().map(flat);
        if let Some(valid) = constants {
            return self.literal(node, &valid, at);
        }
        if let [only] = branches[..] {
            return self.walk(node, only, at);
        }
        let mut fitting = branches.iter().filter(|branch| {
            let types = branch.as_object().map(types).unwrap_or_default();
            types.is_empty() || fits(node, &types)
        });
        match (fitting.next(), fitting.next()) {
            (Some(branch), None) => self.walk(node, branch, at),
            (Some(first), Some(_)) => {
                for branch in &branches {
                    let mut silent = Report::new("", None);
                    let mut trial = Walker::new(self.root, &mut silent);
                    if let Some(value) = trial.walk(node, branch, at)
                        && !trial.broken
                    {
                        return Some(value);
                    }
                }
                self.walk(node, first, at)
            }
            (None, _) => {
                let all: Vec<&str> = branches.iter().filter_map(|b| b.as_object()).flat_map(types).collect();
                let hint = branches.iter().filter_map(|b| b.as_object()).find_map(formats::example);
                let mut error =
                    BadValue::new(format!("expected {}, found {}", expected(&all), node.value.kind()));
                error.help = hint;
                self.fail(node, at, error)
            }
        }
    }

    fn literal(&mut self, node: &Node, valid: &[&Value], at: &Pointer) -> Option<Value> {
        let value = plain(node);
        if valid.contains(&&value) {
            return Some(value);
        }
        let words: Vec<&str> = valid.iter().filter_map(|v| v.as_str()).collect();
        let error = match &node.value {
            Tree::String { text, .. } => {
                let error =
                    BadValue::new(format!("expected {}, found `{}`", list_or(&words), text.escape_debug()));
                BadValue { help: suggest(text, words.iter().copied()), ..error }
            }
            other => BadValue::new(format!("expected {}, found {}", list_or(&words), other.kind())),
        };
        self.fail(node, at, error)
    }

    fn array(
        &mut self,
        node: &Node,
        items: &[Node],
        rules: &Map<String, Value>,
        at: &Pointer,
    ) -> Option<Value> {
        if let Err(error) = formats::length(rules, items.len()) {
            return self.fail(node, at, error);
        }
        let Some(schema) = rules.get("items") else {
            return Some(plain(node));
        };
        let walked = items
            .iter()
            .enumerate()
            .map(|(index, item)| self.walk(item, schema, &at.child(index)).unwrap_or(Value::Null));
        Some(Value::Array(walked.collect()))
    }

    fn table(&mut self, node: &Node, rules: &Map<String, Value>, at: &Pointer) -> Option<Value> {
        let entries = node.table()?;
        let none = Map::new();
        let properties = rules.get("properties").and_then(Value::as_object).unwrap_or(&none);
        let mut out = Map::new();
        for (key, entry) in entries {
            let at = at.child(key);
            let schema = match (properties.get(key), rules.get("additionalProperties")) {
                (Some(schema), _) => schema,
                (None, Some(Value::Bool(false))) => {
                    self.unknown(key, entry, properties, &at);
                    continue;
                }
                (None, Some(schema)) => schema,
                (None, None) => &Value::Bool(true),
            };
            if let Some(names) = rules.get("propertyNames").and_then(Value::as_object)
                && let Err(error) = formats::check(names, key)
            {
                self.broken = true;
                self.report.error(entry.key(), &at, error);
            }
            if let Some(value) = self.walk(entry, schema, &at) {
                out.insert(key.clone(), value);
            }
        }
        let required = rules.get("required").and_then(Value::as_array).into_iter().flatten();
        for key in required.filter_map(Value::as_str).filter(|key| !entries.contains_key(*key)) {
            self.broken = true;
            let error = BadValue::new(format!("the key `{key}` is missing"));
            self.report.error(node.key(), at, error);
        }
        Some(Value::Object(out))
    }

    /// Reports a key that the schema does not know.
    pub(super) fn unknown(
        &mut self,
        key: &str,
        entry: &Node,
        properties: &Map<String, Value>,
        at: &Pointer,
    ) -> Option<Value> {
        self.broken = true;
        let valid: Vec<&str> = properties.keys().map(String::as_str).collect();
        let error = BadValue {
            message: format!("unknown key `{}`", key.escape_debug()),
            help: advise(key, &valid, "the keys here are"),
        };
        self.report.error(entry.key(), at, error);
        None
    }
}

/// The node as JSON without looking at it further.
pub(super) fn plain(node: &Node) -> Value {
    match &node.value {
        Tree::String { text, .. } => Value::String(text.clone()),
        Tree::Integer(integer) => integer.map_or(Value::Null, Value::from),
        Tree::Float(float) => Value::from(*float),
        Tree::Boolean(boolean) => Value::Bool(*boolean),
        Tree::Datetime | Tree::Broken => Value::Null,
        Tree::Array(items) => Value::Array(items.iter().map(plain).collect()),
        Tree::Table(entries) => {
            Value::Object(entries.iter().map(|(key, entry)| (key.clone(), plain(entry))).collect())
        }
    }
}
