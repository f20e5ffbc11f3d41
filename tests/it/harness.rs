//! A gateway in this process on a configuration file in a temporary folder, and what tests ask it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use polygate::gateway::{Drained, Gateway};
use polygate::handler::Registry;
use polygate::handlers;
use polygate::stats::{CloseReason, DatagramDrop, LedgerSnapshot, RejectReason, Stats, Trigger};
use polygate::supervisor::{ReloadError, Report, Supervisor};

use crate::client::{Datagrams, Stream};

/// How long anything may take. Only a test that fails waits so long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// How often [`eventually`] looks.
const POLL: Duration = Duration::from_millis(2);

/// A running gateway. When dropped it ends, and every account must be settled.
pub(crate) struct Gate {
    gateway: Option<Gateway>,
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
    stats: Arc<Stats>,
}

impl Gate {
    /// On a configuration without `state_dir` and `[admin]`: the one is a temporary folder, the other is off.
    #[track_caller]
    pub(crate) fn start(text: &str) -> Self {
        Self::start_with(handlers::builtin(), text)
    }

    /// With handlers of the test's own.
    #[track_caller]
    pub(crate) fn start_with(handlers: Registry, text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        match Self::start_in(folder, handlers, text) {
            Ok(gate) => gate,
            Err(error) => panic!("{error}\n{text}"),
        }
    }

    /// In a folder that has something in it already.
    pub(crate) fn start_in(
        folder: tempfile::TempDir,
        handlers: Registry,
        text: &str,
    ) -> Result<Self, ReloadError> {
        let file = folder.path().join("polygate.toml");
        std::fs::write(&file, complete(text, folder.path())).unwrap();
        let gateway = Gateway::from_file(&file).handlers(handlers).start()?;
        let stats = gateway.supervisor().stats().clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Ok(Gate { gateway: Some(gateway), runtime, folder, stats })
    }

    fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().unwrap()
    }

    /// The control plane.
    pub(crate) fn supervisor(&self) -> &Supervisor {
        self.gateway().supervisor()
    }

    /// `state_dir`, and the folder of the configuration.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration file.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder().join("polygate.toml")
    }

    /// Writes another configuration and takes it over.
    #[track_caller]
    pub(crate) fn reload(&self, text: &str) -> Report {
        match self.try_reload(text) {
            Ok(report) => report,
            Err(error) => panic!("{error}\n{text}"),
        }
    }

    /// The same where it may fail.
    pub(crate) fn try_reload(&self, text: &str) -> Result<Report, ReloadError> {
        std::fs::write(self.file(), complete(text, self.folder())).unwrap();
        self.reload_file(false)
    }

    /// What a reload would do.
    pub(crate) fn dry_run(&self, text: &str) -> Result<Report, ReloadError> {
        std::fs::write(self.file(), complete(text, self.folder())).unwrap();
        self.reload_file(true)
    }

    /// Reads the file again, whatever is in it.
    pub(crate) fn reload_file(&self, dry_run: bool) -> Result<Report, ReloadError> {
        self.wait_for(self.supervisor().reload(Trigger::Api, dry_run))
    }

    /// Shuts down as SIGTERM does.
    pub(crate) fn shutdown(&self) -> Drained {
        self.wait_for(self.gateway().shutdown())
    }

    /// Waits until every listener has had its `accept_total`.
    pub(crate) fn stopped(&self) {
        self.wait_for(self.gateway().stopped());
    }

    fn wait_for<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { tokio::time::timeout(DEADLINE, future).await }).expect("not in time")
    }

    /// Every address of a listener, as bound, in the order of the configuration.
    #[track_caller]
    pub(crate) fn addresses(&self, listener: &str) -> Vec<String> {
        let all = self.supervisor().listeners();
        let view = all.iter().find(|view| view.config.name == listener).expect("no such listener");
        view.endpoints.iter().map(|endpoint| endpoint.address.clone()).collect()
    }

    /// The first address of a listener.
    #[track_caller]
    pub(crate) fn address(&self, listener: &str) -> String {
        self.addresses(listener).remove(0)
    }

    /// A connection to a listener's first address.
    #[track_caller]
    pub(crate) fn connect(&self, listener: &str) -> Stream {
        Stream::to(&self.address(listener))
    }

    /// A socket to send datagrams to a listener's first address.
    #[track_caller]
    pub(crate) fn datagrams(&self, listener: &str) -> Datagrams {
        Datagrams::to(&self.address(listener))
    }

    /// The account of a listener with one transport.
    #[track_caller]
    pub(crate) fn ledger(&self, listener: &str) -> LedgerSnapshot {
        let snapshot = self.stats.snapshot();
        let mut of_listener = snapshot.of_listener(listener);
        let ledger = of_listener.next().expect("no such listener").clone();
        assert!(of_listener.next().is_none(), "{listener} has several transports");
        ledger
    }

    /// How many conns of a listener ended for that reason, over all transports.
    pub(crate) fn closed(&self, listener: &str, reason: CloseReason) -> u64 {
        let snapshot = self.stats.snapshot();
        snapshot.of_listener(listener).map(|ledger| count(&ledger.closed, reason)).sum()
    }

    /// How many conns a listener turned away for that reason.
    pub(crate) fn rejected(&self, listener: &str, reason: RejectReason) -> u64 {
        let snapshot = self.stats.snapshot();
        snapshot.of_listener(listener).map(|ledger| count(&ledger.rejected, reason)).sum()
    }

    /// How many datagrams a listener dropped for that reason.
    pub(crate) fn dropped(&self, listener: &str, reason: DatagramDrop) -> u64 {
        let snapshot = self.stats.snapshot();
        snapshot.of_listener(listener).map(|ledger| count(&ledger.datagrams.dropped, reason)).sum()
    }

    /// How many conns of a listener are open.
    pub(crate) fn active(&self, listener: &str) -> u64 {
        self.stats.snapshot().of_listener(listener).map(|ledger| ledger.active).sum()
    }

    /// How many conns a listener accepted.
    pub(crate) fn accepted(&self, listener: &str) -> u64 {
        self.stats.snapshot().of_listener(listener).map(|ledger| ledger.accepted).sum()
    }

    /// The counters.
    pub(crate) fn stats(&self) -> &Stats {
        &self.stats
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // Places are given back when conns are settled: none is lost, none is given back twice.
        let supervisor = self.supervisor().clone();
        eventually("as many places are taken as conns are open", || {
            supervisor.active() == self.stats.conns().len()
        });
        let before = self.stats.snapshot();
        drop(self.gateway.take());
        let after = self.stats.snapshot();
        for (before, after) in before.ledgers.iter().zip(&after.ledgers) {
            let name = &after.listener;
            assert_eq!(after.active, 0, "{name}: a conn is not settled");
            for ledger in [before, after] {
                let parts = total(&ledger.rejected) + ledger.active + total(&ledger.closed);
                assert_eq!(ledger.accepted, parts, "{name}: accepted = rejected + active + closed");
            }
            assert!(after.accepted >= before.accepted, "{name}: the count ran backwards");
        }
    }
}

/// The number for one label of a closed set.
pub(crate) fn count<L: Copy + PartialEq>(all: &[(L, u64)], label: L) -> u64 {
    all.iter().find(|(l, _)| *l == label).map_or(0, |(_, n)| *n)
}

/// What handlers have counted under that name: the sum of the cells that have those labels.
pub(crate) fn counted<'a>(
    ledgers: impl IntoIterator<Item = &'a LedgerSnapshot>,
    name: &str,
    labels: &[&str],
) -> u64 {
    let counters = ledgers.into_iter().flat_map(|ledger| &ledger.counters);
    let cells = counters.filter(|counter| counter.counter.name == name).flat_map(|counter| &counter.cells);
    let fits = |of: &[&str]| labels.iter().all(|label| of.contains(label));
    cells.filter(|(of, _)| fits(of)).map(|(_, cell)| cell.count()).sum()
}

fn total<L>(all: &[(L, u64)]) -> u64 {
    all.iter().map(|(_, n)| n).sum()
}

fn complete(text: &str, folder: &Path) -> String {
    // A test that says where its state is means it.
    let state = if text.contains("state_dir") { String::new() } else { format!("state_dir = {folder:?}\n") };
    format!("{state}admin.bind = \"off\"\n{text}")
}

/// Waits until a condition holds, and fails after [`DEADLINE`].
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        pause();
    }
}

/// Does something again and again for so long.
pub(crate) fn during(time: Duration, mut action: impl FnMut()) {
    let start = Instant::now();
    while start.elapsed() < time {
        action();
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's thread is no runtime's, and tests wait only here")]
fn pause() {
    std::thread::sleep(POLL);
}

/// A name that no other test has.
pub(crate) fn unique(prefix: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{prefix}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A port that is free on TCP and UDP, on all addresses. Below the range that the kernel chooses from, so that no
/// port 0 of another test takes it meanwhile.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two runs at once begin at different ports.
    let start = u16::try_from(std::process::id() % 10_000).unwrap();
    loop {
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        let all = ("0.0.0.0", port);
        if std::net::TcpListener::bind(all).is_ok() && std::net::UdpSocket::bind(all).is_ok() {
            return port;
        }
    }
}
