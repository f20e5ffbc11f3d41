//! Runs the files in `tests/config`: the valid ones load, the invalid ones have exactly the findings
//! that their `# expect: LINE:COL text` lines name.

use std::path::{Path, PathBuf};

use super::testing::load;
use super::{Diagnostic, Severity};

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    files
}

/// The lines `# expect: LINE:COL text` at the start of a file.
fn expected(text: &str) -> Vec<(String, String)> {
    text.lines()
        .map_while(|line| line.strip_prefix('#'))
        .filter_map(|line| line.trim().strip_prefix("expect:"))
        .filter_map(|line| line.trim().split_once(' '))
        .map(|(place, message)| (place.to_owned(), message.trim().to_owned()))
        .collect()
}

/// What differs between the findings and the expectations of a file.
fn differences(text: &str, found: &[Diagnostic]) -> Vec<String> {
    let mut missing = expected(text);
    let mut differences = Vec::new();
    for finding in found {
        let place = format!("{}:{}", finding.line, finding.column);
        let expected = missing.iter().position(|(p, part)| *p == place && finding.message.contains(part));
        match expected {
            Some(index) => drop(missing.remove(index)),
            None => differences.push(format!("unexpected: {place} {}", finding.message)),
        }
    }
    differences.extend(missing.into_iter().map(|(place, part)| format!("missing: {place} {part}")));
    differences
}

#[test]
fn invalid_files_have_their_findings_and_no_others() {
    let files = files("tests/config/invalid");
    assert!(files.len() >= 60, "only {} files", files.len());
    let mut wrong = String::new();
    for path in &files {
        let text = std::fs::read_to_string(path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy();
        if expected(&text).is_empty() {
            wrong.push_str(&format!("{name}: expects nothing\n"));
        }
        let found = match load(&text) {
            Ok(loaded) => loaded.warnings,
            Err(findings) => findings,
        };
        for difference in differences(&text, &found) {
            wrong.push_str(&format!("{name}: {difference}\n"));
        }
        let places: Vec<_> = found.iter().map(|d| (d.line, d.column)).collect();
        assert!(places.is_sorted(), "{name}: {places:?}");
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn valid_files_load_without_a_finding() {
    let files = files("tests/config/valid");
    assert!(files.len() >= 15, "only {} files", files.len());
    for path in &files {
        let text = std::fs::read_to_string(path).unwrap();
        let name = path.display();
        match load(&text) {
            Ok(loaded) => {
                assert_eq!(loaded.warnings, [], "{name}");
                assert!(loaded.warnings.iter().all(|warning| warning.severity == Severity::Warning));
            }
            Err(findings) => panic!("{name}: {findings:#?}"),
        }
    }
}
