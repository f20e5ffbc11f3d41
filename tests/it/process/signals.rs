//! SIGHUP reloads, SIGTERM drains.

use std::net::TcpListener;

use rustix::process::Signal;

use super::scrape::Scrape;
use super::{ECHO, FILE, Gateway, UPPER};
use crate::client::Stream;
use crate::harness::eventually;

/// Asks for a reload by signal and waits until it has been done.
#[track_caller]
fn hang_up(gateway: &Gateway) -> Scrape {
    let asked = |scrape: &Scrape| scrape.sum("polygate_config_reloads_total", &[("trigger", "signal")]);
    let lines = |gateway: &Gateway| {
        let log = gateway.log();
        let ends = log.iter().filter(|line| line["trigger"] == "signal");
        ends.count()
    };
    let (before, logged) = (asked(&Scrape::of(gateway)).unwrap(), lines(gateway));
    gateway.signal(Signal::HUP);
    eventually("the reload has been tried", || lines(gateway) > logged);
    let after = Scrape::of(gateway);
    assert_eq!(asked(&after), Some(before + 1.0));
    after
}

#[test]
fn sighup_takes_the_new_handler_to_the_same_port_and_leaves_who_is_there() {
    let gateway = Gateway::start(ECHO);
    let mut old = gateway.connect("echo");
    old.ask("hello", "hello");
    gateway.write(UPPER);
    let scrape = hang_up(&gateway);
    assert_eq!(scrape.sum("polygate_config_last_reload_successful", &[]), Some(1.0));
    gateway.connect("echo").ask("hello", "HELLO");
    old.ask("hello", "hello");
    let reloaded = gateway.logged("the reload", |line| line["trigger"] == "signal");
    assert_eq!(reloaded["message"], "reloaded: changed echo");
    assert_eq!((&reloaded["generation"], &reloaded["level"]), (&2.into(), &"info".into()));
}

/// A file that cannot be taken over changes nothing, is counted at its stage, and a good one repairs it.
#[track_caller]
fn fails(stage: &str, spoil: impl FnOnce(&Gateway), findings: &[&str]) {
    let gateway = Gateway::start(ECHO);
    let mut open = gateway.connect("echo");
    spoil(&gateway);
    let scrape = hang_up(&gateway);
    for each in ["read", "parse", "validate", "build", "bind"] {
        let labels = [("trigger", "signal"), ("stage", each)];
        let count = scrape.sum("polygate_config_reload_failures_total", &labels);
        assert_eq!(count, Some(f64::from(u8::from(each == stage))), "{each}");
    }
    assert_eq!(scrape.sum("polygate_config_reload_failures_total", &[]), Some(1.0));
    assert_eq!(scrape.sum("polygate_config_last_reload_successful", &[]), Some(0.0));
    let log = gateway.log();
    let errors: Vec<_> = log.iter().filter(|line| line["level"] == "error").collect();
    let (last, rest) = errors.split_last().expect("an error in the log");
    assert_eq!((&last["trigger"], &last["stage"]), (&"signal".into(), &stage.into()), "{last}");
    let messages: Vec<_> = rest.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(messages.len(), findings.len(), "{messages:?}");
    for (message, finding) in messages.iter().zip(findings) {
        assert!(message.starts_with(finding), "not {finding:?}: {message}");
    }
    assert_eq!(gateway.json("/api/v1/info")["generation"], 1);
    open.ask("open", "open");
    gateway.connect("echo").ask("new", "new");
    gateway.write(UPPER);
    let scrape = hang_up(&gateway);
    assert_eq!(scrape.sum("polygate_config_last_reload_successful", &[]), Some(1.0));
    gateway.connect("echo").ask("new", "NEW");
    open.ask("open", "open");
}

#[test]
fn every_finding_of_a_broken_file_is_in_the_log_with_its_place() {
    let text = "[listeners.echo]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'ecko'\nlimts = 1\n";
    let findings = [
        "polygate.toml:4:11: error: there is no handler `ecko` (did you mean `echo`?)",
        "polygate.toml:5:1: error: unknown key `limts` (did you mean `limits`?)",
    ];
    fails("validate", |gateway| gateway.write(text), &findings);
}

#[test]
fn a_file_that_is_half_written_is_not_taken() {
    let half = &ECHO[..ECHO.len() - 4];
    fails("parse", |gateway| gateway.write(half), &["polygate.toml:4:"]);
}

#[test]
fn a_file_that_is_gone_is_not_taken() {
    fails("read", |gateway| std::fs::remove_file(gateway.folder().path().join(FILE)).unwrap(), &[]);
}

#[test]
fn a_port_in_use_leaves_everything_as_it_was() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken =
        format!("{UPPER}[listeners.b]\nbind = 'tcp://{}'\nhandler = 'echo'", held.local_addr().unwrap());
    fails("bind", |gateway| gateway.write(&taken), &[]);
}

#[test]
fn the_level_of_the_log_follows_the_file() {
    let gateway = Gateway::start(ECHO);
    gateway.write(&format!("log.level = 'debug'\n{ECHO}"));
    hang_up(&gateway);
    eventually("debug is on", || {
        gateway.connect("echo").ask("x", "x");
        gateway.log().iter().any(|line| line["message"] == "opened")
    });
}

#[test]
fn sigterm_closes_ports_and_nodes_and_lets_connections_finish() {
    let mut gateway = Gateway::start(
        "shutdown.grace = '1h'\n[listeners.l]\nhandler = 'echo'
        bind = ['tcp://127.0.0.1:0', 'unix://l.sock', 'unixgram://l.dgram', 'udp://127.0.0.1:0']",
    );
    let var = gateway.folder().path().join("var");
    let mut open = gateway.connect("l");
    open.ask("x", "x");
    assert!(var.join("l.sock").exists() && var.join("l.dgram").exists());
    gateway.signal(Signal::TERM);
    eventually("the nodes are gone", || !var.join("l.sock").exists() && !var.join("l.dgram").exists());
    // Bound and not connected to: a connection would be one more to wait for.
    let port = gateway.address("l").replace("tcp://", "");
    eventually("the port is closed", || TcpListener::bind(&port).is_ok());
    let udp = gateway.addresses("l")[3].replace("udp://", "");
    eventually("the UDP port is closed", || std::net::UdpSocket::bind(&udp).is_ok());
    assert_eq!(gateway.get("/readyz").status, 503, "the admin API still answers");
    assert_eq!(gateway.get("/livez").status, 200);
    assert_eq!(gateway.json("/api/v1/connections")["total"], 1);
    open.ask("still", "still");
    open.finish();
    open.is_ended();
    assert_eq!(gateway.ended(), 0);
    let stopped = gateway.log().into_iter().find(|line| line["message"] == "stopped").unwrap();
    assert_eq!((&stopped["finished"], &stopped["killed"]), (&1.into(), &0.into()));
    assert_eq!(var.read_dir().unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn during_the_delay_it_is_not_ready_but_still_accepts() {
    let mut gateway = Gateway::start(&format!("shutdown.delay = '1h'\n{ECHO}"));
    assert_eq!(gateway.get("/readyz").status, 200);
    gateway.signal(Signal::TERM);
    eventually("not ready", || gateway.get("/readyz").status == 503);
    gateway.connect("echo").ask("hello", "hello");
    let verbose = gateway.get("/readyz?verbose");
    assert_eq!(
        (verbose.status, verbose.body.as_str()),
        (503, "fail drain the gateway drains\nok echo\nnot ready\n")
    );
    assert_eq!(gateway.get("/livez").status, 200);
    assert_eq!(gateway.cli(&["healthcheck"]).code, 0);
    let ended = gateway.cli(&["healthcheck", "--ready"]);
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("fail drain"), "{ended:?}");
    let scrape = Scrape::of(&gateway);
    assert_eq!(scrape.sum("polygate_ready", &[]), Some(0.0));
    assert_eq!(scrape.sum("polygate_draining", &[]), Some(1.0));
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.ended(), 1);
}

#[test]
fn after_the_delay_it_ends() {
    let mut gateway = Gateway::start(&format!("shutdown.delay = '50ms'\n{ECHO}"));
    assert_eq!(gateway.stop(), 0);
    assert!(Stream::try_to(&gateway.address("echo")).is_err());
}

#[test]
fn sighup_while_it_drains_changes_nothing() {
    let mut gateway = Gateway::start(&format!("shutdown.grace = '1h'\n{ECHO}"));
    let mut open = gateway.connect("echo");
    open.ask("x", "x");
    gateway.signal(Signal::TERM);
    gateway.logged("it drains", |line| line["message"] == "draining");
    gateway.write(UPPER);
    gateway.signal(Signal::HUP);
    gateway.logged("it refuses", |line| line["message"].as_str().unwrap().contains("shutting down"));
    open.ask("x", "x");
    drop(open);
    assert_eq!(gateway.ended(), 0);
}
