//! The way from a text to a configuration: parse, replace, compare with the schema, check, merge.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use serde_json::Value;
use toml::de::DeTable;

use super::catalog::Catalog;
use super::check::Checker;
use super::diagnostic::{Diagnostic, Severity};
use super::file::File;
use super::merge;
use super::model::Config;
use super::report::Report;
use super::substitute::Sources;
use super::text::BadValue;
use super::tree::{Node, Pointer, Tree};
use super::walk::Walker;
use super::{LoadError, Loaded, Origin, ReadFile};

/// The largest file that is read: a configuration of ten thousand listeners has about one megabyte.
const LARGEST_FILE: usize = 4 << 20;

/// Looks a variable of the environment up.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What stopped the way.
enum Stop {
    Syntax,
    Invalid,
}

/// Reads and checks a text. The error holds every finding of the text, errors and warnings, sorted by position.
pub fn load(text: &str, origin: &Origin, catalog: &dyn Catalog) -> Result<Loaded, Vec<Diagnostic>> {
    load_with(text, origin, catalog, &|name| std::env::var(name).ok())
}

/// The same with another environment.
pub fn load_with(
    text: &str,
    origin: &Origin,
    catalog: &dyn Catalog,
    env: Env<'_>,
) -> Result<Loaded, Vec<Diagnostic>> {
    read(text, origin, catalog, env).map_err(|(_, findings)| findings)
}

/// Reads and checks a text, and tells text that is not TOML from a configuration that is wrong.
pub fn load_text(text: &str, origin: &Origin, catalog: &dyn Catalog) -> Result<Loaded, LoadError> {
    read(text, origin, catalog, &|name| std::env::var(name).ok()).map_err(|(stop, findings)| match stop {
        Stop::Syntax => LoadError::Syntax(findings, text.to_owned()),
        Stop::Invalid => LoadError::Invalid(findings, text.to_owned()),
    })
}

/// Reads and checks a file.
pub fn load_file(path: &Path, catalog: &dyn Catalog) -> Result<Loaded, LoadError> {
    let unreadable = |error| LoadError::Unreadable(path.to_owned(), error);
    let bytes = read_at_most(path, LARGEST_FILE).map_err(unreadable)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].split(|b| *b == b'\n').count();
        let message = format!("not UTF-8, in line {line}");
        unreadable(std::io::Error::new(std::io::ErrorKind::InvalidData, message))
    })?;
    let working_directory = std::env::current_dir().map_err(unreadable)?;
    let folder = path.parent().map(|parent| working_directory.join(parent));
    let origin = Origin {
        file: Some(path.to_owned()),
        folder: folder.unwrap_or_else(|| working_directory.clone()),
        working_directory,
    };
    load_text(&text, &origin, catalog)
}

fn read_at_most(path: &Path, most: usize) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "larger than 4MiB"));
    }
    Ok(bytes)
}

fn read(
    text: &str,
    origin: &Origin,
    catalog: &dyn Catalog,
    env: Env<'_>,
) -> Result<Loaded, (Stop, Vec<Diagnostic>)> {
    let file = origin.file.as_ref().map(|file| file.display().to_string());
    let mut report = Report::new(text, file);
    let Some(mut tree) = parse(text, &mut report) else {
        return Err((Stop::Syntax, report.finish()));
    };
    let sources = Sources { env, folder: &origin.folder, files: RefCell::default() };
    if !version(&mut tree, &sources, &mut report) {
        return Err((Stop::Invalid, report.finish()));
    }
    sources.apply(&mut tree, &Pointer::root(), &mut report);
    let file = decode(&tree, &mut report);
    let state_dir = merge::state_dir(&file, origin, env);
    let config = config(&tree, &file, catalog, &sources, state_dir, &mut report);
    if report.has_errors() {
        return Err((Stop::Invalid, report.finish()));
    }
    let own = origin.file.iter().map(|file| origin.working_directory.join(file));
    let mut files: Vec<ReadFile> = own.map(|path| ReadFile::new(path, text.as_bytes())).collect();
    files.extend(sources.files.into_inner());
    Ok(Loaded { config, warnings: report.finish(), text: text.to_owned(), files })
}

/// The tree of the text; the first syntax error is reported.
fn parse(text: &str, report: &mut Report<'_>) -> Option<Node> {
    let (table, errors) = DeTable::parse_recoverable(text);
    // They come in the order in which the parser's passes meet them, not in that of the text.
    let first = errors.iter().min_by_key(|error| error.span().map_or(0, |span| span.start));
    let Some(error) = first else {
        return Some(Node::root(&table, text));
    };
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    let what = BadValue::new(format!("not TOML: {message}"));
    report.error(error.span().unwrap_or(0..0), &Pointer::root(), what);
    None
}

/// Whether the version is one that this program reads: nothing else may be judged before that is known.
fn version(tree: &mut Node, sources: &Sources<'_>, report: &mut Report<'_>) -> bool {
    let Tree::Table(entries) = &mut tree.value else { return true };
    let Some(node) = entries.get_mut("version") else { return true };
    let at = Pointer::root().child("version");
    sources.apply(node, &at, report);
    let found = match &node.value {
        Tree::Broken => return false,
        Tree::Integer(Some(1)) => return true,
        Tree::String { text, whole: true } if text.trim() == "1" => return true,
        Tree::Integer(Some(other)) => format!("the version {other} is not known"),
        other => format!("expected the integer 1, found {}", other.kind()),
    };
    let what = BadValue::new(found).help("this polygate reads version 1; leave the key out or write 1");
    report.error(node.span.clone(), &at, what);
    false
}

/// What the user typed, as far as it fits the schema.
fn decode(tree: &Node, report: &mut Report<'_>) -> File {
    let schema = schemars::schema_for!(File).to_value();
    let walked = Walker::new(&schema, report).walk(tree, &schema, &Pointer::root());
    match serde_json::from_value::<File>(walked.unwrap_or(Value::Null)) {
        Ok(file) => file,
        Err(error) => {
            // The walk lets nothing pass that serde refuses; should it ever, the text is refused.
            report.error(
                0..0,
                &Pointer::root(),
                BadValue::new(format!("the configuration does not fit: {error}")),
            );
            File::default()
        }
    }
}

fn config(
    tree: &Node,
    file: &File,
    catalog: &dyn Catalog,
    sources: &Sources<'_>,
    state_dir: PathBuf,
    report: &mut Report<'_>,
) -> Config {
    let checked = Checker { tree, file, catalog, state_dir: &state_dir, sources, report }.run();
    Config {
        version: 1,
        admin: checked.admin,
        log: merge::log(file),
        runtime: merge::runtime(file),
        reload: merge::reload(file),
        shutdown: merge::shutdown(file),
        limits: merge::global_limits(file),
        accounts: merge::accounts(file, &state_dir),
        listeners: checked.listeners,
        upstreams: checked.upstreams,
        unused_handlers: checked.unused_handlers,
        state_dir,
    }
}

impl LoadError {
    /// The findings, if the file could be read.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        match self {
            LoadError::Unreadable(..) => &[],
            LoadError::Syntax(findings, _) | LoadError::Invalid(findings, _) => findings,
        }
    }

    /// The text that the findings are about, if the file could be read.
    pub fn text(&self) -> Option<&str> {
        match self {
            LoadError::Unreadable(..) => None,
            LoadError::Syntax(_, text) | LoadError::Invalid(_, text) => Some(text),
        }
    }
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LoadError::Unreadable(path, error) => write!(f, "{}: {error}", path.display()),
            LoadError::Syntax(findings, _) | LoadError::Invalid(findings, _) => {
                let errors = findings.iter().filter(|d| d.severity == Severity::Error).count();
                write!(
                    f,
                    "the configuration is invalid: {errors} error{}",
                    if errors == 1 { "" } else { "s" }
                )
            }
        }
    }
}

impl std::error::Error for LoadError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{TestCatalog, load, valid};

    #[test]
    fn pointers_are_escaped_and_lead_to_the_finding() {
        let text = "[listeners.a]\nbind = [\"udp://h:1\", \"x\"]\nhandler = \"echo\"\n\"a/b~c\" = 1\n";
        let found: Vec<String> = load(text).unwrap_err().into_iter().map(|d| d.pointer).collect();
        assert_eq!(found, ["/listeners/a/bind/1", "/listeners/a/a~1b~0c"]);
    }

    #[test]
    fn the_nearest_valid_name_is_given() {
        let help = |text: &str| load(text).unwrap_err()[0].help.clone().unwrap_or_default();
        assert_eq!(help("lsteners = {}"), "did you mean `listeners`?");
        assert_eq!(help("log.format = \"jsn\""), "did you mean `json`?");
        assert!(help("log.colour = 1").contains("`level`, `format`"));
        assert_eq!(help("[listeners.a]\nbind = \"tcp://h:1\"\nhandler = \"uper\""), "did you mean `upper`?");
    }

    #[test]
    fn a_file_is_read_with_its_own_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.toml");
        std::fs::write(folder.path().join("level"), "debug\n").unwrap();
        std::fs::write(&path, "log.level = \"${file:level}\"").unwrap();
        assert_eq!(load_file(&path, &TestCatalog).unwrap().config.log.level, "debug");

        std::fs::write(&path, b"# \xff").unwrap();
        assert!(matches!(load_file(&path, &TestCatalog), Err(LoadError::Unreadable(..))));
        std::fs::write(&path, "a = ").unwrap();
        assert!(matches!(load_file(&path, &TestCatalog), Err(LoadError::Syntax(..))));
        std::fs::write(&path, "a = 1").unwrap();
        let error = load_file(&path, &TestCatalog).unwrap_err();
        assert_eq!((error.diagnostics().len(), error.text()), (1, Some("a = 1")));
        std::fs::write(&path, vec![b'#'; LARGEST_FILE + 1]).unwrap();
        assert!(matches!(load_file(&path, &TestCatalog), Err(LoadError::Unreadable(..))));
        assert!(matches!(load_file(folder.path(), &TestCatalog), Err(LoadError::Unreadable(..))));
    }

    #[test]
    fn ten_thousand_listeners_are_no_trouble() {
        let entry =
            |n: usize| format!("[listeners.l{n}]\nbind = \"tcp://127.0.0.1:{n}\"\nhandler = \"echo\"\n");
        let text: String = (10_000..20_000).map(entry).collect();
        let config = valid(&text).config;
        assert_eq!(config.listeners.len(), 10_000);
        assert!(crate::config::plan(&config, &config).is_empty());
    }
}
