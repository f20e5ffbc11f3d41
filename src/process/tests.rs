//! Tests of processes: what they print, how they end, and that nothing of them is left.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::{Timeouts, Transport};
use crate::stats::{Meter, Peer, Phase, ProcessFailure, Site, Stats};

const NAMES: Names =
    Names { handler: &[("handler", &["test"])], failures: &[("handler", &["test"]), ("reason", FAILURES)] };

const LONG: Duration = Duration::from_secs(20);

struct Place {
    stats: Arc<Stats>,
    meter: Arc<Meter>,
    counts: Counts,
}

fn place() -> Place {
    let stats = Arc::new(Stats::new());
    let site = Site {
        socket: 1,
        ledger: stats.open("l", Transport::Tcp),
        handler: "test",
        generation: 1,
        timeouts: Timeouts::RAW,
        address: String::new(),
        any_address: false,
        drain: CancellationToken::new(),
        stats: stats.clone(),
    };
    let counts = Counts::of(&site.ledger, NAMES);
    Place { meter: Meter::open(Arc::new(site), Peer::Unnamed, None, Phase::Open), counts, stats }
}

impl Place {
    async fn start(&self, script: &str, stdout: Given) -> Process {
        let program =
            Program { argv: ["/bin/sh", "-c", script].map(str::to_owned).into(), ..Program::default() };
        let start =
            Start { stdin: Given::Null, stdout, grace: None, counts: self.counts.clone(), place: None };
        program.start(&[], &[], start, &*self.meter).await.unwrap()
    }

    async fn run(&self, script: &str, limit: usize, time: Duration) -> Result<String, Failed> {
        let process = self.start(script, Given::Pipe).await;
        let printed = output(process, limit, time, &self.counts).await?;
        Ok(String::from_utf8(printed).unwrap())
    }

    fn count(&self, name: &str) -> Vec<u64> {
        let snapshot = self.stats.snapshot();
        let ledger = snapshot.ledgers.first().unwrap();
        let named = ledger.counters.iter().filter(|counter| counter.counter.name == name);
        named.flat_map(|counter| counter.cells.iter().map(|(_, cell)| cell.count())).collect()
    }

    async fn nothing_is_left(&self) {
        eventually(|| self.count("polygate_processes_active") == [0]).await;
    }
}

async fn eventually(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    // Whoever has ended and waits to be reaped by another does not live.
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

#[tokio::test]
async fn a_process_gives_what_it_prints_in_an_environment_of_its_own() {
    let place = place();
    assert_eq!(place.run("printf 'a b'; echo no >&2; pwd", 100, LONG).await.unwrap(), "a b/\n");
    let variables = place.run("env | cut -d= -f1 | sort", 1000, LONG).await.unwrap();
    let known = ["PATH", "POLYGATE_PROCESS", "PWD", "OLDPWD", "SHLVL", "_"];
    assert!(variables.lines().all(|name| known.contains(&name)), "{variables}");
    place.nothing_is_left().await;
    assert_eq!(place.count("polygate_processes_started_total"), [2]);
    assert_eq!(place.count("polygate_process_failures_total"), [0; 5]);
}

#[tokio::test]
async fn output_is_kept_whatever_the_status_and_failures_are_counted() {
    let place = place();
    assert_eq!(place.run("echo x; exit 3", 100, LONG).await.unwrap(), "x\n");
    assert_eq!(place.run("echo x; kill -9 $$", 100, LONG).await.unwrap(), "x\n");
    assert!(matches!(place.run("yes", 10_000, LONG).await, Err(Failed::TooMuch)));
    assert_eq!(place.run("printf 1234", 4, LONG).await.unwrap(), "1234");
    assert!(matches!(place.run("printf 12345", 4, LONG).await, Err(Failed::TooMuch)));
    let soon = Duration::from_millis(50);
    assert!(matches!(place.run("trap '' TERM; sleep 60; sleep 60", 10, soon).await, Err(Failed::Timeout)));
    place.nothing_is_left().await;
    let mut failures = [0; 5];
    failures[ProcessFailure::Exit as usize] = 1;
    failures[ProcessFailure::Signal as usize] = 3;
    failures[ProcessFailure::Timeout as usize] = 1;
    assert_eq!(place.count("polygate_process_failures_total"), failures);
}

#[tokio::test]
async fn what_a_process_leaves_behind_ends_with_it_and_does_not_hold_its_output() {
    let place = place();
    // One stays in the group, one leaves group and session; both hold the pipe.
    let script = "sleep 300 & echo $!; setsid sleep 300 & echo $!; sleep 0.1";
    let printed = place.run(script, 100, LONG).await.unwrap();
    place.nothing_is_left().await;
    let pids: Vec<&str> = printed.lines().collect();
    assert_eq!(pids.len(), 2);
    eventually(|| !pids.iter().any(|pid| lives(pid))).await;
}

#[tokio::test]
async fn a_process_ends_and_is_reaped_when_it_is_dropped() {
    let place = place();
    let process = place.start("trap '' TERM; sleep 300 & wait; sleep 300", Given::Null).await;
    let pid = process.id();
    assert_eq!(place.count("polygate_processes_active"), [1]);
    drop(process);
    eventually(|| !Path::new(&format!("/proc/{pid}")).exists()).await;
    place.nothing_is_left().await;
}

#[test]
fn a_process_ends_with_its_runtime() {
    let place = place();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let process = runtime.block_on(place.start("sleep 300", Given::Null));
    let pid = process.id();
    runtime.spawn(async move { process.wait().await });
    drop(runtime);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[tokio::test]
async fn what_cannot_be_started_is_an_error() {
    let place = place();
    for (file, kind) in
        [("/nonexistent/x", io::ErrorKind::NotFound), ("/etc/passwd", io::ErrorKind::PermissionDenied)]
    {
        let program = Program { argv: vec![file.to_owned()], ..Program::default() };
        let start = Start {
            stdin: Given::Null,
            stdout: Given::Pipe,
            grace: None,
            counts: place.counts.clone(),
            place: None,
        };
        let error = program.start(&[], &[], start, &*place.meter).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
    assert_eq!(place.count("polygate_processes_active"), [0]);
}

#[test]
fn users_and_groups_have_numbers() {
    assert_eq!(find_user("root").unwrap(), (0, Some(0)));
    assert_eq!(find_group("root").unwrap(), 0);
    assert_eq!(find_user("12345").unwrap(), (12345, None));
    assert!(find_user("no such user").is_err() && find_group("").is_err());
}
