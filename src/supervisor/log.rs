//! What the log says of a reload, whoever asked for it.

use super::view::{ReloadError, Report};
use crate::config::{LoadError, Plan};
use serde_json::{Value, json};

use crate::stats::Trigger;

/// A configuration was taken over, or would have been.
pub(super) fn reloaded(trigger: Trigger, report: &Report) {
    for warning in &report.warnings {
        tracing::warn!(target: "polygate::reload", "{warning}");
    }
    tracing::info!(
        target: "polygate::reload",
        trigger = trigger.as_str(),
        dry_run = report.dry_run,
        generation = report.generation,
        duration_seconds = report.duration.as_secs_f64(),
        "{}: {}",
        if report.dry_run { "would reload" } else { "reloaded" },
        summary(&report.plan)
    );
}

/// A configuration was not taken over: every finding, and why.
pub(super) fn not_reloaded(trigger: Trigger, dry_run: bool, error: &ReloadError) {
    if let ReloadError::Load(LoadError::Syntax(found, _) | LoadError::Invalid(found, _)) = error {
        for finding in found {
            tracing::error!(target: "polygate::reload", "{finding}");
        }
    }
    tracing::error!(
        target: "polygate::reload",
        trigger = trigger.as_str(),
        dry_run,
        stage = error.stage().as_str(),
        "not reloaded, what ran before runs on: {error}"
    );
}

/// What a reload changes, in one line.
fn summary(plan: &Plan) -> String {
    let changed: Vec<String> = plan.changed.iter().map(|listener| listener.name.clone()).collect();
    let parts = [
        ("added", &plan.added),
        ("removed", &plan.removed),
        ("changed", &changed),
        ("settings", &plan.settings),
        ("after a restart", &plan.restart_required),
    ];
    let parts = parts.iter().filter(|(_, names)| !names.is_empty());
    let parts: Vec<String> = parts.map(|(what, names)| format!("{what} {}", names.join(", "))).collect();
    if parts.is_empty() { "nothing to do".into() } else { parts.join("; ") }
}

/// What the bus says of a reload.
pub(super) fn event(trigger: Trigger, result: &Result<Report, ReloadError>) -> Value {
    match result {
        Ok(report) => json!({
            "trigger": trigger.as_str(),
            "ok": true,
            "generation": report.generation,
            "plan": report.plan,
            "warnings": report.warnings.len(),
        }),
        Err(error) => json!({
            "trigger": trigger.as_str(),
            "ok": false,
            "stage": error.stage().as_str(),
            "error": error.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Changed;

    use super::*;

    #[test]
    fn a_plan_is_summed_up_in_a_line() {
        let mut plan = Plan::default();
        assert_eq!(summary(&plan), "nothing to do");
        plan.added = vec!["a".into(), "b".into()];
        plan.changed = vec![Changed { name: "c".into(), what: vec!["bind".into()] }];
        plan.settings = vec!["log.level".into()];
        assert_eq!(summary(&plan), "added a, b; changed c; settings log.level");
    }
}
