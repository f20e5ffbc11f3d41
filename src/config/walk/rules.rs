//! What a schema says about types and literals, in words and as lists.

use serde_json::{Map, Value};

use crate::config::formats;
use crate::config::nearest::quoted_list;
use crate::config::text::BadValue;
use crate::config::tree::{Node, Tree};

pub(super) fn is_null(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("null")
}

/// The types that the schema allows, without null: TOML has none.
pub(super) fn types(rules: &Map<String, Value>) -> Vec<&str> {
    match rules.get("type") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).filter(|t| *t != "null").collect(),
        _ if rules.contains_key("properties") => vec!["object"],
        _ => Vec::new(),
    }
}

/// The values that the schema lists, if it does.
pub(super) fn literals(rules: &Map<String, Value>) -> Option<Vec<&Value>> {
    match (rules.get("const"), rules.get("enum")) {
        (Some(value), _) => Some(vec![value]),
        (None, Some(Value::Array(values))) => Some(values.iter().filter(|v| !v.is_null()).collect()),
        _ => None,
    }
}

/// `allOf` of one schema, as a reference with a description beside it is written.
pub(super) fn only_all_of(rules: &Map<String, Value>) -> Option<&Value> {
    match rules.get("allOf") {
        Some(Value::Array(all)) if !rules.contains_key("type") => match &all[..] {
            [one] => Some(one),
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn flat<T>(lists: Vec<Vec<T>>) -> Vec<T> {
    lists.into_iter().flatten().collect()
}

// === whether a node fits ===

pub(super) fn fits(node: &Node, types: &[&str]) -> bool {
    types.iter().any(|name| match (*name, &node.value) {
        ("string", Tree::String { .. })
        | ("integer" | "number", Tree::Integer(_))
        | ("number", Tree::Float(_))
        | ("boolean", Tree::Boolean(_))
        | ("array", Tree::Array(_))
        | ("object", Tree::Table(_)) => true,
        (wanted, Tree::String { whole: true, .. }) => matches!(wanted, "integer" | "number" | "boolean"),
        _ => false,
    })
}

pub(super) fn wrong_type(node: &Node, types: &[&str], rules: &Map<String, Value>) -> BadValue {
    let error = BadValue::new(format!("expected {}, found {}", expected(types), node.value.kind()));
    BadValue { help: formats::example(rules), ..error }
}

pub(super) fn expected(types: &[&str]) -> String {
    let mut words: Vec<&str> = Vec::new();
    for name in types {
        let word = match *name {
            "string" => "a string",
            "integer" => "an integer",
            "number" => "a number",
            "boolean" => "a boolean",
            "array" => "an array",
            "object" => "a table",
            other => other,
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words.join(" or ")
}

pub(super) fn list_or(words: &[&str]) -> String {
    match words {
        [] => "another value".into(),
        [one] => format!("`{one}`"),
        many => format!("one of {}", quoted_list(many.iter().copied())),
    }
}
