//! Options of `exec`, and what is wrong with some.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{Finding, Findings, Period, Timeout, Transport, Transports};
use crate::handler::BuildError;
use crate::handlers::check_argv;
use crate::process::{Program, find_group, find_user};

/// Options of `exec`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "exec")]
pub struct Options {
    /// The program's absolute path, and its arguments. No shell reads them.
    pub(super) argv: Vec<String>,
    /// The folder that it starts in, as an absolute path.
    #[serde(default = "root")]
    pub(super) directory: PathBuf,
    /// Its variables, beside a PATH and what tells of the connection.
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    /// The user that it runs as, by name or number; another than the gateway's needs privileges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<String>,
    /// The group that it runs as, by name or number; by default the user's first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) group: Option<String>,
    /// What its standard input and output are: the connection's own socket, one that the gateway carries the bytes
    /// through, or the former wherever it can be.
    #[serde(default)]
    pub(super) io: Io,
    /// How long it may run.
    #[serde(default = "off")]
    pub(super) timeout: Timeout,
    /// How long it may take to end after SIGTERM before it is killed.
    #[serde(default = "grace")]
    pub(super) grace: Period,
    /// How long a program for a sender of datagrams may go on while nothing comes and nothing goes.
    #[serde(default = "datagram_idle")]
    pub(super) datagram_idle: Period,
    /// How many may run at once, over all connections and senders: 1 to 10,000. A connection that waits 10 seconds for its turn is
    /// closed.
    #[serde(default = "max_children")]
    pub(super) max_children: u32,
}

/// What a program's standard input and output are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Io {
    /// The connection's socket where that is TCP without TLS, else a pump.
    #[default]
    Auto,
    /// The connection's socket.
    Socket,
    /// A socket of its own, and the gateway carries the bytes.
    Pump,
}

fn root() -> PathBuf {
    "/".into()
}

fn off() -> Timeout {
    Timeout::OFF
}

fn grace() -> Period {
    Period::after_secs(2)
}

fn datagram_idle() -> Period {
    Period::after_secs(60)
}

fn max_children() -> u32 {
    100
}

pub(super) fn check(options: &Options, transports: Transports) -> Findings {
    let mut findings = Vec::from_iter(check_argv(&["argv"], &options.argv));
    if !options.directory.is_absolute() {
        findings.push(Finding::error(&["directory"], "expected an absolute path"));
    } else if !options.directory.is_dir() {
        let message = format!("there is no folder `{}`", options.directory.display());
        findings.push(Finding::warning(&["directory"], message));
    }
    for (name, value) in &options.env {
        if name.is_empty() || name.contains(['=', '\0']) {
            findings.push(Finding::error(&["env", name], "a variable's name has no `=` and is not empty"));
        }
        if value.contains('\0') {
            findings.push(Finding::error(&["env", name], "a variable cannot hold a NUL character"));
        }
    }
    let others = transports.contains(Transport::Unix) || transports.intersects(Transports::DATAGRAMS);
    if options.io == Io::Socket && others {
        let finding =
            Finding::error(&["io"], "only connections of tcp:// endpoints can be given to a program");
        findings.push(finding.help("write io = \"auto\" or \"pump\""));
    }
    if !(1..=10_000).contains(&options.max_children) {
        findings.push(Finding::error(&["max_children"], "expected a number from 1 to 10000"));
    }
    findings
}

/// What is run by those options; users and groups are looked up.
pub(super) fn program(options: &Options) -> Result<Program, BuildError> {
    let (mut user, mut group) = (None, None);
    if let Some(name) = &options.user {
        let found = find_user(name).map_err(|error| BuildError::new(format!("user {name:?}: {error}")))?;
        (user, group) = (Some(found.0), found.1);
    }
    if let Some(name) = &options.group {
        let found = find_group(name).map_err(|error| BuildError::new(format!("group {name:?}: {error}")))?;
        group = Some(found);
    }
    if user.is_some() && group.is_none() {
        return Err(BuildError::new("a user by number who is not in /etc/passwd needs a group"));
    }
    let is_other = user.is_some_and(|id| id != rustix::process::getuid().as_raw())
        || group.is_some_and(|id| id != rustix::process::getgid().as_raw());
    if is_other && !rustix::process::geteuid().is_root() {
        return Err(BuildError::new("only a gateway that runs as root can run a program as somebody else"));
    }
    Ok(Program {
        argv: options.argv.clone(),
        directory: Some(Path::new(&options.directory).to_path_buf()),
        env: options.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        user,
        group,
    })
}
