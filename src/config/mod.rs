//! From text to a checked [`Config`]: pure, no sockets.

pub mod catalog;
pub mod diagnostic;
pub mod endpoint;
pub mod model;
pub mod plan;
pub mod values;

pub use catalog::{Catalog, Finding, Findings, HandlerType};
pub use diagnostic::{Diagnostic, Severity};
pub use endpoint::{Endpoint, Host, HostPort, Transport, Transports, UnixAddress};
pub use model::*;
pub use plan::{Changed, Plan};
pub use values::{Period, Size, Timeout};

use std::path::{Path, PathBuf};

/// Where a configuration text comes from, and what its relative paths are relative to.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The file as named by the user; none for text that came over the API.
    pub file: Option<PathBuf>,
    /// Folder that read paths (`${file:…}`, certificates) are relative to.
    pub folder: PathBuf,
    /// The working directory, which `state_dir` is relative to.
    pub working_directory: PathBuf,
}

/// What loading gives besides an error: the configuration and the warnings.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The effective configuration.
    pub config: Config,
    /// Warnings, sorted by position.
    pub warnings: Vec<Diagnostic>,
}

/// Reads and checks a text. The error holds every finding of the text, errors and warnings, sorted by position.
pub fn load(_text: &str, _origin: &Origin, _catalog: &dyn Catalog) -> Result<Loaded, Vec<Diagnostic>> {
    Err(Vec::new())
}

/// Reads and checks a file.
pub fn load_file(_path: &Path, _catalog: &dyn Catalog) -> Result<Loaded, LoadError> {
    Err(LoadError::Invalid(Vec::new()))
}

/// Why a configuration file could not be used.
#[derive(Debug)]
pub enum LoadError {
    /// It could not be read.
    Unreadable(PathBuf, std::io::Error),
    /// It is not TOML; one diagnostic.
    Syntax(Vec<Diagnostic>),
    /// It is wrong; every finding.
    Invalid(Vec<Diagnostic>),
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LoadError::Unreadable(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            LoadError::Syntax(found) | LoadError::Invalid(found) => {
                write!(f, "the configuration has {} findings", found.len())
            }
        }
    }
}

impl std::error::Error for LoadError {}
