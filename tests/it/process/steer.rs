//! Steering a running gateway over its API and with the command line: pause, drain, shutdown, levels, events.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::{ECHO, Gateway, UPPER};
use crate::harness::eventually;

fn state(gateway: &Gateway) -> String {
    gateway.json("/api/v1/listeners/echo")["state"].as_str().unwrap().to_owned()
}

#[test]
fn a_paused_listener_keeps_its_port_and_whoever_comes_waits() {
    let gateway = Gateway::start(ECHO);
    let mut before = gateway.connect("echo");
    before.ask("hi", "hi");
    assert_eq!(gateway.cli(&["pause", "echo"]).stdout, "echo is paused, with 1 connection\n");
    let mut waits = gateway.connect("echo");
    waits.say("later");
    before.ask("still served", "still served");
    assert_eq!(state(&gateway), "paused");
    assert_eq!(gateway.get("/readyz").status, 200, "the operator wants it so");
    // What is unchanged stays so over a reload, what is changed runs.
    assert_eq!(gateway.cli(&["reload"]).code, 0);
    assert_eq!(state(&gateway), "paused");
    assert_eq!(gateway.cli(&["resume", "echo"]).code, 0);
    waits.hear("later");
    assert_eq!(gateway.ask("POST", "/api/v1/listeners/echo/pause", &[], "").status, 200);
    gateway.write(UPPER);
    assert_eq!(gateway.cli(&["reload"]).code, 0);
    assert_eq!(state(&gateway), "running");
    assert_eq!(gateway.cli(&["pause", "nobody"]).code, 1);
}

#[test]
fn a_listener_drains_within_its_time_and_is_then_paused() {
    let http = "[listeners.echo]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'http'\n[listeners.raw]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'echo'\n";
    let gateway = Gateway::start(http);
    let mut kept = gateway.connect("echo");
    kept.say("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    kept.hear("HTTP/1.1 200 OK\r\n");
    let mut raw = gateway.connect("raw");
    raw.ask("hi", "hi");
    assert_eq!(gateway.cli(&["drain", "echo"]).code, 0);
    // A kept-alive connection ends at once, a raw one when its time is over.
    kept.rest();
    eventually("it is paused", || state(&gateway) == "paused");
    assert_eq!(gateway.cli(&["drain", "raw", "--timeout", "200ms"]).code, 0);
    assert_eq!(gateway.json("/api/v1/listeners/raw")["state"], "draining");
    raw.is_gone();
    assert_eq!(gateway.cli(&["resume", "raw"]).code, 0);
    let mut again = gateway.connect("raw");
    again.ask("on", "on");
    let wrong = gateway.ask(
        "POST",
        "/api/v1/listeners/raw/drain",
        &[("Content-Type", "application/json")],
        r#"{"timeout_seconds": -1}"#,
    );
    assert_eq!(wrong.status, 422);
}

#[test]
fn the_gateway_drains_says_so_and_comes_back() {
    let gateway = Gateway::start(ECHO);
    let mut open = gateway.connect("echo");
    open.ask("hi", "hi");
    assert_eq!(gateway.json("/api/v1/drain")["state"], "running");
    assert_eq!(gateway.cli(&["drain"]).stdout, "the gateway is draining, with 1 connection\n");
    assert_eq!(gateway.get("/readyz").status, 503);
    eventually("it is paused", || state(&gateway) != "running");
    assert_eq!(gateway.json("/api/v1/drain")["state"], "draining");
    open.finish();
    open.is_ended();
    eventually("it has drained", || gateway.json("/api/v1/drain")["state"] == "drained");
    assert_eq!(gateway.get("/livez").status, 200, "it does not end");
    assert_eq!(gateway.cli(&["undrain"]).stdout, "the gateway is running, with 0 connections\n");
    assert_eq!(gateway.get("/readyz").status, 200);
    gateway.connect("echo").ask("again", "again");
}

#[test]
fn the_api_ends_the_gateway_kindly_or_at_once() {
    let mut gateway = Gateway::start(&format!("shutdown.grace = '20s'\n{ECHO}"));
    let mut open = gateway.connect("echo");
    open.ask("hi", "hi");
    assert_eq!(gateway.cli(&["shutdown"]).code, 0);
    eventually("it drains", || {
        gateway.logged("drains", |line| line["target"] == "polygate::lifecycle")["level"] == "info"
    });
    open.finish();
    open.is_ended();
    assert_eq!(gateway.ended(), 0);

    let mut gateway = Gateway::start(&format!("shutdown.grace = '20s'\n{ECHO}"));
    let mut open = gateway.connect("echo");
    open.ask("hi", "hi");
    assert_eq!(gateway.cli(&["shutdown", "--now"]).code, 0);
    open.is_gone();
    assert_eq!(gateway.ended(), 0);
}

#[test]
fn who_follows_hears_what_happens_and_what_was_missed() {
    let gateway = Gateway::start(ECHO);
    gateway.cli(&["pause", "echo"]);
    let mut command = gateway.cli_command(&["events", "--kind", "listener,config,lifecycle,connection"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    eventually("it follows", || {
        gateway.cli(&["reload"]);
        gateway.json("/api/v1/overview")["generation"] == 1
    });
    let mut wait = |what: &str| lines.find(|line| line.contains(what)).unwrap_or_else(|| panic!("no {what}"));
    assert!(wait(" config ").contains("ok=true"));
    gateway.cli(&["resume", "echo"]);
    assert!(wait(" listener ").contains("state=running"));
    drop(gateway.connect("echo"));
    assert!(wait("state=opened").contains("listener=echo"));
    wait("reason=client");
    gateway.write("nonsense = 1");
    assert_eq!(gateway.cli(&["reload"]).code, 78);
    assert!(wait("ok=false").contains("stage=validate"));
    gateway.cli(&["shutdown"]);
    wait("state=draining");
    wait("state=drained");
    wait("state=stopping");
    assert!(child.wait().unwrap().success(), "it ends with the gateway");
}

#[test]
fn events_are_replayed_from_the_last_one_that_was_heard() {
    let gateway = Gateway::start(ECHO);
    gateway.cli(&["pause", "echo"]);
    gateway.cli(&["resume", "echo"]);
    let mut stream = crate::client::Stream::to(&gateway.admin().replace("http://", "tcp://"));
    stream.say("GET /api/v1/events?kind=listener HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: 0\r\n\r\n");
    let mut heard = String::new();
    while !heard.contains("\"state\":\"running\"") {
        heard.push_str(&stream.recv());
    }
    assert!(heard.contains("text/event-stream") && heard.contains("event: listener\ndata: {"), "{heard}");
    assert!(heard.find("paused").unwrap() < heard.find("\"running\"").unwrap());
    assert_eq!(gateway.get("/api/v1/events?kind=nonsense").status, 400);
}

#[test]
fn a_level_holds_for_a_while() {
    let gateway = Gateway::start(ECHO);
    assert_eq!(gateway.cli(&["log-level"]).stdout, "info\n");
    assert!(gateway.cli(&["log-level", "debug", "--for", "300ms"]).stdout.starts_with("debug, for "));
    gateway.connect("echo").ask("hi", "hi");
    gateway.logged("opened", |line| line["message"] == "opened");
    eventually("the configured level is back", || gateway.cli(&["log-level"]).stdout == "info\n");
    assert_eq!(gateway.cli(&["log-level", "loud"]).code, 78);
}

#[test]
fn the_gateway_is_seen_at_a_glance() {
    let gateway = Gateway::start(ECHO);
    let (mut one, mut two) = (gateway.connect("echo"), gateway.connect("echo"));
    one.ask("hello", "hello");
    two.ask("hi", "hi");
    let overview = gateway.json("/api/v1/overview");
    assert_eq!(
        (overview["totals"]["connections_active"].as_u64(), overview["ready"].as_bool()),
        (Some(2), Some(true))
    );
    assert_eq!(overview["rates"].as_array().unwrap().len(), 3);
    let status = gateway.cli(&["status"]).stdout;
    assert!(status.starts_with("running, ready, up ") && status.contains("2 open, 2 accepted"), "{status}");
    let top = gateway.json("/api/v1/connections/top?by=connections");
    assert_eq!((&top["items"][0]["name"], &top["items"][0]["connections"]), (&"127.0.0.1".into(), &2.into()));
    assert!(gateway.cli(&["talkers", "--group", "listener"]).stdout.contains("echo"));
    assert_eq!(gateway.get("/api/v1/connections/top?by=colour").status, 400);
    let types = gateway.json("/api/v1/handlers");
    let echo = types["items"].as_array().unwrap().iter().find(|kind| kind["type"] == "echo").unwrap();
    assert!(echo["options"]["properties"]["prefix"].is_object() && echo["transports"][1] == "udp", "{echo}");
    assert_eq!(gateway.ask("DELETE", "/api/v1/connections", &[], "").status, 400);
    assert_eq!(gateway.cli(&["kill", "--listener", "echo"]).stdout, "2 connections closed\n");
    one.is_gone();
    two.is_gone();
    assert!(gateway.cli(&["completions", "bash"]).stdout.contains("polygate"));
    assert!(gateway.cli(&["man"]).stdout.contains(".TH polygate"));
}

/// What the bus remembers, as lines of JSON.
fn events(gateway: &Gateway, kinds: &str, until: &str) -> String {
    let mut stream = crate::client::Stream::to(&gateway.admin().replace("http://", "tcp://"));
    stream.say(format!(
        "GET /api/v1/events?kind={kinds} HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: 0\r\n\r\n"
    ));
    let mut heard = String::new();
    while !heard.contains(until) {
        let more = stream.recv();
        assert!(!more.is_empty(), "no {until} in {heard}");
        heard.push_str(&more);
    }
    heard
}

#[test]
fn the_bus_tells_of_what_reloads_limits_and_logins_do() {
    let text = |name: &str, more: &str| {
        format!(
            "[listeners.{name}]\nbind = 'udp://127.0.0.1:0'\nhandler = 'echo'\ndatagrams = {{ rate = 1, burst = 1, trusted = [] }}\n\
             [listeners.few]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'echo'\nlimits.accept_total = 1\n\
             [listeners.drop]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'json-ftp'\n{more}"
        )
    };
    let gateway = Gateway::start(&text("one", ""));
    let first = events(&gateway, "lifecycle", "}\n\n");
    assert!(first.contains(r#""state":"running""#), "{first}");

    let udp = crate::client::Datagrams::to(&gateway.address("one"));
    (0..3).for_each(|_| udp.send("a"));
    let limit = events(&gateway, "limit", "}\n\n");
    assert!(limit.contains(r#""reason":"rate""#) && limit.contains(r#""transport":"udp""#), "{limit}");

    drop(gateway.connect("few"));
    let stopped = events(&gateway, "listener", "stopped");
    assert!(stopped.contains(r#"{"listener":"few","state":"stopped""#), "{stopped}");

    gateway.write(&text("two", "timeouts.idle = '9s'\n"));
    assert_eq!(gateway.cli(&["reload"]).code, 0);
    let changes = events(&gateway, "listener", "removed");
    for part in [
        r#""listener":"two","change":"added""#,
        r#""listener":"drop","change":"changed""#,
        r#""timeouts.idle""#,
        r#""listener":"one","change":"removed""#,
    ] {
        assert!(changes.contains(part), "{part} in {changes}");
    }

    let ann = r#"{"name":"ann","password":"sesame"}"#;
    let json = [("Content-Type", "application/json")];
    assert_eq!(gateway.ask("POST", "/api/v1/accounts", &json, ann).status, 201);
    let mut client = gateway.connect("drop");
    client.hear("欢迎使用... ");
    client.ask(r#"{"cmd":"check_user","username":"ann","password":"wrong"}"#, "密码错误");
    client.ask(r#"{"cmd":"check_user","username":"ann","password":"sesame"}"#, "登陆成功");
    client.ask(r#"{"cmd":"put","filename":"a","filesize":2}hi{"cmd":"get","filename":"a"}"#, "Start2");
    client.ask("Start", "hi");
    let told = events(&gateway, "login,transfer", "download");
    for part in [r#""reason":"credentials""#, r#""method":"password""#, r#""kind":"upload""#, r#""bytes":2"#]
    {
        assert!(told.contains(part), "{part} in {told}");
    }
}

#[test]
fn connections_are_watched_until_nobody_reads_or_the_gateway_has_gone() {
    let mut gateway = Gateway::start(ECHO);
    let mut open = gateway.connect("echo");
    open.ask("hi", "hi");
    let watch = ["connections", "--watch", "--interval", "100ms", "--transport", "tcp"];
    let mut child = gateway.cli_command(&watch).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut tables = 0;
    while tables < 3 {
        tables += usize::from(lines.next().unwrap().starts_with("ID  LISTENER"));
    }
    // Its pipe is closed.
    drop(lines);
    assert!(child.wait().unwrap().success(), "nobody reads");

    let mut child = gateway.cli_command(&watch).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().starts_with("20"), "the time");
    gateway.cli(&["shutdown", "--now"]);
    assert_eq!(gateway.ended(), 0);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(69));
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("the gateway has gone: cannot reach the admin API at http://"), "{said}");
}

#[test]
fn a_signal_ends_watching_without_a_word() {
    let gateway = Gateway::start(ECHO);
    let mut child = gateway.cli_command(&["connections", "--watch", "-o", "json"]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap()["total"], 0);
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT)
        .unwrap();
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), b"".as_slice()));
}

#[test]
fn kills_are_counted_for_programs_and_chosen_by_transport() {
    let gateway = Gateway::start(ECHO);
    let mut one = gateway.connect("echo");
    one.ask("hi", "hi");
    assert_eq!(gateway.cli(&["kill", "--transport", "unix", "-o", "json"]).stdout.trim(), r#"{"closed":0}"#);
    assert_eq!(gateway.cli(&["kill", "--transport", "tcp", "-o", "json"]).stdout.trim(), r#"{"closed":1}"#);
    one.is_gone();
    let mut two = gateway.connect("echo");
    two.ask("hi", "hi");
    let id = gateway.json("/api/v1/connections")["items"][0]["id"].to_string();
    assert_eq!(gateway.cli(&["kill", &id, "-o", "json"]).stdout, "{\"closed\":1}\n");
    two.is_gone();
}

#[test]
fn the_screen_is_printed_once_for_scripts() {
    let gateway = Gateway::start(ECHO);
    let mut open = gateway.connect("echo");
    open.ask("hello", "hello");
    gateway.has_sent("echo", 5);
    gateway.cli(&["pause", "echo"]);
    // Standard output is no terminal, so --once goes without saying.
    for arguments in [&["top", "--once", "--interval", "100ms"][..], &["top", "--interval", "100ms"]] {
        let ended = gateway.cli(arguments);
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
        let lines: Vec<&str> = ended.stdout.lines().collect();
        assert!(lines[0].starts_with("polygate running"), "{lines:#?}");
        assert!(lines[1].starts_with("connections 1 open, 1 accepted"), "{lines:#?}");
        let row = |word: &str| {
            let at = lines.iter().position(|line| line.split_whitespace().nth(1) == Some(word)).unwrap();
            lines[at + 1].split_whitespace().collect::<Vec<_>>()
        };
        assert_eq!(row("STATE")[..3], ["echo", "paused", "1"]);
        let conn = row("LISTENER");
        assert_eq!((conn[1], &conn[7..]), ("echo", &["5B", "5B", "open", "tcp"][..]), "{conn:?}");
        assert!(!ended.stdout.contains('\x1b'), "no colours");
    }
    assert!(
        gateway.cli(&["top", "--color", "always", "--interval", "100ms"]).stdout.contains("\x1b[1mLISTENER")
    );
    let nobody = gateway.cli(&["top", "--admin", "http://127.0.0.1:1"]);
    assert_eq!((nobody.code, nobody.stdout.as_str()), (69, ""));
}
