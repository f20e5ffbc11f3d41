//! The end: conns may finish for a while, then they are killed; nothing is left behind.

use std::net::UdpSocket;

use polygate::gateway::Drained;
use polygate::stats::{CloseReason, RejectReason, Trigger};
use polygate::supervisor::ReloadError;

use crate::client::Stream;
use crate::harness::{Gate, eventually};

fn gate(grace: &str) -> Gate {
    Gate::start(&format!(
        r#"
        shutdown.grace = "{grace}"
        [listeners.l]
        bind = ["tcp://127.0.0.1:0", "unix://l.sock"]
        handler = "echo"
        [listeners.d]
        bind = ["udp://127.0.0.1:0", "unixgram://d.dgram"]
        handler = "echo"
        "#
    ))
}

#[test]
fn a_conn_may_finish_within_its_grace() {
    let gate = gate("10s");
    let mut open = gate.connect("l");
    open.ask("hi", "hi");
    let node = gate.folder().join("l.sock");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            eventually("the endpoints are closed", || !node.exists());
            open.ask("still here", "still here");
            open.finish();
            open.is_ended();
        });
        assert_eq!(gate.shutdown(), Drained { finished: 1, killed: 0 });
    });
    assert_eq!(gate.closed("l", CloseReason::Client), 1);
}

#[test]
fn a_conn_that_does_not_finish_is_killed_after_the_grace() {
    let gate = gate("100ms");
    let mut streams: Vec<Stream> = gate.addresses("l").iter().map(|at| Stream::to(at)).collect();
    streams.iter_mut().for_each(|stream| stream.ask("hi", "hi"));
    assert_eq!(gate.shutdown(), Drained { finished: 0, killed: 2 });
    streams.iter_mut().for_each(Stream::is_gone);
    assert_eq!(gate.closed("l", CloseReason::Drain), 2);
}

#[test]
fn whoever_waits_for_a_place_is_turned_away_in_order() {
    let limited = "shutdown.grace = '100ms'\n[listeners.l]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'echo'";
    let gate = Gate::start(&format!("{limited}\nlimits.max_connections = 1"));
    let mut first = gate.connect("l");
    first.ask("hi", "hi");
    let mut waiting = [gate.connect("l"), gate.connect("l")];
    gate.shutdown();
    waiting.iter_mut().for_each(Stream::is_ended);
    assert_eq!(gate.rejected("l", RejectReason::Draining), 2);
}

#[test]
fn without_conns_nothing_is_waited_for() {
    let gate = gate("off");
    assert_eq!(gate.shutdown(), Drained { finished: 0, killed: 0 });
}

#[test]
fn ports_are_closed_and_nodes_removed() {
    let gate = gate("100ms");
    let [tcp, unix] = gate.addresses("l").try_into().unwrap();
    let udp = gate.address("d").replace("udp://", "");
    gate.shutdown();
    eventually("the port is closed", || Stream::try_to(&tcp).is_err());
    eventually("the socket is closed", || Stream::try_to(&unix).is_err());
    eventually("the port is free", || UdpSocket::bind(&udp).is_ok());
    for node in ["l.sock", "d.dgram"] {
        eventually("the node is gone", || !gate.folder().join(node).exists());
    }
}

#[test]
fn a_reload_comes_too_late() {
    let gate = gate("100ms");
    gate.shutdown();
    let error = gate.reload_file(false).unwrap_err();
    assert!(matches!(error, ReloadError::ShuttingDown), "{error}");
    assert_eq!(gate.stats().control().reloads(Trigger::Api), 1);
}

#[test]
fn readiness_says_that_it_drains() {
    let gate = gate("100ms");
    assert!(gate.supervisor().readiness().iter().all(|(_, up)| up.is_ok()));
    gate.shutdown();
    let drain = gate.supervisor().readiness().into_iter().find(|(name, _)| name == "drain").unwrap();
    assert!(drain.1.is_err());
    assert!(gate.stats().control().is_draining());
}

#[test]
fn a_gateway_that_is_dropped_ends_at_once_and_removes_its_nodes() {
    let gate = gate("10s");
    let mut open = gate.connect("l");
    open.ask("hi", "hi");
    drop(gate);
    open.is_gone();
}
