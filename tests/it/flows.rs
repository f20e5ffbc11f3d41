//! Datagrams carried to an upstream: flows, their limits and ends, and what the operator sees of them.

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;

use polygate::stats::CloseReason;
use polygate::supervisor::State;

use crate::client::Datagrams;
use crate::harness::{DEADLINE, Gate, eventually};

/// Somebody who answers nothing by himself.
fn backend() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let at = format!("udp://{}", socket.local_addr().unwrap());
    (socket, at)
}

fn text(to: &str, options: &str, listener: &str) -> String {
    format!(
        "[listeners.l]\nbind = 'udp://127.0.0.1:0'\nhandler = 'f'\n{listener}\n\
         [handlers.f]\ntype = 'forward'\nupstream = 'back'\n{options}\n[upstreams.back]\nto = [{to}]\n"
    )
}

/// What the backend hears, and from where.
#[track_caller]
fn hears(socket: &UdpSocket, expected: &str) -> std::net::SocketAddr {
    let mut bytes = [0; 2048];
    let (n, from) = socket.recv_from(&mut bytes).unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes[..n]), expected);
    from
}

fn counted(gate: &Gate, name: &str, labels: &[&str]) -> u64 {
    let snapshot = gate.stats().snapshot();
    crate::harness::counted(snapshot.of_listener("l"), name, labels)
}

#[test]
fn each_sender_has_a_flow_and_answers_find_their_way_back() {
    let (back, at) = backend();
    let gate = Gate::start(&text(&format!("'{at}'"), "", ""));
    let (one, two) = (gate.datagrams("l"), gate.datagrams("l"));
    one.send("one");
    let first = hears(&back, "one");
    two.send("two");
    let second = hears(&back, "two");
    assert_ne!(first, second, "a socket each");
    back.send_to(b"to two", second).unwrap();
    back.send_to(b"to one", first).unwrap();
    assert_eq!((one.recv(), two.recv()), (b"to one".to_vec(), b"to two".to_vec()));
    one.send("again");
    assert_eq!(hears(&back, "again"), first, "the flow goes on");
    back.send_to(b"", first).unwrap();
    assert_eq!(one.recv(), b"");
    let conns = gate.stats().conns();
    assert_eq!(conns.len(), 2);
    assert!(conns[0].details.iter().any(|(key, value)| *key == "endpoint" && *value == at));
    assert_eq!(
        (counted(&gate, "polygate_flows_created_total", &[]), counted(&gate, "polygate_flows_active", &[])),
        (2, 2)
    );
    assert_eq!(gate.ledger("l").received_bytes, 11);
}

#[test]
fn a_flow_ends_when_nothing_moves() {
    let (back, at) = backend();
    let gate = Gate::start(&text(&format!("'{at}'"), "", "timeouts = { idle = '300ms' }"));
    gate.datagrams("l").send("x");
    hears(&back, "x");
    eventually("it has ended", || counted(&gate, "polygate_flows_expired_total", &["idle"]) == 1);
    assert_eq!((gate.closed("l", CloseReason::Idle), counted(&gate, "polygate_flows_active", &[])), (1, 0));
}

#[test]
fn questions_and_answers_may_be_counted() {
    let (back, at) = backend();
    let gate = Gate::start(&text(&format!("'{at}'"), "responses = 1\nrequests = 2", ""));
    let client = gate.datagrams("l");
    client.send("1");
    let first = hears(&back, "1");
    client.send("2");
    assert_eq!(hears(&back, "2"), first);
    client.send("3");
    let second = hears(&back, "3");
    assert_ne!(first, second, "the third begins another flow");
    back.send_to(b"a", first).unwrap();
    assert_eq!(client.recv(), b"a");
    eventually("the first has ended", || counted(&gate, "polygate_flows_expired_total", &["responses"]) == 1);
    back.send_to(b"b", second).unwrap();
    assert_eq!(client.recv(), b"b");
}

#[test]
fn one_flow_too_many_is_shed_and_the_others_go_on() {
    let (back, at) = backend();
    let gate = Gate::start(&text(&format!("'{at}'"), "max_flows = 1", ""));
    let (one, two) = (gate.datagrams("l"), gate.datagrams("l"));
    one.send("in");
    hears(&back, "in");
    two.send("out");
    eventually("it is dropped", || counted(&gate, "polygate_flows_dropped_total", &["max_flows"]) == 1);
    one.send("on");
    hears(&back, "on");
}

#[test]
fn flows_survive_a_reload_and_a_new_upstream_is_for_new_ones() {
    let ((old, old_at), (new, new_at)) = (backend(), backend());
    let gate = Gate::start(&text(&format!("'{old_at}'"), "", ""));
    let known = gate.datagrams("l");
    known.send("before");
    let from = hears(&old, "before");
    gate.reload(&text(&format!("'{new_at}'"), "", ""));
    known.send("after");
    assert_eq!(hears(&old, "after"), from);
    old.send_to(b"still", from).unwrap();
    assert_eq!(known.recv(), b"still");
    gate.datagrams("l").send("new");
    hears(&new, "new");
}

#[test]
fn a_dead_endpoint_is_ejected_and_the_next_flow_goes_elsewhere() {
    let dead = {
        let (_socket, at) = backend();
        at
    };
    let (back, at) = backend();
    let options = format!("'{dead}', '{at}'");
    let text = text(&options, "", "") + "passive = { failures = 1 }\n";
    let gate = Gate::start(&text);
    // Which one is first is the balance's to say; in the end everybody is answered by the living one.
    let mut reached = 0;
    eventually("the living one is reached three times in a row", || {
        let client = gate.datagrams("l");
        client.send("?");
        back.set_read_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
        let heard = back.recv_from(&mut [0; 16]).is_ok();
        reached = if heard { reached + 1 } else { 0 };
        reached >= 3
    });
}

#[test]
fn a_flow_is_killed_like_a_connection() {
    let (back, at) = backend();
    let gate = Gate::start(&text(&format!("'{at}'"), "", ""));
    let client = gate.datagrams("l");
    client.send("x");
    let first = hears(&back, "x");
    let id = gate.stats().conns()[0].id;
    assert!(gate.supervisor().kill(id));
    eventually("it has ended", || counted(&gate, "polygate_flows_expired_total", &["admin"]) == 1);
    client.send("y");
    assert_ne!(hears(&back, "y"), first);
}

#[test]
fn while_a_listener_drains_known_senders_are_heard_and_no_flow_begins() {
    let (back, at) = backend();
    let gate = Gate::start(&text(&format!("'{at}'"), "responses = 2", ""));
    let (known, stranger) = (gate.datagrams("l"), gate.datagrams("l"));
    known.send("one");
    let flow = hears(&back, "one");
    back.send_to(b"first", flow).unwrap();
    assert_eq!(known.recv(), b"first");
    assert!(gate.supervisor().drain_listener("l", None));
    let id = gate.stats().conns()[0].id;
    eventually("it is asked to finish", || {
        gate.stats().conns().iter().any(|conn| conn.id == id && conn.state == "draining")
    });
    stranger.send("me too");
    eventually("it is refused", || counted(&gate, "polygate_flows_dropped_total", &["draining"]) == 1);
    known.send("two");
    assert_eq!(hears(&back, "two"), flow, "the flow goes on");
    back.send_to(b"second", flow).unwrap();
    assert_eq!(known.recv(), b"second");
    // That was its last answer, and so the end of the drain.
    eventually("it has drained", || gate.supervisor().listeners()[0].state == State::Paused);
    assert!(gate.supervisor().resume("l"));
    eventually("a flow begins again", || {
        stranger.send("later");
        counted(&gate, "polygate_flows_created_total", &[]) == 2
    });
    hears(&back, "later");
}

#[test]
fn while_the_gateway_ends_known_senders_are_heard() {
    let (back, at) = backend();
    let gate = Gate::start(&text(&format!("'{at}'"), "responses = 2", ""));
    let known = gate.datagrams("l");
    known.send("one");
    let flow = hears(&back, "one");
    back.send_to(b"first", flow).unwrap();
    assert_eq!(known.recv(), b"first");
    let drained = std::thread::scope(|scope| {
        let ending = scope.spawn(|| gate.shutdown());
        eventually("it ends", || !gate.supervisor().is_accepting());
        known.send("two");
        assert_eq!(hears(&back, "two"), flow);
        back.send_to(b"second", flow).unwrap();
        assert_eq!(known.recv(), b"second");
        ending.join().unwrap()
    });
    assert_eq!((drained.finished, drained.killed), (1, 0));
}

#[test]
fn unix_datagrams_are_carried_to_unix_datagrams() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("back");
    let back = UnixDatagram::bind(&path).unwrap();
    back.set_read_timeout(Some(DEADLINE)).unwrap();
    let gate = Gate::start(
        &text(&format!("'unixgram://{}'", path.display()), "", "")
            .replace("udp://127.0.0.1:0", "unixgram://l.dgram"),
    );
    let client: Datagrams = gate.datagrams("l");
    client.send("question");
    let mut bytes = [0; 64];
    let (n, from) = back.recv_from(&mut bytes).unwrap();
    assert_eq!(&bytes[..n], b"question");
    back.send_to_addr(b"answer", &from).unwrap();
    assert_eq!(client.recv(), b"answer");
}
