//! Reloads: what stays, what changes, what goes, while connections are open.

use std::io;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use polygate::config::Transports;
use polygate::handler::{BuildError, Conn, Context, Handler, StreamHandler};
use polygate::handlers;
use polygate::stats::CloseReason;

use crate::client::{Datagrams, Stream};
use crate::harness::{Gate, during, eventually, free_port};

fn listener(name: &str, bind: &str, handler: &str, rest: &str) -> String {
    format!("[listeners.{name}]\nbind = '{bind}'\nhandler = '{handler}'\n{rest}\n")
}

#[test]
fn a_handler_is_swapped_in_place_while_an_open_conn_keeps_its_own() {
    for bind in ["tcp://127.0.0.1:0", "unix://l.sock"] {
        let gate = Gate::start(&listener("l", bind, "echo", ""));
        let address = gate.address("l");
        let mut old = gate.connect("l");
        old.ask("hi", "hi");
        let report = gate.reload(&listener("l", bind, "upper", ""));
        assert_eq!(report.plan.changed[0].what, ["handler"]);
        Stream::to(&address).ask("hi", "HI");
        old.ask("hi", "hi");
    }
}

#[test]
fn options_are_swapped_in_place_for_datagrams_too() {
    let text = |prefix| {
        let socket = "['udp://127.0.0.1:0', 'unixgram://l.dgram']";
        format!(
            "[listeners.l]\nbind = {socket}\nhandler = 'h'\n[handlers.h]\ntype = 'echo'\nprefix = '{prefix}'"
        )
    };
    let gate = Gate::start(&text("a:"));
    let clients: Vec<_> = gate.addresses("l").iter().map(|at| Datagrams::to(at)).collect();
    for prefix in ["a:", "b:", "", "c:"] {
        gate.reload(&text(prefix));
        clients.iter().for_each(|client| client.ask("hi", format!("{prefix}hi")));
    }
}

#[test]
fn a_listener_that_is_renamed_keeps_its_socket() {
    let bind = format!("tcp://127.0.0.1:{}", free_port());
    let gate = Gate::start(&listener("before", &bind, "echo", ""));
    let mut old = gate.connect("before");
    old.ask("hi", "hi");
    let inode = gate.supervisor().listeners()[0].endpoints[0].inode;
    let report = gate.reload(&listener("after", &bind, "echo", ""));
    assert_eq!(
        (&report.plan.added[..], &report.plan.removed[..]),
        (&["after".into()][..], &["before".into()][..])
    );
    assert_eq!(gate.supervisor().listeners()[0].endpoints[0].inode, inode, "another socket");
    gate.connect("after").ask("hi", "hi");
    old.ask("still here", "still here");
    assert_eq!(gate.accepted("after"), 1, "what came before is the other's");
}

#[test]
fn two_listeners_may_swap_their_endpoints() {
    let (one, other) = ("unix://one.sock", "unix://other.sock");
    let text = |a, b| listener("a", a, "echo", "") + &listener("b", b, "upper", "");
    let gate = Gate::start(&text(one, other));
    gate.reload(&text(other, one));
    gate.connect("a").ask("hi", "hi");
    gate.connect("b").ask("hi", "HI");
    assert!(gate.address("a").ends_with("/other.sock"));
}

#[test]
fn what_is_unchanged_is_untouched() {
    let kept = listener("kept", "tcp://127.0.0.1:0", "echo", "");
    let gate = Gate::start(&kept);
    let address = gate.address("kept");
    let mut old = gate.connect("kept");
    old.ask("hi", "hi");
    let report = gate.reload(&(listener("new", "tcp://127.0.0.1:0", "echo", "") + &kept));
    assert_eq!((report.plan.unchanged, report.generation), (vec!["kept".to_string()], 2));
    assert_eq!(gate.address("kept"), address, "the kernel has chosen another port");
    let all = gate.supervisor().listeners();
    assert_eq!(all.iter().map(|l| l.generation).collect::<Vec<_>>(), [2, 1]);
    gate.connect("kept").ask("hi", "hi");
    old.ask("hi", "hi");
    // The same text again is no new generation.
    let report = gate.reload_file(false).unwrap();
    assert!(report.plan.is_empty());
    assert_eq!(gate.supervisor().running().generation, 2);
}

#[test]
fn a_listener_is_added_and_removed_and_its_conns_go_on() {
    for bind in ["tcp://127.0.0.1:0", "unix://l.sock"] {
        let kept = listener("kept", "tcp://127.0.0.1:0", "echo", "");
        let gate = Gate::start(&kept);
        gate.reload(&(kept.clone() + &listener("l", bind, "upper", "")));
        let address = gate.address("l");
        let mut open = Stream::to(&address);
        open.ask("hi", "HI");
        gate.reload(&kept);
        eventually("the endpoint is closed", || Stream::try_to(&address).is_err());
        open.ask("still here", "STILL HERE");
        assert!(gate.stats().snapshot().of_listener("l").next().is_none(), "its series go");
        assert_eq!(gate.stats().conns().len(), 1, "its conns are listed");
        open.finish();
        open.is_ended();
        eventually("the conn is gone", || gate.stats().conns().is_empty());
    }
}

#[test]
fn counters_of_a_listener_that_stays_go_on() {
    let gate = Gate::start(&listener("l", "tcp://127.0.0.1:0", "echo", ""));
    gate.connect("l").ask("hi", "hi");
    gate.reload(&listener("l", "tcp://127.0.0.1:0", "upper", ""));
    gate.connect("l").ask("hi", "HI");
    assert_eq!(gate.accepted("l"), 2);
}

#[test]
fn an_open_conn_keeps_its_timeouts() {
    let text = |idle| listener("l", "tcp://127.0.0.1:0", "echo", &format!("timeouts.idle = '{idle}'"));
    let gate = Gate::start(&text("off"));
    let mut patient = gate.connect("l");
    patient.ask("hi", "hi");
    gate.reload(&text("100ms"));
    let mut hasty = gate.connect("l");
    hasty.ask("hi", "hi");
    gate.reload(&text("off"));
    hasty.is_gone();
    assert_eq!(gate.closed("l", CloseReason::Idle), 1);
    during(Duration::from_millis(200), || ());
    patient.ask("still here", "still here");
}

#[test]
fn what_needs_a_restart_is_reported_and_keeps_its_value() {
    let text = listener("l", "unix://l.sock", "echo", "");
    let gate = Gate::start(&text);
    let state = gate.supervisor().running().config.state_dir.clone();
    let report = gate.reload(&format!("state_dir = '/nonexistent/elsewhere'\nruntime.workers = 1\n{text}"));
    assert_eq!(report.plan.restart_required, ["state_dir", "runtime.workers"]);
    let running = gate.supervisor().running();
    assert_eq!((&running.config.state_dir, running.config.runtime.workers), (&state, 0));
    gate.connect("l").ask("hi", "hi");
}

/// A worker of the data plane can be held, so that the kernel queues what comes.
static HELD: (Mutex<Option<bool>>, Condvar) = (Mutex::new(None), Condvar::new());

#[test]
fn what_is_queued_for_a_removed_listener_is_served() {
    let kept = format!("runtime.workers = 1\n{}", listener("h", "tcp://127.0.0.1:0", "holds", ""));
    let leaving = ["tcp://127.0.0.1:0", "unix://l.sock", "udp://127.0.0.1:0", "unixgram://l.dgram"];
    let leaving: String =
        (leaving.iter().enumerate()).map(|(n, bind)| listener(&format!("l{n}"), bind, "echo", "")).collect();
    let gate = Gate::start_with(handlers::builtin().stream::<Holds>(), &(kept.clone() + &leaving));
    let mut holder = gate.connect("h");
    holder.say("hold");
    let held = HELD.1.wait_while(HELD.0.lock().unwrap(), |held| held.is_none()).unwrap();
    drop(held);
    let mut streams: Vec<_> = ["l0", "l1"].iter().cycle().take(20).map(|name| gate.connect(name)).collect();
    streams.iter_mut().for_each(|stream| stream.say("queued"));
    let datagrams = ["l2", "l3"].map(|name| gate.datagrams(name));
    datagrams.iter().for_each(|client| client.send("queued"));
    gate.reload(&kept);
    *HELD.0.lock().unwrap() = Some(false);
    HELD.1.notify_all();
    streams.iter_mut().for_each(|stream| stream.hear("queued"));
    datagrams.iter().for_each(|client| assert_eq!(client.recv(), b"queued"));
    holder.hear("free");
}

/// Holds its thread until it is told otherwise, which no handler should.
struct Holds;

#[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoOptions {}

impl Handler for Holds {
    const NAME: &'static str = "holds";
    const TRANSPORTS: Transports = Transports::STREAMS;
    type Options = NoOptions;

    fn new(_: NoOptions, _: &Context) -> Result<Self, BuildError> {
        Ok(Holds)
    }
}

impl StreamHandler for Holds {
    async fn serve(&self, conn: &mut Conn) -> io::Result<()> {
        conn.read_chunk(16).await?;
        hold();
        conn.write_pair(b"fr", b"ee").await
    }
}

fn hold() {
    *HELD.0.lock().unwrap() = Some(true);
    HELD.1.notify_all();
    drop(HELD.1.wait_while(HELD.0.lock().unwrap(), |held| *held == Some(true)).unwrap());
}
