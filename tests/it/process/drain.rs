//! Drains and the end: what one of them leaves to the next, and that neither loses anything under load.

use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{ECHO, Gateway};
use crate::client::Stream;
use crate::harness::{during, eventually};

fn state(gateway: &Gateway, listener: &str) -> String {
    gateway.json(&format!("/api/v1/listeners/{listener}"))["state"].as_str().unwrap().to_owned()
}

#[test]
fn a_reload_does_not_open_what_a_drain_has_closed() {
    let gateway = Gateway::start(ECHO);
    let port = gateway.address("echo").replace("tcp://", "");
    gateway.cli(&["drain"]);
    eventually("it has drained", || gateway.json("/api/v1/drain")["state"] == "drained");
    gateway.write(&format!(
        "[listeners.echo]\nbind = 'tcp://{port}'\nhandler = 'upper'\n[listeners.new]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'echo'\n"
    ));
    assert_eq!(gateway.cli(&["reload"]).code, 0);
    assert_eq!((state(&gateway, "echo"), state(&gateway, "new")), ("paused".into(), "paused".into()));
    let new = gateway.json("/api/v1/listeners/new")["endpoints"][0]["address"].as_str().unwrap().to_owned();
    let (mut one, mut two) = (gateway.connect("echo"), Stream::to(&new));
    one.say("waits");
    two.say("waits");
    during(Duration::from_millis(100), || {
        assert_eq!(gateway.json("/api/v1/overview")["totals"]["connections_active"], 0);
    });
    assert_eq!(gateway.json("/api/v1/drain")["accepting"], false);
    assert_eq!(gateway.cli(&["undrain"]).code, 0);
    one.hear("WAITS");
    two.hear("waits");
    assert_eq!(gateway.json("/api/v1/drain")["accepting"], true);
}

#[test]
fn what_the_operator_has_paused_stays_so_over_a_drain() {
    let gateway = Gateway::start(ECHO);
    gateway.cli(&["pause", "echo"]);
    gateway.cli(&["drain"]);
    eventually("it has drained", || gateway.json("/api/v1/drain")["state"] == "drained");
    gateway.cli(&["undrain"]);
    assert_eq!(state(&gateway, "echo"), "paused");
    assert_eq!(gateway.get("/readyz").status, 200);
}

#[test]
fn a_drain_that_something_follows_kills_nobody() {
    let gateway = Gateway::start(ECHO);
    let mut open = gateway.connect("echo");
    open.ask("hi", "hi");
    assert_eq!(gateway.cli(&["drain", "echo", "--timeout", "300ms"]).code, 0);
    assert_eq!(gateway.cli(&["resume", "echo"]).code, 0);
    let mut later = gateway.connect("echo");
    later.ask("hi", "hi");
    assert_eq!(gateway.cli(&["drain", "echo"]).code, 0);
    during(Duration::from_millis(500), || {
        open.ask("still", "still");
        later.ask("here", "here");
    });
    assert_eq!(state(&gateway, "echo"), "draining");
    drop((open, later));
    eventually("it is paused", || state(&gateway, "echo") == "paused");
}

#[test]
fn an_end_is_not_taken_back_but_can_be_hurried() {
    let mut gateway = Gateway::start(&format!("shutdown.grace = '60s'\n{ECHO}"));
    let mut open = gateway.connect("echo");
    open.ask("hi", "hi");
    gateway.cli(&["drain"]);
    assert_eq!(gateway.cli(&["shutdown"]).code, 0);
    let drain = gateway.json("/api/v1/drain");
    assert_eq!((&drain["ending"], &drain["state"]), (&"graceful".into(), &"draining".into()));
    assert!(drain["since"].as_str().unwrap().ends_with('Z'), "{drain}");
    let refused = gateway.cli(&["undrain"]);
    assert!(refused.code != 0 && refused.stderr.contains("shutting down"), "{}", refused.stderr);
    open.ask("still served", "still served");
    // Asked once more it is not made slower.
    assert_eq!(gateway.cli(&["shutdown", "--now"]).code, 0);
    open.is_gone();
    assert_eq!(gateway.ended(), 0);
}

#[test]
fn the_first_signal_after_the_api_has_asked_for_the_end_changes_nothing() {
    let mut gateway = Gateway::start(&format!("shutdown.grace = '60s'\n{ECHO}"));
    let mut open = gateway.connect("echo");
    open.ask("hi", "hi");
    assert_eq!(gateway.cli(&["shutdown"]).code, 0);
    gateway.signal(Signal::TERM);
    gateway.logged("it drains already", |line| line["message"] == "draining already");
    open.ask("still served", "still served");
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.ended(), 1, "the second signal waits for nobody");
}

#[test]
fn a_shutdown_in_a_drain_waits_for_the_rest_of_the_delay() {
    let mut gateway = Gateway::start(&format!("shutdown = {{ delay = '60s', grace = '60s' }}\n{ECHO}"));
    gateway.cli(&["drain"]);
    gateway.cli(&["shutdown"]);
    // It says so, and still takes whoever has not heard of it.
    gateway.connect("echo").ask("hi", "hi");
    assert_eq!(gateway.get("/readyz").status, 503);
    assert_eq!(gateway.json("/api/v1/drain")["accepting"], true);
    gateway.cli(&["shutdown", "--now"]);
    assert_eq!(gateway.ended(), 0);
}

const LOADED: &str = "
shutdown = { delay = '100ms', grace = '20s' }
[listeners.http]
bind = ['tcp://127.0.0.1:0', 'unix://http.sock']
handler = 'http'
[listeners.echo]
bind = 'tcp://127.0.0.1:0'
handler = 'echo'
";

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Clients of which each gets an answer to every request that reaches the gateway. One that is told to go comes again; a
/// request may cross the end of a connection that was idle (RFC 9112, 9.5), and is then sent on another.
struct Load {
    over: AtomicBool,
    answered: AtomicU64,
}

impl Load {
    /// Asks on one connection until it is told to go. False: nobody is there any more.
    fn http(&self, address: &str) -> bool {
        let Ok(mut stream) = Stream::try_to(address) else { return false };
        for number in 0.. {
            let mut answer = Vec::new();
            if stream.write_all(REQUEST.as_bytes()).is_ok() {
                let mut part = [0; 4096];
                while !answer.ends_with(b"Hello, World\n") {
                    match stream.read(&mut part) {
                        Ok(n @ 1..) => answer.extend_from_slice(&part[..n]),
                        _ => break,
                    }
                }
            }
            let answer = String::from_utf8(answer).unwrap();
            if answer.is_empty() && number > 0 {
                return true;
            }
            assert!(answer.ends_with("Hello, World\n"), "request {number} got {answer:?}");
            self.answered.fetch_add(1, SeqCst);
            if answer.contains("onnection: close") || self.over.load(SeqCst) {
                return true;
            }
        }
        true
    }
}

#[test]
fn no_request_is_lost_in_drains_and_an_end_under_load() {
    let mut gateway = Gateway::start(LOADED);
    let addresses = gateway.addresses("http");
    let load = Load { over: AtomicBool::new(false), answered: AtomicU64::new(0) };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..6)
            .map(|number| {
                let (load, address) = (&load, &addresses[number % addresses.len()]);
                scope.spawn(move || while load.http(address) && !load.over.load(SeqCst) {})
            })
            .collect();
        let answered = |more: u64| {
            let seen = load.answered.load(SeqCst);
            eventually("requests are answered", || load.answered.load(SeqCst) >= seen + more);
        };
        answered(50);
        for _ in 0..10 {
            assert_eq!(gateway.ask("POST", "/api/v1/listeners/http/drain", &[], "").status, 202);
            eventually("it is paused", || state(&gateway, "http") == "paused");
            assert_eq!(gateway.ask("POST", "/api/v1/listeners/http/resume", &[], "").status, 200);
            answered(20);
        }
        for _ in 0..3 {
            assert_eq!(gateway.ask("POST", "/api/v1/drain", &[], "").status, 202);
            eventually("it has drained", || gateway.json("/api/v1/drain")["state"] == "drained");
            assert_eq!(gateway.ask("DELETE", "/api/v1/drain", &[], "").status, 200);
            answered(20);
        }
        let metrics = gateway.get("/metrics").body;
        assert!(!metrics.contains("reason=\"panic\"} 1"));
        gateway.cli(&["shutdown"]);
        let began = Instant::now();
        assert_eq!(gateway.ended(), 0);
        assert!(began.elapsed() < Duration::from_secs(20), "nobody was waited for until the grace was over");
        for client in clients {
            client.join().expect("no request was lost");
        }
    });
    let stopped = gateway.logged("it has stopped", |line| line["message"] == "stopped");
    assert_eq!(stopped["killed"], 0, "{stopped}");
}
