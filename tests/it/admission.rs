//! Who may come, how often and how many in all: per address, `allow` and `deny`, `accept_rate`, `accept_total`.

use std::io::ErrorKind;
use std::time::Instant;

use polygate::stats::{DatagramDrop, RejectReason};
use polygate::supervisor::State;

use crate::client::{Datagrams, Stream};
use crate::harness::{Gate, eventually, free_port};

fn text(keys: &str) -> String {
    format!("[listeners.l]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'echo'\n{keys}\n")
}

#[test]
fn one_address_has_so_many_and_another_its_own() {
    let gate = Gate::start(&text("limits.max_connections_per_ip = 2"));
    let address = gate.address("l");
    let mut two = [Stream::from("127.0.0.1", &address), Stream::from("127.0.0.1", &address)];
    two.iter_mut().for_each(|client| client.ask("hi", "hi"));
    Stream::from("127.0.0.1", &address).is_ended();
    Stream::from("127.0.0.2", &address).ask("hi", "hi");
    assert_eq!(gate.rejected("l", RejectReason::PerIp), 1);
    drop(two);
    eventually("they are gone", || gate.active("l") == 0);
    Stream::from("127.0.0.1", &address).ask("hi", "hi");
}

#[test]
fn loopback_is_exempt_unless_the_limit_is_written() {
    // The default is a thousand; more are let in where all of them come from here.
    let gate = Gate::start(&text("limits.max_connections = 1_100"));
    let mut clients: Vec<Stream> = (0..1_001).map(|_| gate.connect("l")).collect();
    clients.iter_mut().for_each(|client| client.ask("hi", "hi"));
    assert_eq!(gate.rejected("l", RejectReason::PerIp), 0);
}

#[test]
fn over_the_per_address_limit_a_reset_is_sent_where_it_is_asked_for() {
    let gate = Gate::start(&text("limits = { max_connections_per_ip = 1, overload = 'reset' }"));
    let mut first = gate.connect("l");
    first.ask("hi", "hi");
    Stream::is_reset(&gate.address("l"));
    assert_eq!(gate.rejected("l", RejectReason::PerIp), 1);
}

#[test]
fn on_unix_sockets_a_user_has_so_many() {
    let gate = Gate::start(
        "[listeners.l]\nbind = ['unix://a.sock', 'unix://b.sock']\nhandler = 'echo'\nlimits.max_connections_per_ip = 2",
    );
    let [a, b] = gate.addresses("l").try_into().unwrap();
    let mut two = [Stream::to(&a), Stream::to(&b)];
    two.iter_mut().for_each(|client| client.ask("hi", "hi"));
    Stream::to(&b).is_ended();
    assert_eq!(gate.rejected("l", RejectReason::PerIp), 1);
}

#[test]
fn allow_and_deny_let_in_whom_they_name() {
    for (keys, let_in, turned_away) in [
        ("allow = ['127.0.0.2']", "127.0.0.2", "127.0.0.1"),
        ("deny = ['127.0.0.2']", "127.0.0.1", "127.0.0.2"),
        // Deny is looked at first.
        ("allow = ['127.0.0.0/8']\ndeny = ['127.0.0.2/31']", "127.0.0.1", "127.0.0.3"),
    ] {
        let gate = Gate::start(&text(keys));
        let address = gate.address("l");
        Stream::from(turned_away, &address).is_ended();
        Stream::from(let_in, &address).ask("hi", "hi");
        assert_eq!(gate.rejected("l", RejectReason::Acl), 1, "{keys}");
    }
}

#[test]
fn unix_peers_pass_allow() {
    let gate = Gate::start(
        "[listeners.l]\nbind = ['unix://a.sock', 'tcp://127.0.0.1:0']\nhandler = 'echo'\nallow = ['10.0.0.0/8']",
    );
    gate.connect("l").ask("hi", "hi");
    Stream::to(&gate.addresses("l")[1]).is_ended();
}

#[test]
fn a_reload_changes_who_may_come() {
    let gate = Gate::start(&text(""));
    let mut first = gate.connect("l");
    first.ask("hi", "hi");
    gate.reload(&text("deny = ['127.0.0.0/8']"));
    gate.connect("l").is_ended();
    first.ask("still here", "still here");
}

#[test]
fn over_the_accept_rate_clients_are_refused() {
    let gate = Gate::start(&text("limits.accept_rate = 2"));
    let start = Instant::now();
    let mut served = 0;
    for _ in 0..10 {
        let mut client = gate.connect("l");
        client.finish();
        served += u64::from(client.rest().is_empty());
    }
    assert_eq!(served, 10, "every one ends in order");
    eventually("all are gone", || gate.active("l") == 0);
    let refused = gate.rejected("l", RejectReason::Rate);
    // Two at once, and two more for each second that passes on a busy machine.
    let let_in = 10 - refused;
    assert!((2..=3 + 2 * start.elapsed().as_secs()).contains(&let_in), "{let_in}");
}

#[test]
fn after_accept_total_the_port_is_closed_and_the_gateway_can_end() {
    let gate = Gate::start(&text("limits.accept_total = 2"));
    let address = gate.address("l");
    let mut first = gate.connect("l");
    let mut second = gate.connect("l");
    first.ask("first", "first");
    second.ask("second", "second");
    eventually("the port is closed", || {
        Stream::try_to(&address).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
    assert_eq!(gate.supervisor().listeners()[0].state, State::Stopped);
    // It is ready all the same: it has done what it was asked to.
    assert!(gate.supervisor().readiness().iter().all(|(_, up)| up.is_ok()));
    first.ask("first", "first");
    drop((first, second));
    gate.stopped();
}

#[test]
fn accept_total_counts_all_endpoints_and_removes_unix_nodes() {
    let gate = Gate::start(
        r#"
        [listeners.l]
        bind = ["unix://a.sock", "tcp://127.0.0.1:0", "unixgram://l.dgram"]
        handler = "echo"
        limits.accept_total = 3
        "#,
    );
    let [unix, tcp, datagram] = gate.addresses("l").try_into().unwrap();
    Stream::to(&unix).ask("1", "1");
    Datagrams::to(&datagram).ask("2", "2");
    Stream::to(&tcp).ask("3", "3");
    eventually("the ports are closed", || Stream::try_to(&tcp).is_err());
    eventually("the nodes are gone", || !gate.folder().join("a.sock").exists());
    eventually("the nodes are gone", || !gate.folder().join("l.dgram").exists());
    gate.stopped();
}

#[test]
fn datagrams_are_answered_up_to_accept_total() {
    let gate =
        Gate::start("[listeners.l]\nbind = 'udp://127.0.0.1:0'\nhandler = 'echo'\nlimits.accept_total = 3");
    let client = gate.datagrams("l");
    for _ in 0..3 {
        client.ask("hi", "hi");
    }
    gate.stopped();
    eventually("the last answer is counted", || gate.ledger("l").datagrams.sent == 3);
    assert_eq!(gate.dropped("l", DatagramDrop::Rate), 0);
}

#[test]
fn a_stopped_listener_stays_so_until_it_is_changed() {
    let port = free_port();
    let text = |extra: &str, total| {
        format!(
            "[listeners.l]\nbind = 'tcp://127.0.0.1:{port}'\nhandler = 'echo'\nlimits.accept_total = {total}\n{extra}"
        )
    };
    let gate = Gate::start(&text("", 1));
    let address = gate.address("l");
    Stream::to(&address).ask("1", "1");
    gate.stopped();
    gate.reload(&text("[listeners.other]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'echo'", 1));
    assert!(Stream::try_to(&address).is_err());
    gate.reload(&text("", 2));
    for _ in 0..2 {
        Stream::to(&address).ask("again", "again");
    }
    gate.stopped();
}

#[test]
fn the_port_of_a_stopped_listener_is_free_for_one_of_another_name() {
    let port = free_port();
    let text = |name, total| {
        format!(
            "[listeners.{name}]\nbind = 'tcp://127.0.0.1:{port}'\nhandler = 'echo'\nlimits.accept_total = {total}"
        )
    };
    let gate = Gate::start(&text("old", 1));
    gate.connect("old").ask("1", "1");
    gate.stopped();
    gate.reload(&text("new", 0));
    gate.connect("new").ask("2", "2");
}
