//! What to run, and as whom.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::sync::OwnedSemaphorePermit;

use super::family::{Family, VARIABLE};
use super::log::{About, follow};
use super::{Body, Counts, Process, children};
use crate::stats::{ConnId, Meter};

/// Where programs look for others, unless they are told something else.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program with its arguments: no shell reads them.
#[derive(Debug, Clone, Default)]
pub struct Program {
    /// The program's file, and its arguments.
    pub argv: Vec<String>,
    /// Where it starts; none is `/`.
    pub directory: Option<PathBuf>,
    /// Its variables, beside a PATH.
    pub env: Vec<(String, String)>,
    /// The user that it runs as; none is this process's.
    pub user: Option<u32>,
    /// The group; none is this process's.
    pub group: Option<u32>,
}

/// One of a process's descriptors 0 and 1.
#[derive(Debug)]
pub enum Given {
    /// `/dev/null`.
    Null,
    /// A pipe, as output.
    Pipe,
    /// This one.
    File(OwnedFd),
}

/// How a program is started for a connection.
#[derive(Debug)]
pub struct Start {
    /// Standard input.
    pub stdin: Given,
    /// Standard output.
    pub stdout: Given,
    /// How long it may go on after SIGTERM before it is killed; none kills it at once.
    pub grace: Option<Duration>,
    /// Where it is counted.
    pub counts: Counts,
    /// Its place among those that may run at once, given back when nothing of it is left.
    pub place: Option<OwnedSemaphorePermit>,
}

/// Whom a process runs for, as the log says it.
#[derive(Debug, Clone)]
pub struct Whose {
    /// The listener.
    pub listener: Arc<str>,
    /// The conn, or a number that no conn has.
    pub id: ConnId,
}

impl From<&Meter> for Whose {
    fn from(meter: &Meter) -> Self {
        Whose { listener: meter.site().ledger.listener().clone(), id: meter.id() }
    }
}

impl From<Given> for Stdio {
    fn from(given: Given) -> Self {
        match given {
            Given::Null => Stdio::null(),
            Given::Pipe => Stdio::piped(),
            Given::File(file) => Stdio::from(file),
        }
    }
}

impl Program {
    /// Starts it for a connection, with further arguments and variables.
    ///
    /// # Errors
    /// What keeps it from running. Failures are not counted here.
    pub async fn start(
        &self,
        args: &[String],
        env: &[(&'static str, String)],
        start: Start,
        whose: impl Into<Whose>,
    ) -> io::Result<Process> {
        let family = Family::new();
        let mut command = self.command(&family)?;
        command.args(args).envs(env.iter().map(|(key, value)| (*key, value)));
        let Whose { listener, id: ConnId(conn) } = whose.into();
        let program: Arc<str> = self.argv.first().map_or_else(|| "".into(), |name| name.as_str().into());
        let about = move |pid| About { listener, conn, program, pid };
        // Starting waits for the program's file to be read.
        let started = tokio::task::spawn_blocking(move || spawn(command, family, start, about)).await;
        started.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    fn command(&self, family: &Family) -> io::Result<Command> {
        let (program, args) = self.argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(args).env_clear().env("PATH", PATH);
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        command.env(VARIABLE, family.value());
        command.current_dir(self.directory.as_deref().unwrap_or("/".as_ref()));
        command.process_group(0).stderr(Stdio::piped());
        // Both are set only where they differ: setting them needs privileges.
        if let Some(group) = self.group.filter(|id| *id != rustix::process::getgid().as_raw()) {
            command.gid(group);
        }
        if let Some(user) = self.user.filter(|id| *id != rustix::process::getuid().as_raw()) {
            command.uid(user);
        }
        Ok(command)
    }
}

fn spawn(
    mut command: Command,
    family: Family,
    start: Start,
    about: impl FnOnce(i32) -> About,
) -> io::Result<Process> {
    let Start { stdin, stdout, grace, counts, place } = start;
    command.stdin(stdin).stdout(stdout);
    let (mut child, pid) = children::start(|| {
        let child = command.spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        Ok((child, pid.ok_or(io::ErrorKind::InvalidData)?))
    })?;
    // The command holds the descriptors that were given; from here on only the process does.
    drop(command);
    let account = counts.open();
    // Not reaped yet, so the number is its own.
    let pidfd = pidfd_open(pid, PidfdFlags::NONBLOCK).map_err(io::Error::from);
    let pidfd = pidfd.and_then(watched);
    let pidfd = match pidfd {
        Ok(pidfd) => pidfd,
        Err(error) => {
            let _ = (child.kill(), child.wait());
            children::forget(pid);
            return Err(error);
        }
    };
    let body = Body { pid, pidfd, family, log: None, grace, reaped: false, _account: account, _place: place };
    // From here on whatever fails ends the process in order.
    let mut process = Process { body: Some(body), stdout: None };
    if let (Some(stderr), Some(body)) = (child.stderr.take(), process.body.as_mut()) {
        body.log = Some(follow(stderr, about(pid.as_raw_nonzero().get()))?);
    }
    if let Some(stdout) = child.stdout.take() {
        process.stdout = Some(pipe::Receiver::from_owned_fd(OwnedFd::from(stdout))?);
    }
    Ok(process)
}

/// Registers it with the reactor.
#[expect(
    deprecated,
    reason = "its replacement is an unsafe fn; an `OwnedFd` keeps its descriptor, as that asks"
)]
fn watched(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(pidfd, Interest::READABLE)
}

/// The number of a user by name or number, and of their first group.
///
/// # Errors
/// There is none of that name, or nobody can be looked up.
pub fn find_user(name: &str) -> io::Result<(u32, Option<u32>)> {
    if let Ok(id) = name.parse() {
        return Ok((id, None));
    }
    let fields = find("/etc/passwd", name)?;
    let number = |at: usize| fields.get(at).and_then(|field| field.parse().ok());
    let user = number(2).ok_or(io::ErrorKind::InvalidData)?;
    Ok((user, number(3)))
}

/// The number of a group by name or number.
///
/// # Errors
/// There is none of that name, or nobody can be looked up.
pub fn find_group(name: &str) -> io::Result<u32> {
    if let Ok(id) = name.parse() {
        return Ok(id);
    }
    let fields = find("/etc/group", name)?;
    fields.get(2).and_then(|field| field.parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn find(file: &str, name: &str) -> io::Result<Vec<String>> {
    let text = std::fs::read_to_string(file)?;
    let mut lines = text.lines().map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>());
    lines
        .find(|fields| fields.first().is_some_and(|first| first == name))
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{file} has no entry {name:?}")))
}
