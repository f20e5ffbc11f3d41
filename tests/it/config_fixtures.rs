//! The files of `tests/config` with the handlers that are shipped: what a user would see.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use polygate::config::{Diagnostic, Finding, Findings, Loaded, Origin, Transports, load_with};
use polygate::handler::{BuildError, Conn, Context, Handler, Registry, StreamHandler};
use polygate::handlers;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The shipped handlers, and `lines`: for streams only, with an option that must be written.
fn registry() -> Registry {
    handlers::builtin().stream::<Lines>()
}

fn load(text: &str) -> Result<Loaded, Vec<Diagnostic>> {
    let origin = Origin {
        file: Some(PathBuf::from("test.toml")),
        folder: PathBuf::from("/nonexistent/config"),
        working_directory: PathBuf::from("/srv"),
    };
    load_with(text, &origin, &registry(), &|_| None)
}

fn files(folder: &str, at_least: usize) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(folder);
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let toml = paths.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, fs::read_to_string(path).unwrap())
    };
    let mut files: Vec<_> = toml.map(read).collect();
    files.sort();
    assert!(files.len() >= at_least, "only {} files", files.len());
    files
}

/// The lines `# expect: LINE:COL text` at the start of a file.
fn expected(text: &str) -> Vec<(String, String)> {
    let comments = text.lines().map_while(|line| line.strip_prefix('#'));
    let expectations = comments.filter_map(|line| line.trim().strip_prefix("expect:"));
    let split = expectations.filter_map(|line| line.trim().split_once(' '));
    split.map(|(place, part)| (place.to_string(), part.trim().to_string())).collect()
}

#[test]
fn invalid_files_have_their_findings_and_no_others() {
    let mut wrong = Vec::new();
    for (name, text) in files("invalid", 100) {
        let found = load(&text).map_or_else(|findings| findings, |loaded| loaded.warnings);
        let mut missing = expected(&text);
        assert!(!missing.is_empty(), "{name} expects nothing");
        for finding in found {
            let place = format!("{}:{}", finding.line, finding.column);
            let known = missing.iter().position(|(at, part)| *at == place && finding.message.contains(part));
            match known {
                Some(index) => drop(missing.remove(index)),
                None => wrong.push(format!("{name}: unexpected: {place} {}", finding.message)),
            }
        }
        wrong.extend(missing.iter().map(|(place, part)| format!("{name}: missing: {place} {part}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn valid_files_load_without_a_finding_and_again_when_rendered() {
    for (name, text) in files("valid", 20) {
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
    for (_, text) in files("valid", 20) {
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

/// What the fixtures need of a handler that no shipped one has yet.
struct Lines;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The lines by name.
    commands: BTreeMap<String, Command>,
    /// How many at once.
    #[serde(default)]
    #[schemars(range(min = 1, max = 10))]
    most: Option<u32>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Command {
    /// What runs.
    #[schemars(length(min = 1))]
    argv: Vec<String>,
    /// Whether arguments may follow.
    #[serde(default)]
    args: bool,
}

impl Handler for Lines {
    const NAME: &'static str = "lines";
    const TRANSPORTS: Transports = Transports::STREAMS;
    type Options = Options;

    fn check(options: &Options, _: Transports) -> Findings {
        let relative = options.commands.iter().filter(|(_, command)| !command.argv[0].starts_with('/'));
        relative
            .map(|(name, _)| {
                Finding::error(&["commands", name, "argv", "0"], "the program is not an absolute path")
            })
            .collect()
    }

    fn new(_: Options, _: &Context) -> Result<Self, BuildError> {
        Ok(Lines)
    }
}

impl StreamHandler for Lines {
    async fn serve(&self, _: &mut Conn) -> std::io::Result<()> {
        Ok(())
    }
}
