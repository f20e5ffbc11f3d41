//! What stands beside the code: the schema, the configurations and the pages agree with the program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_polygate"));
    command.args(arguments).current_dir(folder).env_remove("STATE_DIRECTORY").env_remove("POLYGATE_CONFIG");
    command.output().unwrap()
}

/// Every file below a folder with that extension.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The pages for people.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(ROOT);
    let mut pages = files(&root.join("docs"), "md");
    assert!(pages.len() >= 3, "the pages were found");
    pages.extend(
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|page| root.join(page)),
    );
    pages
}

/// The blocks of a page that are fenced as that language, with the line where each begins.
pub(crate) fn blocks(text: &str, language: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Option<(bool, usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(info)) => {
                let wanted = info.split_whitespace().next() == Some(language);
                open = Some((wanted, index + 2, String::new()));
            }
            (Some(_), Some(_)) => {
                if let Some((true, start, block)) = open.take() {
                    found.push((start, block));
                }
            }
            (Some((_, _, block)), None) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    found
}

/// The page without its fenced blocks and without code in lines.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let mut out = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[test]
fn the_schema_beside_the_configuration_is_the_programs() {
    let printed = run(Path::new(ROOT), &["config", "schema"]);
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert!(printed.lines().count() > 100, "the program printed it");
    let file = Path::new(ROOT).join("config/polygate.schema.json");
    let shipped = read(&file);
    if printed == shipped {
        return;
    }
    let differs = |(ours, theirs): &(&str, &str)| ours != theirs;
    let line = printed.lines().zip(shipped.lines()).take_while(|pair| !differs(pair)).count();
    panic!(
        "{} is not what the program prints, from line {}:\n  file:    {}\n  program: {}\nto make it anew: cargo run -- config schema > config/polygate.schema.json",
        file.display(),
        line + 1,
        shipped.lines().nth(line).unwrap_or("(its end)"),
        printed.lines().nth(line).unwrap_or("(its end)"),
    );
}

#[test]
fn every_configuration_names_its_schema_and_passes_the_check() {
    let all = files(&Path::new(ROOT).join("config"), "toml");
    assert!(all.len() >= 4, "{all:?}");
    for path in all {
        let text = read(&path);
        let first = text.lines().next().unwrap_or_default();
        let schema = first.strip_prefix("#:schema ").unwrap_or_else(|| panic!("{}: {first}", path.display()));
        let schema = path.parent().unwrap().join(schema);
        assert!(schema.is_file(), "{}: there is no {}", path.display(), schema.display());
        is_valid(&path);
    }
}

#[track_caller]
fn is_valid(path: &Path) {
    // Somewhere else, where no folder and no environment helps.
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["check", path.to_str().unwrap()]);
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{}\n{said}", path.display());
}

#[test]
fn every_configuration_in_the_pages_passes_the_check() {
    let folder = tempfile::tempdir().unwrap();
    // What pages about TLS name.
    let made = crate::tls_client::Certificates::new();
    std::fs::create_dir(folder.path().join("tls")).unwrap();
    for file in ["cert.pem", "key.pem"] {
        std::fs::copy(made.path(file), folder.path().join("tls").join(file)).unwrap();
    }
    let mut count = 0;
    for page in pages() {
        for (line, block) in blocks(&read(&page), "toml") {
            count += 1;
            // The name is what the failure shows.
            let name = format!("{}-line-{line}.toml", page.file_stem().unwrap().display());
            let file = folder.path().join(name);
            std::fs::write(&file, block).unwrap();
            is_valid(&file);
        }
    }
    assert!(count >= 3, "{count} blocks were found");
}

#[test]
fn every_link_in_the_pages_leads_to_a_file() {
    let mut count = 0;
    let mut broken = Vec::new();
    for page in pages() {
        let text = prose(&read(&page));
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            count += 1;
            if !page.parent().unwrap().join(target).exists() {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(count > 10, "{count} links were found");
    assert!(broken.is_empty(), "these lead nowhere:\n{}", broken.join("\n"));
}
