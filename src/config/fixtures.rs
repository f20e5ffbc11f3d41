//! Runs the files in `tests/config`: the valid ones load, the invalid ones have exactly the findings
//! that their `# expect: LINE:COL text` lines name.

use std::path::{Path, PathBuf};

use super::Diagnostic;
use super::testing::load;

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
fn valid_files_load_without_a_finding_and_again_when_rendered() {
    let files = files("tests/config/valid");
    assert!(files.len() >= 15, "only {} files", files.len());
    for path in &files {
        let text = std::fs::read_to_string(path).unwrap();
        let name = path.display();
        let loaded = load(&text).unwrap_or_else(|findings| panic!("{name}: {findings:#?}"));
        assert_eq!(loaded.warnings, [], "{name}");
        let rendered = loaded.config.to_toml();
        let again = load(&rendered).unwrap_or_else(|findings| panic!("{name}: {findings:#?}\n{rendered}"));
        assert_eq!(again.config, loaded.config, "{name}\n{rendered}");
    }
}

/// Nothing that is typed may make the loader panic, and what it refuses it explains.
#[test]
fn damaged_files_are_refused_with_findings() {
    let mut refused = 0;
    let mut try_out = |text: &str| {
        if let Err(findings) = load(text) {
            assert!(!findings.is_empty(), "{text}");
            refused += 1;
        }
    };
    for path in files("tests/config/valid") {
        let text = std::fs::read_to_string(&path).unwrap();
        for (cut, _) in text.char_indices().step_by(11) {
            try_out(&text[..cut]);
        }
        for (number, line) in text.lines().enumerate() {
            let Some((key, _)) = line.split_once(" = ") else { continue };
            for value in ["1", "-1.5", "true", "\"\"", "\"${\"", "[]", "[[1]]", "{}", "{ a = 1 }", "07:32:00"]
            {
                let damaged = format!("{key} = {value}");
                let change = |(n, line)| if n == number { damaged.as_str() } else { line };
                let lines: Vec<&str> = text.lines().enumerate().map(change).collect();
                try_out(&lines.join("\n"));
            }
        }
    }
    assert!(refused > 500, "{refused}");
}
