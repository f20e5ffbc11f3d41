//! How many at once: the listener's limit, the process's, and what a reload makes of them.

use std::io::Read;

use polygate::stats::RejectReason;

use crate::client::Stream;
use crate::harness::{Gate, eventually};

fn text(limits: &str) -> String {
    format!("[listeners.l]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'echo'\nlimits = {{ {limits} }}\n")
}

#[test]
fn by_default_whoever_is_over_the_limit_waits_for_a_place() {
    let gate = Gate::start(&text("max_connections = 1"));
    let mut first = gate.connect("l");
    first.ask("first", "first");
    let mut second = gate.connect("l");
    second.say("second");
    first.ask("still first", "still first");
    assert_eq!(gate.accepted("l"), 1);
    drop(first);
    second.hear("second");
    assert_eq!((gate.accepted("l"), gate.rejected("l", RejectReason::MaxConnections)), (2, 0));
}

#[test]
fn a_listener_may_refuse_what_is_over_the_limit() {
    let gate = Gate::start(&text("max_connections = 1, overload = 'refuse'"));
    let mut first = gate.connect("l");
    first.ask("first", "first");
    gate.connect("l").is_ended();
    first.ask("still first", "still first");
    assert_eq!(gate.rejected("l", RejectReason::MaxConnections), 1);
    drop(first);
    eventually("the place is free", || gate.active("l") == 0);
    gate.connect("l").ask("second", "second");
    assert_eq!(gate.accepted("l"), 3);
}

#[test]
fn a_refused_client_that_has_said_something_gets_fin_and_no_reset() {
    let gate = Gate::start(&text("max_connections = 1, overload = 'refuse'"));
    let mut first = gate.connect("l");
    first.ask("first", "first");
    let mut second = gate.connect("l");
    second.say(vec![b'x'; 10_000]);
    second.is_ended();
}

#[test]
fn a_listener_may_reset_what_is_over_the_limit() {
    let gate = Gate::start(&text("max_connections = 1, overload = 'reset'"));
    let mut first = gate.connect("l");
    first.ask("first", "first");
    Stream::is_reset(&gate.address("l"));
    first.ask("still first", "still first");
    assert_eq!(gate.rejected("l", RejectReason::MaxConnections), 1);
}

#[test]
fn one_place_for_four_endpoints_serves_one_after_the_other() {
    let gate = Gate::start(
        r#"
        [listeners.l]
        bind = ["tcp://127.0.0.1:0", "tcp://127.0.0.1:0", "unix://a.sock", "unix://b.sock"]
        handler = "echo"
        limits = { max_connections = 1, overload = "defer" }
        "#,
    );
    std::thread::scope(|scope| {
        for address in gate.addresses("l").into_iter().cycle().take(8) {
            let gate = &gate;
            scope.spawn(move || {
                for _ in 0..10 {
                    let mut stream = Stream::to(&address);
                    stream.ask("hi", "hi");
                    assert!(gate.active("l") <= 1);
                }
            });
        }
    });
    assert_eq!(gate.accepted("l"), 80);
}

#[test]
fn the_limit_counts_all_endpoints_together() {
    let gate = Gate::start(
        r#"
        [listeners.l]
        bind = ["tcp://127.0.0.1:0", "unix://a.sock"]
        handler = "echo"
        limits = { max_connections = 2, overload = "refuse" }
        "#,
    );
    let [tcp, unix] = gate.addresses("l").try_into().unwrap();
    let (mut one, mut other) = (Stream::to(&tcp), Stream::to(&unix));
    one.ask("tcp", "tcp");
    other.ask("unix", "unix");
    Stream::to(&tcp).is_ended();
    Stream::to(&unix).is_ended();
    assert_eq!(gate.rejected("l", RejectReason::MaxConnections), 2);
}

#[test]
fn the_whole_process_has_a_limit_too() {
    let listener = |name, overload| {
        format!(
            "[listeners.{name}]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'echo'\nlimits.overload = '{overload}'\n"
        )
    };
    let text = |most| {
        let listeners = [listener("a", "defer"), listener("b", "refuse")].concat();
        format!("limits.max_connections = {most}\n{listeners}")
    };
    let gate = Gate::start(&text(1));
    let mut first = gate.connect("a");
    first.ask("first", "first");
    gate.connect("b").is_ended();
    let mut waiting = gate.connect("a");
    waiting.say("second");
    drop(first);
    waiting.hear("second");
    gate.connect("b").is_ended();
    assert_eq!(gate.rejected("b", RejectReason::MaxConnections), 2);
    // More room is there at once, for whoever waits and for whoever comes.
    let mut third = gate.connect("a");
    third.say("third");
    gate.reload(&text(3));
    third.hear("third");
    gate.connect("b").ask("fourth", "fourth");
}

#[test]
fn a_limit_lowered_by_a_reload_kills_nobody_and_admits_nobody() {
    let gate = Gate::start(&text("max_connections = 3, overload = 'refuse'"));
    let mut clients: Vec<Stream> = (0..3).map(|_| gate.connect("l")).collect();
    clients.iter_mut().for_each(|client| client.ask("hi", "hi"));
    gate.reload(&text("max_connections = 1, overload = 'refuse'"));
    for left in (1..=3).rev() {
        clients.iter_mut().for_each(|client| client.ask("still here", "still here"));
        eventually("the others are gone", || gate.active("l") == left);
        gate.connect("l").is_ended();
        clients.pop();
    }
    eventually("all are gone", || gate.active("l") == 0);
    gate.connect("l").ask("there is room", "there is room");
    assert_eq!(gate.rejected("l", RejectReason::MaxConnections), 3);
}

#[test]
fn a_limit_raised_by_a_reload_lets_in_who_waits() {
    let gate = Gate::start(&text("max_connections = 1"));
    let mut first = gate.connect("l");
    first.ask("first", "first");
    let mut second = gate.connect("l");
    second.say("second");
    gate.reload(&text("max_connections = 2"));
    second.hear("second");
    first.ask("first", "first");
}

#[test]
fn a_client_that_waited_and_left_takes_no_place() {
    let gate = Gate::start(&text("max_connections = 1"));
    let mut first = gate.connect("l");
    first.ask("first", "first");
    for _ in 0..5 {
        drop(gate.connect("l"));
    }
    let mut last = gate.connect("l");
    last.say("last");
    drop(first);
    let mut answer = [0; 4];
    last.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"last");
}
