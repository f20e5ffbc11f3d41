//! `polygate reload`: lets the running gateway read its configuration again.

use clap::Args;
use hyper::Method;
use serde::Deserialize;

use super::client::{Client, Finding};
use super::exit::Failure;
use super::table::{duration, plural};
use super::terminal::{self, escape};
use super::{Format, Output};

/// Options of `reload`.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Options {
    /// Build and bind everything, say what would change, and undo it
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Deserialize)]
struct Report {
    generation: u64,
    dry_run: bool,
    duration_seconds: f64,
    plan: Plan,
    warnings: Vec<Finding>,
}

#[derive(Debug, Deserialize)]
struct Plan {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<Changed>,
    unchanged: Vec<String>,
    #[serde(default)]
    settings: Vec<String>,
    restart_required: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Changed {
    name: String,
    what: Vec<String>,
}

pub(crate) fn run(client: &Client, options: Options) -> Result<(), Failure> {
    let path = match options.dry_run {
        true => "/api/v1/config/reload?dry_run=true",
        false => "/api/v1/config/reload",
    };
    let answer = client.request(Method::POST, path, "application/json")?.successful()?;
    match options.output.output {
        Format::Json => terminal::print(&answer.text()),
        Format::Table => terminal::print(&answer.json::<Report>()?.describe()),
    }
}

impl Report {
    fn describe(&self) -> String {
        let Plan { added, removed, changed, unchanged, settings, restart_required } = &self.plan;
        let changed: Vec<String> =
            changed.iter().map(|entry| format!("{} ({})", entry.name, entry.what.join(", "))).collect();
        let mut text = String::new();
        let lines = [
            ("added", added),
            ("removed", removed),
            ("changed", &changed),
            ("settings", settings),
            ("after a restart", restart_required),
        ];
        for (what, names) in lines {
            if !names.is_empty() {
                text.push_str(&format!("{:<17}{}\n", format!("{what}:"), escape(&names.join(", "))));
            }
        }
        let nothing = text.is_empty();
        text.push_str(&format!("{:<17}{}\n", "unchanged:", plural(unchanged.len(), "listener")));
        text.extend(self.warnings.iter().map(|warning| format!("{warning}\n")));
        let (generation, took) = (self.generation, duration(self.duration_seconds));
        text.push_str(&match (self.dry_run, nothing) {
            (true, true) => format!("a reload would change nothing; generation {generation} runs\n"),
            (true, false) => format!("a reload would work; generation {generation} still runs\n"),
            (false, true) => format!("nothing to do; generation {generation} runs on\n"),
            (false, false) => format!("reloaded in {took}; generation {generation} runs\n"),
        });
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_changed() {
        let report = r#"{"generation": 2, "dry_run": false, "duration_seconds": 0.04, "plan": {
            "added": ["a", "b"], "removed": [], "changed": [{"name": "echo", "what": ["bind", "limits"]}],
            "unchanged": ["c"], "settings": ["log.level"], "restart_required": ["state_dir"]},
            "warnings": [{"severity": "warning", "file": "p.toml", "pointer": "", "line": 1, "column": 2,
            "message": "unused", "help": null}]}"#;
        let expected = "\
added:           a, b
changed:         echo (bind, limits)
settings:        log.level
after a restart: state_dir
unchanged:       1 listener
p.toml:1:2: warning: unused
reloaded in 0.0s; generation 2 runs
";
        assert_eq!(serde_json::from_str::<Report>(report).unwrap().describe(), expected);
    }

    #[test]
    fn nothing_to_do_is_said() {
        let report = r#"{"generation": 1, "dry_run": true, "duration_seconds": 0.0, "plan": {"added": [],
            "removed": [], "changed": [], "unchanged": [], "restart_required": []}, "warnings": []}"#;
        let text = serde_json::from_str::<Report>(report).unwrap().describe();
        assert!(text.ends_with("a reload would change nothing; generation 1 runs\n"), "{text}");
    }
}
