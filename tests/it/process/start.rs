//! How it starts: what it prints, where it finds its configuration, what the log looks like.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use super::{ECHO, FILE, Folder, Gateway, ask};
use crate::client::{Datagrams, Stream};

/// Splits a port, which the kernel chose, off an address.
#[track_caller]
fn without_port(line: &str) -> String {
    let (rest, port) = line.rsplit_once(':').expect("a port");
    assert_ne!(port.parse::<u16>().expect("a port"), 0, "{line}");
    format!("{rest}:PORT")
}

#[test]
fn standard_output_is_what_is_bound_and_ready() {
    let name = crate::harness::unique("start");
    let mut gateway = Gateway::start(&format!(
        "
        [listeners.second]
        bind = ['udp://127.0.0.1:0', 'tcp://127.0.0.1:0']
        handler = 'upper'
        [listeners.first]
        bind = ['unix://run/a.sock', 'unixgram://run/a.dgram', 'unix://@{name}']
        handler = 'echo'
        ",
    ));
    let said = gateway.said();
    let var = gateway.folder().path().join("var/run").display().to_string();
    assert_eq!(said.len(), 7, "{said:?}");
    assert_eq!(without_port(&said[0]), "listening second udp://127.0.0.1:PORT");
    assert_eq!(without_port(&said[1]), "listening second tcp://127.0.0.1:PORT");
    assert_eq!(said[2], format!("listening first unix://{var}/a.sock"));
    assert_eq!(said[3], format!("listening first unixgram://{var}/a.dgram"));
    assert_eq!(said[4], format!("listening first unix://@{name}"));
    assert_eq!(without_port(&said[5]), "admin http://127.0.0.1:PORT");
    assert_eq!(said[6], "ready");
    Datagrams::to(&gateway.addresses("second")[0]).ask("hi", "HI");
    Stream::to(&gateway.addresses("second")[1]).ask("hi", "HI");
    Stream::to(&gateway.addresses("first")[0]).ask("hi", "hi");
    Datagrams::to(&gateway.addresses("first")[1]).ask("hi", "hi");
    Stream::to(&gateway.addresses("first")[2]).ask("hi", "hi");
    assert_eq!(gateway.stop(), 0);
    assert_eq!(gateway.said(), said, "nothing else, whatever happens");
}

#[test]
fn a_name_has_a_line_for_each_of_its_addresses() {
    let gateway = Gateway::start("[listeners.l]\nbind = 'tcp://localhost:0'\nhandler = 'echo'");
    for address in gateway.addresses("l") {
        Stream::to(&address).ask("hi", "hi");
    }
}

/// What every line has, in this order.
const ALWAYS: [&str; 4] = ["timestamp", "level", "target", "message"];

#[track_caller]
fn has_fields(line: &Value, more: &[&str]) {
    let fields: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, [&ALWAYS, more].concat(), "{line}");
    let timestamp = line["timestamp"].as_str().unwrap();
    assert_eq!(timestamp.len(), "2026-11-21T05:09:26.809123Z".len(), "{timestamp}");
    assert!(timestamp.ends_with('Z') && timestamp.as_bytes()[10] == b'T', "{timestamp}");
}

#[test]
fn a_closed_connection_is_a_line_of_flat_json() {
    let mut gateway = Gateway::start(ECHO);
    let mut conn = gateway.connect("echo");
    conn.ask("hello", "hello");
    conn.finish();
    conn.is_ended();
    let closed = gateway.logged("closed", |line| line["message"] == "closed");
    has_fields(
        &closed,
        &[
            "conn",
            "listener",
            "transport",
            "peer",
            "handler",
            "received_bytes",
            "sent_bytes",
            "duration_seconds",
            "reason",
        ],
    );
    assert_eq!((&closed["level"], &closed["target"]), (&"info".into(), &"polygate::conn".into()));
    assert_eq!((&closed["listener"], &closed["handler"]), (&"echo".into(), &"echo".into()));
    assert_eq!((&closed["transport"], &closed["reason"]), (&"tcp".into(), &"client".into()));
    assert_eq!((&closed["received_bytes"], &closed["sent_bytes"]), (&5.into(), &5.into()));
    assert!(closed["conn"].is_u64() && closed["duration_seconds"].as_f64().unwrap() >= 0.0, "{closed}");
    assert!(closed["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{closed}");
    assert_eq!(gateway.stop(), 0);
    let log = gateway.log();
    assert!(log.iter().all(|line| line["message"] != "opened"), "that is for debug");
    assert_eq!(log.iter().filter(|line| line["message"] == "closed").count(), 1);
    assert_eq!(log.last().unwrap()["message"], "stopped", "the last line is not lost");
}

#[test]
fn at_debug_an_opened_connection_is_a_line_too() {
    let gateway = Gateway::start(&format!("log.level = 'polygate::conn=debug'\n{ECHO}"));
    let conn = gateway.connect("echo");
    let opened = gateway.logged("opened", |line| line["message"] == "opened");
    has_fields(&opened, &["conn", "listener", "transport", "peer", "handler"]);
    assert_eq!(opened["level"], "debug");
    drop(conn);
    let closed = gateway.logged("closed", |line| line["message"] == "closed");
    assert_eq!((&opened["conn"], &opened["peer"]), (&closed["conn"], &closed["peer"]));
}

#[test]
fn text_is_for_those_who_ask_for_it() {
    let mut gateway = Gateway::start(&format!("log.format = 'text'\n{ECHO}"));
    gateway.connect("echo").ask("x", "x");
    assert_eq!(gateway.stop(), 0);
    let log = gateway.stderr();
    let closed = log.lines().find(|line| line.contains(" closed ")).expect("a line");
    assert!(
        closed.contains("  INFO polygate::conn: closed conn=1 listener=echo transport=tcp peer="),
        "{closed}"
    );
    assert!(!log.contains('\u{1b}'), "no colours where nobody sees them");
}

/// The configuration that counts has a listener called `this`, every other one is wrong.
#[track_caller]
fn finds(arguments: &[&str], variable: Option<&str>, files: &[&str]) {
    let folder = Folder::new();
    for place in ["config/polygate.toml", "here.toml", "there.toml"] {
        folder.write(place, "wrong = true");
    }
    let text = "admin.bind = 'off'\n[listeners.this]\nbind = 'unix://this.sock'\nhandler = 'echo'\n";
    files.iter().for_each(|file| drop(folder.write(file, text)));
    let mut command = folder.command(arguments);
    if let Some(path) = variable {
        command.env("POLYGATE_CONFIG", path);
    }
    let gateway = Gateway::start_as(folder, command);
    let socket = gateway.folder().path().join("var/this.sock");
    assert_eq!(gateway.said(), [format!("listening this unix://{}", socket.display()), "ready".into()]);
}

#[test]
fn the_configuration_is_what_is_named_else_in_the_usual_places() {
    finds(&["run", "here.toml"], None, &["here.toml"]);
    finds(&["run", "here.toml"], Some("there.toml"), &["here.toml"]);
    finds(&["--config", "here.toml"], Some("there.toml"), &["here.toml"]);
    finds(&["run", "--config", "here.toml"], None, &["here.toml"]);
    finds(&["run"], Some("there.toml"), &["there.toml"]);
    finds(&[], Some("there.toml"), &["there.toml"]);
    finds(&[], Some(""), &["config/polygate.toml"]);
    finds(&[], None, &["config/polygate.toml"]);
    finds(&["run"], None, &["config/polygate.toml"]);
}

#[test]
fn state_goes_where_the_service_manager_says() {
    let folder = Folder::new();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    folder.write(FILE, "admin.bind = 'off'\n[listeners.l]\nbind = 'unix://l.sock'\nhandler = 'echo'");
    let mut command = folder.command(&["run", FILE]);
    command.env("STATE_DIRECTORY", format!("{}:{}", first.display(), second.display()));
    let gateway = Gateway::start_as(folder, command);
    assert_eq!(gateway.address("l"), format!("unix://{}/l.sock", first.display()));
}

#[test]
fn an_admin_api_that_is_off_is_not_announced() {
    let gateway = Gateway::start(&format!("admin.bind = 'off'\n{ECHO}"));
    let said = gateway.said();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("listening echo tcp://127.0.0.1:") && said[1] == "ready", "{said:?}");
}

#[test]
fn the_admin_api_is_on_each_of_its_binds_and_its_node_is_the_owners_alone() {
    let text =
        format!("admin.bind = ['unix://run/admin.sock', 'tcp://127.0.0.1:0', 'tcp://127.0.0.2:0']\n{ECHO}");
    let mut gateway = Gateway::start(&text);
    let node = gateway.folder().path().join("var/run/admin.sock");
    let urls = gateway.said_after("admin");
    assert_eq!(urls.len(), 3, "{urls:?}");
    assert_eq!(urls[0], format!("unix://{}", node.display()));
    assert_eq!(without_port(&urls[1]), "http://127.0.0.1:PORT");
    assert_eq!(without_port(&urls[2]), "http://127.0.0.2:PORT");
    for url in &urls {
        assert_eq!(ask(url, "GET", "/livez", &[], "").body, "ok\n", "{url}");
        let info = ask(url, "GET", "/api/v1/info", &[], "").json();
        assert_eq!(info["admin"], serde_json::json!(urls));
    }
    assert_eq!(node.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    // The first bind is what the commands take when nobody names another.
    let mut command = gateway.folder().command(&["healthcheck", "--config", FILE]);
    command.env_remove("POLYGATE_ADMIN");
    assert_eq!(super::end(command).code, 0);
    assert_eq!(gateway.stop(), 0);
    assert!(!node.exists(), "the node goes with the gateway");
}

#[test]
fn warnings_of_the_configuration_are_in_the_log() {
    let gateway = Gateway::start(&format!("{ECHO}[handlers.spare]\ntype = 'upper'\n"));
    let line = gateway.logged("a warning", |line| line["level"] == "warn");
    let message = line["message"].as_str().unwrap();
    assert!(message.contains("polygate.toml:5:") && message.contains("spare"), "{message}");
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let folder = Folder::new();
    folder.write(FILE, &format!("admin.bind = 'tcp://127.0.0.1:0'\nlog.level = 'debug'\n{ECHO}"));
    let (unread, writer) = std::io::pipe().unwrap();
    let mut command = folder.command(&["run", FILE]);
    command.stderr(writer);
    let mut gateway = Gateway::start_as(folder, command);
    // Two lines of some 200 bytes each: more than the 64 KiB that a pipe holds.
    for _ in 0..300 {
        gateway.connect("echo").ask("x", "x");
    }
    assert_eq!(gateway.get("/readyz").status, 200);
    assert_eq!(gateway.stop(), 0);
    drop(unread);
}
