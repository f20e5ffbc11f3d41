//! What several routes send: lists, findings, plans, times. The types of the program are turned into
//! these field by field, so that a new field there does not go out, or go missing, unnoticed.

use std::path::Path;
use std::time::SystemTime;

use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use crate::config;

/// The schema of a string that is one of these.
pub(super) fn one_of(values: &[&str]) -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(values.iter().copied())).build()
}

/// A part of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct List<T> {
    /// The entries.
    pub(super) items: Vec<T>,
    /// Give it as `cursor` to get what follows; null at the end.
    pub(super) next_cursor: Option<String>,
    /// How many there are, this part and all others.
    pub(super) total: usize,
}

impl<T> List<T> {
    /// A list in one part.
    pub(super) fn whole(items: Vec<T>) -> Self {
        List { total: items.len(), items, next_cursor: None }
    }
}

/// Whether a configuration can be used in spite of a finding.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Severity {
    /// It cannot.
    Error,
    /// It can.
    Warning,
}

/// One finding in a configuration.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Diagnostic)]
pub(super) struct Finding {
    severity: Severity,
    /// The file; null for text that came in a request.
    file: Option<String>,
    /// JSON Pointer (RFC 6901) of the key or value, for example `/listeners/echo/bind/1`.
    pointer: String,
    /// Line, from 1. What has no place in the text is at line 1, column 1.
    line: usize,
    /// Column in characters, from 1.
    column: usize,
    /// What is wrong and what was expected.
    message: String,
    /// What to do about it.
    help: Option<String>,
}

impl Finding {
    /// Findings of the configuration.
    pub(super) fn list(found: Vec<config::Diagnostic>) -> Vec<Finding> {
        found.into_iter().map(Finding::from).collect()
    }

    /// That a whole file cannot be used.
    pub(super) fn of_file(file: &Path, message: &str) -> Finding {
        Finding { file: Some(file.display().to_string()), ..Finding::at("", message) }
    }

    /// That a listener cannot do what the configuration says.
    pub(super) fn of_listener(listener: &str, message: &str) -> Finding {
        Finding::at(&format!("/listeners/{}", listener.replace('~', "~0").replace('/', "~1")), message)
    }

    fn at(pointer: &str, message: &str) -> Finding {
        Finding {
            severity: Severity::Error,
            file: None,
            pointer: pointer.into(),
            line: 1,
            column: 1,
            message: message.into(),
            help: None,
        }
    }
}

impl From<config::Diagnostic> for Finding {
    fn from(found: config::Diagnostic) -> Self {
        let config::Diagnostic { severity, file, pointer, line, column, length: _, message, help } = found;
        let severity = match severity {
            config::Severity::Error => Severity::Error,
            config::Severity::Warning => Severity::Warning,
        };
        Finding { severity, file, pointer, line, column, message, help }
    }
}

/// The difference between the running configuration and another.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Plan {
    /// Listeners that are new.
    added: Vec<String>,
    /// Listeners that go.
    removed: Vec<String>,
    /// Listeners that stay but differ.
    changed: Vec<Changed>,
    /// Listeners that stay as they are.
    unchanged: Vec<String>,
    /// Keys outside of `[listeners]` that differ, for example `log.level`.
    settings: Vec<String>,
    /// Keys that differ but keep their value until the next start.
    restart_required: Vec<String>,
}

/// A listener that stays but differs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Changed {
    /// Its name.
    name: String,
    /// The keys that differ, for example `options.prefix`.
    what: Vec<String>,
}

impl From<config::Plan> for Plan {
    fn from(plan: config::Plan) -> Self {
        let config::Plan { added, removed, changed, unchanged, settings, restart_required } = plan;
        let changed = changed.into_iter().map(|config::Changed { name, what }| Changed { name, what });
        Plan { added, removed, changed: changed.collect(), unchanged, settings, restart_required }
    }
}

/// A point in time as RFC 3339 has it, in UTC, to the millisecond.
pub(super) fn time(at: SystemTime) -> String {
    let at = jiff::Timestamp::try_from(at).unwrap_or_default();
    format!("{at:.3}")
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_rfc_3339_in_utc() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_250);
        assert_eq!(time(at), "2023-11-14T22:13:20.250Z");
        assert_eq!(time(SystemTime::UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn a_finding_without_a_place_is_at_the_top() {
        let finding = serde_json::to_value(Finding::of_listener("a", "no")).unwrap();
        let expected = serde_json::json!({
            "severity": "error", "file": null, "pointer": "/listeners/a", "line": 1, "column": 1,
            "message": "no", "help": null,
        });
        assert_eq!(finding, expected);
    }

    #[test]
    fn bytes_are_written_in_hexadecimal() {
        assert_eq!(hex(&[0, 10, 255]), "000aff");
    }
}
