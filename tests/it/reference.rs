//! Checks the files in `config`: they load without a finding, and the reference has every key.

use std::collections::BTreeSet;
use std::path::PathBuf;

use polygate::config::{Catalog as _, Origin, load_with, schema};
use polygate::handlers::builtin;
use serde_json::Value;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

#[track_caller]
fn loads(name: &str, text: &str) {
    let origin = Origin {
        file: Some(path(name)),
        folder: path(name).parent().unwrap().to_owned(),
        working_directory: PathBuf::from("/srv"),
    };
    match load_with(text, &origin, &builtin(), &|_| None) {
        Ok(loaded) => assert_eq!(loaded.warnings, [], "{name}"),
        Err(findings) => panic!("{name}: {findings:#?}"),
    }
}

#[test]
fn every_shipped_file_loads_and_names_its_schema() {
    let examples = std::fs::read_dir(path("examples")).unwrap().map(|entry| entry.unwrap().path());
    let examples: Vec<String> = examples
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| format!("examples/{}", path.file_name().unwrap().to_string_lossy()))
        .collect();
    assert!(examples.len() >= 2, "{examples:?}");
    for name in examples.iter().map(String::as_str).chain(["polygate.toml", "reference.toml"]) {
        let text = read(name);
        loads(name, &text);
        let to_schema = if name.contains('/') { "#:schema ../poly" } else { "#:schema ./poly" };
        assert!(text.starts_with(&format!("{to_schema}gate.schema.json\n")), "{name}");
    }
}

/// Keys that name files which would be read, and so stay commented.
const READ: [&str; 3] = ["token_file", "file", "tls"];

/// The reference with its commented keys in force.
fn full_reference() -> String {
    let is_key = |line: &str| {
        let word = line.strip_prefix("# ").and_then(|rest| rest.split_once(" = "));
        word.is_some_and(|(key, _)| {
            !READ.contains(&key) && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        })
    };
    let line = |line: &str| if is_key(line) { line[2..].to_owned() } else { line.to_owned() };
    read("reference.toml").lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The tables whose keys are names.
const NAMED: [&str; 3] = ["listeners.", "upstreams.", "admin.tokens."];

/// The paths of all keys below, with `*` for the names of listeners.
fn keys(value: &Value, path: &str, out: &mut BTreeSet<String>) {
    for (key, entry) in value.as_object().into_iter().flatten() {
        let key = if NAMED.contains(&path) { "*" } else { key };
        out.insert(format!("{path}{key}"));
        keys(entry, &format!("{path}{key}."), out);
    }
}

/// The paths of all keys that the schema knows.
fn properties(root: &Value, schema: &Value, path: &str, out: &mut BTreeSet<String>) {
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|r| root.pointer(&r[1..]));
    let branches = ["anyOf", "allOf"].into_iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
    for branch in target.into_iter().chain(branches) {
        properties(root, branch, path, out);
    }
    for (key, entry) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        out.insert(format!("{path}{key}"));
        properties(root, entry, &format!("{path}{key}."), out);
    }
    if NAMED.contains(&path)
        && let Some(entry) = schema.get("additionalProperties")
    {
        out.insert(format!("{path}*"));
        properties(root, entry, &format!("{path}*."), out);
    }
}

#[test]
fn the_reference_has_every_key_and_no_other() {
    let text = full_reference();
    loads("reference.toml", &text);
    let file: Value = toml::from_str(&text).unwrap();
    let (mut written, mut known) = (BTreeSet::new(), BTreeSet::new());
    keys(&file, "", &mut written);
    let root = schema(&builtin());
    properties(&root, &root, "", &mut known);
    assert!(known.contains("listeners.*.timeouts.idle") && known.len() > 50, "{known:#?}");
    // The defaults are those of the listeners, explained once.
    known.retain(|key| !key.starts_with("defaults."));
    written.retain(|key| !key.starts_with("handlers."));
    written.extend(["admin.token_file", "admin.tokens.*.file"].map(str::to_owned));
    for table in ["admin.tls", "listeners.*.tls"] {
        let keys = ["", ".cert", ".key", ".client_ca", ".min_version"];
        written.extend(keys.map(|key| format!("{table}{key}")));
    }
    let keys = ["", ".server_name", ".ca", ".cert", ".key", ".insecure"];
    written.extend(keys.map(|key| format!("upstreams.*.tls{key}")));
    assert_eq!(written, known);

    for kind in builtin().types() {
        let entries = file["handlers"].as_object().unwrap().values();
        let entry = entries.into_iter().find(|entry| entry["type"] == kind.name());
        let entry = entry.unwrap_or_else(|| panic!("no handler of the type {}", kind.name()));
        for (key, _) in kind.schema()["properties"].as_object().into_iter().flatten() {
            assert!(entry.get(key).is_some(), "the option {key} of {}", kind.name());
        }
    }
}
