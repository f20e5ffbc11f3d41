//! The JSON Schema of a whole file, for editors: draft-07, which every one of them reads.
//!
//! It is made of the schema that the loader itself uses, and differs in this: the options of every
//! handler type stand in it, each behind a condition on `type`; null is gone, since TOML has none;
//! formats are gone, since they are ours alone; and a string with `${` is allowed wherever a value is
//! due.

use schemars::transform::{RemoveRefSiblings, Transform as _};
use serde_json::{Map, Value, json};

use super::catalog::Catalog;
use super::file::File;

/// The schema of a whole file.
pub fn schema(catalog: &dyn Catalog) -> Value {
    let mut root = schemars::schema_for!(File).to_value();
    let mut definitions = Map::new();
    take_definitions(&mut root, "", &mut definitions);
    root["properties"]["handlers"] = handlers(&root["properties"]["handlers"], catalog, &mut definitions);
    root["definitions"] = Value::Object(definitions);
    relax(&mut root);
    let mut schema = match schemars::Schema::try_from(root) {
        Ok(schema) => schema,
        Err(_) => return Value::Bool(true),
    };
    RemoveRefSiblings::default().transform(&mut schema);
    let mut root = Map::new();
    root.insert("$schema".into(), json!("http://json-schema.org/draft-07/schema#"));
    root.insert("title".into(), json!("polygate configuration"));
    if let Value::Object(rules) = schema.to_value() {
        root.extend(rules.into_iter().filter(|(key, _)| key != "$schema" && key != "title"));
    }
    Value::Object(root)
}

/// The schema as the text of `config/polygate.schema.json`.
pub fn schema_text(catalog: &dyn Catalog) -> String {
    format!("{:#}\n", schema(catalog))
}

/// `[handlers]`: every entry has a `type`, and the options of that type.
fn handlers(written: &Value, catalog: &dyn Catalog, definitions: &mut Map<String, Value>) -> Value {
    let mut names = Vec::new();
    let mut conditions = Vec::new();
    for kind in catalog.types() {
        let name = kind.name();
        let mut options = kind.schema();
        take_definitions(&mut options, &format!("{name}."), definitions);
        if let Value::Object(rules) = &mut options {
            rules.remove("$schema");
            rules.insert("title".into(), json!(format!("handler type {name}")));
            let mut properties = Map::new();
            properties.insert("type".into(), json!({ "const": name }));
            if let Some(Value::Object(own)) = rules.get("properties") {
                properties.extend(own.clone());
            }
            rules.insert("properties".into(), Value::Object(properties));
            rules.entry("additionalProperties").or_insert(json!(false));
        }
        definitions.insert(format!("handler.{name}"), options);
        conditions.push(json!({
            "if": { "properties": { "type": { "const": name } }, "required": ["type"] },
            "then": { "$ref": format!("#/definitions/handler.{name}") },
        }));
        names.push(name);
    }
    let mut table = written.clone();
    table["additionalProperties"] = json!({
        "type": "object",
        "required": ["type"],
        "properties": { "type": { "description": "The handler type.", "enum": names } },
        "allOf": conditions,
    });
    table
}

/// Moves the definitions of a schema to the root's, under a prefix, and points its references there.
fn take_definitions(schema: &mut Value, prefix: &str, into: &mut Map<String, Value>) {
    point(schema, prefix);
    let Some(rules) = schema.as_object_mut() else { return };
    for key in ["$defs", "definitions"] {
        if let Some(Value::Object(own)) = rules.remove(key) {
            into.extend(own.into_iter().map(|(name, definition)| (format!("{prefix}{name}"), definition)));
        }
    }
}

fn point(value: &mut Value, prefix: &str) {
    match value {
        Value::Object(entries) => {
            if let Some(Value::String(target)) = entries.get_mut("$ref")
                && let Some(name) = target.rsplit('/').next()
            {
                *target = format!("#/definitions/{prefix}{name}");
            }
            entries.values_mut().for_each(|entry| point(entry, prefix));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| point(item, prefix)),
        _ => {}
    }
}

/// Takes null away and lets `${` in, everywhere below.
fn relax(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(relax),
        Value::Object(rules) => {
            for (key, entry) in rules.iter_mut() {
                // Conditions compare what is written, and names are keys: nothing is replaced there.
                if !matches!(key.as_str(), "if" | "propertyNames" | "enum" | "const" | "default" | "required")
                {
                    relax(entry);
                }
            }
            // Editors would take some of our formats for others of the same name; the patterns say enough.
            if rules.get("format").is_some_and(Value::is_string) {
                rules.remove("format");
            }
            without_null(rules);
            with_replacement(rules);
        }
        _ => {}
    }
}

fn without_null(rules: &mut Map<String, Value>) {
    if rules.get("default").is_some_and(Value::is_null) {
        rules.remove("default");
    }
    if let Some(Value::Array(types)) = rules.get_mut("type") {
        types.retain(|name| name != "null");
        if let [one] = &types[..] {
            rules["type"] = one.clone();
        }
    }
    if let Some(Value::Array(values)) = rules.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    for choice in ["anyOf", "oneOf"] {
        if let Some(Value::Array(branches)) = rules.get_mut(choice) {
            branches.retain(|branch| branch.get("type").and_then(Value::as_str) != Some("null"));
            if let [Value::Object(one)] = &branches[..] {
                let one = one.clone();
                rules.remove(choice);
                for (key, rule) in one {
                    rules.entry(key).or_insert(rule);
                }
            }
        }
    }
}

fn with_replacement(rules: &mut Map<String, Value>) {
    let replacement = json!({ "type": "string", "pattern": "\\$\\{" });
    if let Some(name) = rules.get("type").and_then(Value::as_str)
        && matches!(name, "integer" | "number" | "boolean")
    {
        let types = json!([name, "string"]);
        rules.insert("type".into(), types);
        rules.insert("pattern".into(), json!("^\\$\\{.*\\}$"));
    }
    if rules.contains_key("enum") || is_words(rules.get("oneOf")) {
        let key = if rules.contains_key("enum") { "enum" } else { "oneOf" };
        if let Some(words) = rules.remove(key) {
            let mut branch = Map::new();
            if let Some(kind) = rules.remove("type") {
                branch.insert("type".into(), kind);
            }
            branch.insert(key.into(), words);
            rules.insert("anyOf".into(), json!([branch, replacement]));
        }
    }
}

/// Whether these are the variants of an enum, each a constant with its description.
fn is_words(branches: Option<&Value>) -> bool {
    let branches = branches.and_then(Value::as_array);
    branches
        .is_some_and(|branches| branches.iter().all(|b| b.get("const").is_some() || b.get("anyOf").is_some()))
}
