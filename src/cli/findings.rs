//! Findings in a configuration as people see them: with the text that they are about, or in one line.
//!
//! A finding without a file has no place in the text: it is about the machine that the configuration
//! would run on. Such a finding is shown without a place rather than with a wrong one.

use polygate::config::{Diagnostic, Severity, render};

use super::table::plural;

/// Every finding with its line and a mark under what it is about. `text` is what they were found in.
pub(crate) fn show(found: &[Diagnostic], text: &str, color: bool) -> String {
    let show = |finding: &Diagnostic| match (&finding.file, &finding.help) {
        (Some(_), _) => render(std::slice::from_ref(finding), text, color),
        (None, Some(help)) => format!("{}: {}\n  = help: {help}\n\n", severity(finding), finding.message),
        (None, None) => format!("{}: {}\n\n", severity(finding), finding.message),
    };
    found.iter().map(show).collect()
}

/// Place, message and advice in one line, for the log, where the level says how bad it is.
pub(crate) fn line(finding: &Diagnostic) -> String {
    let place = match &finding.file {
        Some(file) => format!("{file}:{}:{}: ", finding.line, finding.column),
        None => String::new(),
    };
    let help = finding.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
    format!("{place}{}{help}", finding.message)
}

/// How many errors and warnings: `2 errors, 1 warning`.
pub(crate) fn count(found: &[Diagnostic]) -> String {
    let errors = found.iter().filter(|finding| finding.severity == Severity::Error).count();
    let warnings = found.len() - errors;
    match (errors, warnings) {
        (_, 0) => plural(errors, "error"),
        (0, _) => plural(warnings, "warning"),
        _ => format!("{}, {}", plural(errors, "error"), plural(warnings, "warning")),
    }
}

fn severity(finding: &Diagnostic) -> &'static str {
    match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(file: Option<&str>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Warning,
            file: file.map(str::to_owned),
            pointer: "/a".into(),
            line: 1,
            column: 1,
            length: 1,
            message: "lowered".into(),
            help: Some("raise it".into()),
        }
    }

    #[test]
    fn a_finding_without_a_file_has_no_place() {
        assert_eq!(show(&[finding(None)], "a = 1", false), "warning: lowered\n  = help: raise it\n\n");
        assert!(show(&[finding(Some("x.toml"))], "a = 1", false).contains("x.toml:1:1"));
        assert_eq!(line(&finding(None)), "lowered (raise it)");
        assert_eq!(line(&finding(Some("x.toml"))), "x.toml:1:1: lowered (raise it)");
    }

    #[test]
    fn errors_and_warnings_are_counted() {
        let warning = finding(None);
        let error = Diagnostic { severity: Severity::Error, ..warning.clone() };
        assert_eq!(count(std::slice::from_ref(&error)), "1 error");
        assert_eq!(count(&[warning.clone(), warning.clone()]), "2 warnings");
        assert_eq!(count(&[error.clone(), error, warning]), "2 errors, 1 warning");
    }
}
