//! One finding in a configuration, the same everywhere: terminal, `check --format json`, admin API.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
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

/// Shows findings as text, each with its line and a mark under what it is about. `source` is the text
/// that they were found in.
pub fn render(diagnostics: &[Diagnostic], source: &str, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for diagnostic in diagnostics {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut snippet =
            Snippet::source(source).annotation(AnnotationKind::Primary.span(bytes(diagnostic, source)));
        if let Some(file) = &diagnostic.file {
            snippet = snippet.path(file.as_str());
        }
        let mut group = level.primary_title(diagnostic.message.as_str()).element(snippet);
        if let Some(help) = &diagnostic.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        out.push_str(&renderer.render(&[group]));
        out.push_str("\n\n");
    }
    out
}

/// The marked text as a range of bytes.
fn bytes(diagnostic: &Diagnostic, source: &str) -> std::ops::Range<usize> {
    let before = source.split_inclusive('\n').take(diagnostic.line.saturating_sub(1));
    let start: usize = before.map(str::len).sum();
    let line = source.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
    let mark = if start == 0 && line.starts_with('\u{feff}') { 1 } else { 0 };
    let at = |characters: usize| {
        let place = line.char_indices().nth(characters + mark).map_or(line.len(), |(index, _)| index);
        start + place
    };
    let first = diagnostic.column.saturating_sub(1);
    at(first)..at(first + diagnostic.length)
}

impl std::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
        }
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{}:{}: {severity}: {}", self.line, self.column, self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::load;

    #[test]
    fn a_finding_is_shown_with_its_line_and_a_mark_under_it() {
        let text = "# ä\nlog.level = \"ínfo\"\n";
        let findings = load(text).unwrap_err();
        let shown = render(&findings, text, false);
        let expected = "\
error: `ínfo` is not a log level
 --> test.toml:2:13
  |
2 | log.level = \"ínfo\"
  |             ^^^^^^
  |
  = help: did you mean `info`?

";
        assert_eq!(shown, expected);
        assert_eq!(
            findings[0].to_string(),
            "test.toml:2:13: error: `ínfo` is not a log level (did you mean `info`?)"
        );
    }

    #[test]
    fn a_finding_at_the_end_of_the_text_can_be_shown() {
        let text = "log = {";
        assert!(render(&load(text).unwrap_err(), text, false).contains("test.toml:1:"));
        assert!(render(&load("version = 2").unwrap_err(), "version = 2", true).contains("\u{1b}["));
    }
}
