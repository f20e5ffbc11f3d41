//! One finding in a configuration, the same everywhere: terminal, `check --format json`, admin API.

use serde::Serialize;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can, but look at this.
    Warning,
}

/// A finding with its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// The file as it was named on the command line; none for text that came over the API.
    pub file: Option<String>,
    /// JSON Pointer (RFC 6901) of the key or value, for example `/listeners/echo/bind/1`.
    pub pointer: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Length of the marked text in characters, at least 1.
    #[serde(skip)]
    pub length: usize,
    /// What is wrong and what was expected.
    pub message: String,
    /// What to do about it, for example the nearest valid name.
    pub help: Option<String>,
}
