//! From text to a checked [`Config`]: pure, no sockets.
//!
//! In reading order: [`endpoint`] and [`values`] are what single strings mean, `file` is what the
//! user typed, [`model`] is what the program uses. `load` leads from the one to the other: the text
//! becomes a `tree` with places, `substitute` replaces `${…}`, `walk` compares it with the schema,
//! `check` finds what a schema cannot say, `merge` fills the defaults in. Findings are plain data
//! ([`diagnostic`]).

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking"))]

mod access;
pub mod catalog;
mod check;
pub mod diagnostic;
pub mod endpoint;
mod file;
mod formats;
mod load;
mod merge;
pub mod model;
mod nearest;
pub mod plan;
mod render;
mod report;
mod schema;
mod substitute;
mod text;
mod tls;
mod tree;
pub mod upstream;
pub mod values;
mod walk;

#[cfg(test)]
mod testing;

pub use access::{Open, Role, Token, TokenHash};
pub use catalog::{Catalog, Finding, Findings, HandlerType};
pub use diagnostic::{Diagnostic, Severity, render};
pub use endpoint::{Endpoint, Host, HostPort, Transport, Transports, UnixAddress};
pub use load::{Env, load, load_file, load_text, load_with};
pub use model::*;
pub use plan::{Changed, Plan, plan};
pub use schema::{schema, schema_text};
pub use text::{BadValue, check_log_filter};
pub use tls::{
    ClientPem, MinVersion, Pem, PemError, ProxyProtocol, SYSTEM_ROOTS, Tls, UpstreamTls, Validity,
};
pub use upstream::{Balance, Health, HealthKind, Passive, SendProxy, Target, Upstream};
pub use values::{Period, Size, Timeout};

use std::path::PathBuf;

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

impl Origin {
    /// For a text that is no file: everything is relative to the working directory.
    pub fn here() -> Self {
        let working_directory = std::env::current_dir().unwrap_or_else(|_| "/".into());
        Origin { file: None, folder: working_directory.clone(), working_directory }
    }
}

/// What loading gives besides an error: the configuration and the warnings.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The effective configuration.
    pub config: Config,
    /// Warnings, sorted by position.
    pub warnings: Vec<Diagnostic>,
    /// The text that was read, for rendering the warnings.
    pub text: String,
    /// Every file that was read: the configuration's own first, then those that it names.
    pub files: Vec<ReadFile>,
}

/// A file that went into a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadFile {
    /// Its absolute path.
    pub path: PathBuf,
    /// What it held.
    pub sha256: [u8; 32],
}

impl ReadFile {
    /// A file that held these bytes.
    pub fn new(path: PathBuf, bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        ReadFile { path, sha256: sha2::Sha256::digest(bytes).into() }
    }
}

/// Why a configuration file could not be used.
#[derive(Debug)]
pub enum LoadError {
    /// It could not be read.
    Unreadable(PathBuf, std::io::Error),
    /// It is not TOML; one diagnostic, and the text.
    Syntax(Vec<Diagnostic>, String),
    /// It is wrong; every finding, and the text.
    Invalid(Vec<Diagnostic>, String),
}
