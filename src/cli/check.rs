//! `polygate check`: what is wrong with a configuration, all of it, without touching a running gateway.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use polygate::config::{Diagnostic, LoadError, load_file};
use polygate::handlers::builtin;
use polygate::supervisor::fit_limits;
use serde_json::json;

use super::exit::{Exit, Failure};
use super::findings::{count, show};
use super::table::plural;
use super::{Global, find, run, terminal};

/// Options of `check`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The configuration; the same as --config
    file: Option<PathBuf>,
    /// Text for people, or one JSON object
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// The findings are the command's result, so they go to standard output.
pub(crate) fn run(global: &Global, options: &Options) -> Result<Exit, Failure> {
    let path = find::config(options.file.as_deref(), global.config.as_deref())?;
    let (listeners, found, text) = match load_file(&path, &builtin()) {
        Ok(loaded) => {
            let mut found = loaded.warnings;
            found.extend(fit_limits(&loaded.config, run::file_descriptors()));
            (Some(loaded.config.listeners.len()), found, loaded.text)
        }
        Err(LoadError::Syntax(found, text) | LoadError::Invalid(found, text)) => (None, found, text),
        Err(unreadable @ LoadError::Unreadable(..)) => return Err(unreadable.into()),
    };
    terminal::print(&match options.format {
        Format::Json => format!("{}\n", json!({ "valid": listeners.is_some(), "diagnostics": found })),
        Format::Text => {
            let findings = show(&found, &text, terminal::color_on_stdout());
            format!("{findings}{}: {}\n", path.display(), verdict(listeners, &found))
        }
    })?;
    Ok(if listeners.is_some() { Exit::Ok } else { Exit::Config })
}

/// The last line: how many listeners a valid configuration has, and how much was found.
fn verdict(listeners: Option<usize>, found: &[Diagnostic]) -> String {
    match listeners {
        None => count(found),
        Some(listeners) if found.is_empty() => format!("ok ({})", plural(listeners, "listener")),
        Some(listeners) => format!("ok ({}, {})", plural(listeners, "listener"), count(found)),
    }
}

#[cfg(test)]
mod tests {
    use polygate::config::Severity;

    use super::*;

    fn finding(severity: Severity) -> Diagnostic {
        let (file, pointer, message, help) = (None, String::new(), String::new(), None);
        Diagnostic { severity, file, pointer, line: 1, column: 1, length: 1, message, help }
    }

    #[test]
    fn the_verdict_counts() {
        let (error, warning) = (finding(Severity::Error), finding(Severity::Warning));
        assert_eq!(verdict(Some(2), &[]), "ok (2 listeners)");
        assert_eq!(verdict(Some(1), std::slice::from_ref(&warning)), "ok (1 listener, 1 warning)");
        assert_eq!(verdict(None, std::slice::from_ref(&error)), "1 error");
        assert_eq!(verdict(None, &[error.clone(), error, warning]), "2 errors, 1 warning");
    }
}
