//! What must hold for the sources themselves: imports go down only, files say what they are for and stay small.

use std::fs;
use std::path::{Path, PathBuf};

/// The floors of ARCHITECTURE.md. A module may use what is on its own floor and below.
const FLOORS: &[(&str, u8)] = &[
    ("config", 0),
    ("stats", 0),
    ("version", 0),
    ("accounts", 1),
    ("console", 1),
    ("net", 1),
    ("process", 1),
    ("storage", 1),
    ("upstream", 1),
    ("handler", 2),
    ("handlers", 3),
    ("listener", 4),
    ("supervisor", 5),
    ("admin", 6),
    ("metrics", 6),
    ("cli", 7),
    ("gateway", 7),
    ("lib", 7),
    ("main", 7),
];

/// The most lines of a file, unit tests included.
const LONGEST: usize = 400;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder, with its path from there.
fn files(folder: &str) -> Vec<(PathBuf, String)> {
    let top = root().join(folder);
    let mut found = Vec::new();
    let mut folders = vec![top.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(&top).unwrap().to_path_buf(), text));
            }
        }
    }
    found.sort();
    found
}

fn floor(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

/// The module right below the crate that a file belongs to.
fn module(file: &Path) -> String {
    let first = file.components().next().unwrap().as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_string()
}

/// The modules that a text names by `crate::`.
fn used(text: &str) -> Vec<String> {
    let code: String =
        text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let mut used = Vec::new();
    for (at, name) in code.match_indices("crate::") {
        let rest = &code[at + name.len()..];
        match rest.strip_prefix('{') {
            None => used.push(word(rest)),
            Some(group) => {
                let mut depth = 0;
                let mut starts = true;
                for (index, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => starts = true,
                        c if starts && !c.is_whitespace() => {
                            used.push(word(&group[index..]));
                            starts = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    used
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// What is wrong with the imports of a file.
fn upward(file: &Path, text: &str) -> Vec<String> {
    let own = module(file);
    let Some(own_floor) = floor(&own) else { return vec![format!("{own} has no floor")] };
    let check = |name: String| match floor(&name) {
        None => Some(format!("{}: crate::{name} has no floor", file.display())),
        Some(floor) if floor > own_floor => {
            Some(format!("{}: {own} (floor {own_floor}) uses {name} (floor {floor})", file.display()))
        }
        Some(_) => None,
    };
    used(text).into_iter().filter_map(check).collect()
}

#[test]
fn imports_go_down_only() {
    let files = files("src");
    assert!(files.len() > 50, "only {} files", files.len());
    let wrong: Vec<String> = files.iter().flat_map(|(file, text)| upward(file, text)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let seen = files.iter().flat_map(|(_, text)| used(text)).count();
    assert!(seen > 100, "only {seen} imports seen");
    // A floor for a module that is gone would hide its next use.
    for (name, _) in FLOORS {
        assert!(files.iter().any(|(file, _)| module(file) == *name), "there is no module {name}");
    }
}

#[test]
fn an_import_that_goes_up_is_found() {
    for (file, text, wrong) in [
        ("config/load.rs", "use crate::stats::Stats;", 0),
        ("config/load.rs", "use crate::net::Conn;", 1),
        ("net/conn.rs", "fn f(_: &crate::handler::Built) {}", 1),
        ("handler.rs", "use crate::{config::Config, listener::{self, Door}, net};", 1),
        ("handler.rs", "use crate::{\n    supervisor::Supervisor,\n    admin::{a, b},\n};", 2),
        ("listener/mod.rs", "// as crate::admin does\nuse crate::handlers;", 0),
        ("gateway.rs", "use crate::{admin, handlers};", 0),
        ("gateway.rs", "use crate::attic::Chest;", 1),
        ("attic.rs", "", 1),
    ] {
        assert_eq!(upward(Path::new(file), text).len(), wrong, "{file}: {text}");
    }
}

#[test]
fn every_file_says_what_it_is_for_and_stays_small() {
    let mut wrong = Vec::new();
    for folder in ["src", "tests/it", "examples"] {
        let files = files(folder);
        assert!(!files.is_empty(), "nothing in {folder}");
        for (file, text) in files {
            wrong.extend(complaints(&text).map(|what| format!("{folder}/{}: {what}", file.display())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn complaints(text: &str) -> impl Iterator<Item = String> {
    let lines = text.lines().count();
    let marks = ["TO", "FIX"].map(|half| format!("{half}{}", if half == "TO" { "DO" } else { "ME" }));
    [
        (!text.starts_with("//! ")).then(|| "does not open with what it is for".to_string()),
        (lines > LONGEST).then(|| format!("{lines} lines, more than {LONGEST}")),
        marks.iter().any(|mark| text.contains(mark)).then(|| "something is left to do".to_string()),
    ]
    .into_iter()
    .flatten()
}

#[test]
fn an_untidy_file_is_found() {
    assert_eq!(complaints("//! Good.\n").count(), 0);
    assert_eq!(complaints("use std::io;\n").count(), 1);
    assert_eq!(complaints(&"//! Long.\n".repeat(LONGEST + 1)).count(), 1);
    assert_eq!(complaints(&format!("//! Undone.\n// {}DO\n", "TO")).count(), 1);
}
