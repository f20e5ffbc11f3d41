//! Options of `runner`, and what is wrong with some.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{Finding, Findings, Period, Size};
use crate::handlers::check_argv;

/// Options of `runner`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "runner")]
pub struct Options {
    /// The commands by the names that clients send: no others run.
    pub(super) commands: BTreeMap<String, Command>,
    /// How long a command may run; a request waits as long for its turn at most.
    pub(super) timeout: Period,
    /// The most that a command may print.
    pub(super) max_output: Size,
    /// How many commands may run at once, over all connections: 1 to 10,000.
    pub(super) max_children: u32,
    /// How long nothing more has to come for a request without a line end to be complete.
    pub(super) gap: Period,
}

/// A command that clients may run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Command {
    /// The program's absolute path, and its arguments. No shell reads them.
    pub(super) argv: Vec<String>,
    /// Whether what the client sends after the name, split at white space, becomes further arguments.
    #[serde(default)]
    pub(super) args: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            commands: BTreeMap::new(),
            timeout: Period::after_secs(10),
            max_output: Size::kib(1024),
            max_children: 16,
            gap: Period::after_millis(20),
        }
    }
}

/// The most that output may be made to hold, a connection.
const MOST_OUTPUT: Size = Size::kib(64 * 1024);

pub(super) fn check(options: &Options) -> Findings {
    let mut findings = Vec::new();
    if options.commands.is_empty() {
        let nothing = Finding::warning(&[], "no command can be run");
        findings.push(nothing.help("write for example commands.uptime = { argv = [\"/usr/bin/uptime\"] }"));
    }
    for (name, command) in &options.commands {
        if !is_name(name) {
            let message = "expected a name of 1 to 64 letters, digits, `.`, `_` and `-`";
            findings.push(Finding::error(&["commands", name], message));
        }
        findings.extend(check_argv(&["commands", name, "argv"], &command.argv));
    }
    if !(1..=10_000).contains(&options.max_children) {
        findings.push(Finding::error(&["max_children"], "expected a number from 1 to 10000"));
    }
    if options.max_output > MOST_OUTPUT {
        findings.push(Finding::error(&["max_output"], "expected a size from \"1B\" to \"64MiB\""));
    }
    findings
}

/// A name that no client can take for anything else.
fn is_name(name: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    (1..=64).contains(&name.len()) && name.chars().all(known)
}
