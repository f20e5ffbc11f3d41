//! Tests of accounts: ledgers, meters, and what a snapshot makes of them.

use super::*;
use crate::config::Timeouts;
use tokio_util::sync::CancellationToken;

fn site(stats: &Arc<Stats>, listener: &str) -> Arc<Site> {
    Arc::new(Site {
        socket: 1,
        ledger: stats.open(listener, Transport::Tcp),
        handler: "echo",
        generation: 1,
        timeouts: Timeouts::RAW,
        address: "127.0.0.1:7".into(),
        any_address: false,
        drain: CancellationToken::new(),
        stats: stats.clone(),
    })
}

fn conn(site: &Arc<Site>) -> Arc<Meter> {
    Meter::open(site.clone(), Peer::Unnamed, None, Phase::Open)
}

#[test]
fn a_total_is_what_closed_and_live_conns_add_up_to() {
    let stats = Arc::new(Stats::new());
    let site = site(&stats, "a");
    let (one, two) = (conn(&site), conn(&site));
    one.add_received(5);
    two.add_received(7);
    one.settle(CloseReason::Client);
    let snapshot = stats.snapshot();
    let ledger = &snapshot.ledgers[0];
    assert_eq!((ledger.accepted, ledger.active, ledger.received_bytes), (2, 1, 12));
    assert_eq!(ledger.closed[0], (CloseReason::Client, 1));
    assert_eq!(ledger.durations.count(), 1);
}

#[test]
fn a_conn_is_settled_once_and_by_its_first_verdict() {
    let stats = Arc::new(Stats::new());
    let site = site(&stats, "a");
    let meter = conn(&site);
    assert!(meter.kill(CloseReason::Admin));
    assert!(!meter.kill(CloseReason::Idle));
    assert_eq!(meter.settle(CloseReason::Client), CloseReason::Admin);
    meter.settle(CloseReason::Client);
    let ledger = &stats.snapshot().ledgers[0];
    assert_eq!(ledger.closed.iter().map(|(_, n)| n).sum::<u64>(), 1);
}

#[test]
fn counters_survive_while_the_listener_stays_and_go_with_it() {
    let stats = Arc::new(Stats::new());
    stats.open("a", Transport::Tcp).reject(RejectReason::Acl);
    let live = conn(&site(&stats, "a"));
    assert_eq!(stats.snapshot().ledgers[0].rejected[3], (RejectReason::Acl, 1));
    stats.retain(|_, _| false);
    assert!(stats.snapshot().ledgers.is_empty());
    assert_eq!(stats.conns().len(), 1, "the conn of a removed listener stays listed");
    stats.open("a", Transport::Tcp);
    assert_eq!(stats.snapshot().ledgers[0].accepted, 0, "a listener that comes back starts afresh");
    live.settle(CloseReason::Client);
    assert!(stats.conns().is_empty());
}

#[test]
fn idleness_is_seen_without_a_clock_in_the_hot_path() {
    let stats = Arc::new(Stats::new());
    let meter = conn(&site(&stats, "a"));
    assert_eq!(meter.tick(1_000), meter.started_ms());
    meter.add_sent(1);
    assert_eq!(meter.tick(2_000), 2_000);
    assert_eq!(meter.tick(9_000), 2_000);
}

#[test]
fn a_declared_counter_has_a_cell_for_each_combination_of_its_labels() {
    let stats = Stats::new();
    let ledger = stats.open("a", Transport::Tcp);
    let counter = Counter {
        name: "polygate_test_total",
        help: "Test.",
        kind: CounterKind::Counter,
        labels: &[("method", &["GET", "HEAD"]), ("code", &["200", "404", "500"])],
    };
    ledger.counters(counter).add(&[1, 2], 4);
    let read = &stats.snapshot().ledgers[0].counters[0].cells;
    assert_eq!(read.len(), 6);
    assert!(read.contains(&(vec!["HEAD", "500"], Cell::Number(4))));
    assert_eq!(read.iter().filter(|(_, cell)| *cell == Cell::Number(0)).count(), 5);
}

#[test]
fn a_declared_histogram_counts_durations_by_label() {
    let stats = Stats::new();
    let ledger = stats.open("a", Transport::Tcp);
    let counter = Counter {
        name: "polygate_test_seconds",
        help: "Test.",
        kind: CounterKind::Lifetimes,
        labels: &[("kind", &["up", "down"])],
    };
    ledger.counters(counter).observe(&[1], Duration::from_millis(1500));
    ledger.counters(counter).observe(&[1], Duration::from_secs(100_000));
    let read = &stats.snapshot().ledgers[0].counters[0].cells;
    let [(_, Cell::Durations(up)), (_, Cell::Durations(down))] = &read[..] else { panic!("{read:?}") };
    assert_eq!((up.count(), down.count(), down.sum()), (0, 2, 100_001.5));
    assert!(down.cumulative().any(|bucket| bucket == (5.0, 1)));
}

#[test]
fn a_histogram_counts_a_value_in_the_bucket_that_it_is_not_above() {
    let mut histogram = Histogram::new(&[1.0, 2.0]);
    for value in [0.5, 1.0, 1.5, 9.0] {
        histogram.observe(value);
    }
    assert_eq!(histogram.cumulative().collect::<Vec<_>>(), [(1.0, 2), (2.0, 3)]);
    assert_eq!((histogram.count(), histogram.sum()), (4, 12.0));
}
