//! `reload.drain`: how long the connections of an endpoint that left may go on.

use std::time::Duration;

use polygate::stats::CloseReason;

use crate::harness::{Gate, during, eventually};

const STAYS: &str = "[listeners.stays]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'echo'\n";
const GOES: &str = "[listeners.goes]\nbind = ['tcp://127.0.0.1:0', 'unix://goes.sock']\nhandler = 'echo'\n";

#[test]
fn off_lets_them_end_by_themselves() {
    let gate = Gate::start(&format!("{STAYS}{GOES}"));
    let mut open = gate.connect("goes");
    open.ask("one", "one");
    gate.reload(STAYS);
    during(Duration::from_millis(300), || open.ask("more", "more"));
    open.finish();
    open.is_ended();
}

#[test]
fn a_time_ends_those_of_what_left_and_no_others() {
    let gate = Gate::start(&format!("reload.drain = '200ms'\n{STAYS}{GOES}"));
    let (mut stays, mut goes) = (gate.connect("stays"), gate.connect("goes"));
    stays.ask("one", "one");
    goes.ask("one", "one");
    gate.reload(&format!("reload.drain = '200ms'\n{STAYS}"));
    assert_eq!(gate.active("stays"), 1);
    eventually("it is ended", || std::io::Read::read(&mut goes, &mut [0; 8]).is_ok_and(|n| n == 0));
    during(Duration::from_millis(300), || stays.ask("more", "more"));
    assert_eq!(gate.closed("stays", CloseReason::Drain), 0);
}

#[test]
fn one_endpoint_of_a_listener_may_leave() {
    let with =
        |bind: &str| format!("reload.drain = '200ms'\n[listeners.a]\nbind = [{bind}]\nhandler = 'echo'\n");
    let gate = Gate::start(&with("'unix://a.sock', 'unix://b.sock'"));
    let addresses = gate.addresses("a");
    let (mut a, mut b) = (crate::client::Stream::to(&addresses[0]), crate::client::Stream::to(&addresses[1]));
    a.ask("one", "one");
    b.ask("one", "one");
    gate.reload(&with("'unix://a.sock'"));
    eventually("its connection is ended", || gate.closed("a", CloseReason::Drain) == 1);
    a.ask("two", "two");
    b.is_ended();
}

#[test]
fn a_keep_alive_connection_of_what_left_is_told_so() {
    let web = "[listeners.goes]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'http'\n";
    let gate = Gate::start(&format!("{STAYS}{web}"));
    let mut client = gate.connect("goes");
    client.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.recv().contains("200 OK"));
    gate.reload(STAYS);
    // It has half a second for a last request, and is closed in order.
    client.is_ended();
}
