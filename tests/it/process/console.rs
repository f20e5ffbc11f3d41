//! The operator's console: what clients hear, and what operators see over the API and in the terminal.

use std::io::{Read as _, Write as _};
use std::process::Stdio;

use serde_json::{Value, json};

use super::http::connect;
use super::{Gateway, Running};
use crate::client::{Datagrams, Stream};
use crate::harness::eventually;

const CONSOLE: &str = "
[listeners.chat]
bind = ['tcp://127.0.0.1:0', 'unix://chat.sock']
handler = 'console'
";

const JSON: (&str, &str) = ("Content-Type", "application/json");

fn conversations(gateway: &Gateway, query: &str) -> Vec<Value> {
    gateway.json(&format!("/api/v1/consoles{query}"))["items"].as_array().unwrap().clone()
}

/// The number of the newest conversation, once it has that many entries.
fn with_entries(gateway: &Gateway, entries: u64) -> u64 {
    let mut found = None;
    eventually("the client is heard", || {
        let all = conversations(gateway, "");
        let newest = all.last().filter(|newest| newest["entries_total"] == entries);
        found = newest.and_then(|newest| newest["id"].as_u64());
        found.is_some()
    });
    found.unwrap()
}

fn reply(gateway: &Gateway, id: u64, text: &str) -> super::Answer {
    gateway.ask(
        "POST",
        &format!("/api/v1/consoles/{id}/reply"),
        &[JSON],
        &json!({ "text": text }).to_string(),
    )
}

/// What was said in a conversation, by whom.
fn said(gateway: &Gateway, id: u64) -> Vec<(String, String)> {
    let entries = gateway.json(&format!("/api/v1/consoles/{id}"))["entries"].as_array().unwrap().clone();
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap().to_owned();
    entries.iter().map(|entry| (text(entry, "from"), text(entry, "text"))).collect()
}

#[test]
fn an_operator_answers_over_the_api() {
    let gateway = Gateway::start(CONSOLE);
    for address in gateway.addresses("chat") {
        let mut client = Stream::to(&address);
        client.say("你好");
        let id = with_entries(&gateway, 1);
        assert_eq!(conversations(&gateway, "?listener=chat").last().unwrap()["waiting"], true);
        let answer = reply(&gateway, id, "hello").json();
        assert_eq!((&answer["number"], &answer["from"]), (&json!(2), &json!("operator")));
        client.hear("hello");
        let expected = [("client", "你好"), ("operator", "hello")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(said(&gateway, id), expected);
        assert_eq!(gateway.json(&format!("/api/v1/consoles/{id}?after=1"))["entries"][0]["text"], "hello");
        assert_eq!(gateway.json(&format!("/api/v1/connections/{id}"))["listener"], "chat");
        drop(client);
        eventually("it has ended", || gateway.json(&format!("/api/v1/consoles/{id}"))["open"] == false);
        reply(&gateway, id, "too late").is_problem(409);
    }
    assert_eq!(conversations(&gateway, "?listener=other"), [] as [Value; 0]);
    gateway.get("/api/v1/consoles/999999").is_problem(404);
    reply(&gateway, 999_999, "x").is_problem(404);
    gateway.get("/api/v1/consoles?speaker=me").is_problem(400);
    let log = gateway.log();
    let audited = log.iter().filter(|line| line["target"] == "polygate::audit" && line["action"] == "reply");
    assert_eq!(audited.count(), 5);
}

#[test]
fn answers_have_bounds() {
    let gateway = Gateway::start(CONSOLE);
    let mut client = gateway.connect("chat");
    client.say("hello");
    let id = with_entries(&gateway, 1);
    reply(&gateway, id, "").is_problem(422);
    reply(&gateway, id, &"x".repeat(16 * 1024 + 1)).is_problem(422);
    assert_eq!(reply(&gateway, id, &"x".repeat(16 * 1024)).status, 200);
    client.hear("x".repeat(16 * 1024));
    let path = format!("/api/v1/consoles/{id}/reply");
    gateway.ask("POST", &path, &[JSON], r#"{"text":"a","to":"b"}"#).is_problem(422);
    // A client that closes its sending side still hears what it asked for.
    client.say("and?");
    client.finish();
    with_entries(&gateway, 3);
    assert_eq!(reply(&gateway, id, "bye").status, 200);
    client.hear("bye");
    client.is_ended();
}

#[test]
fn who_is_not_answered_in_time_gets_what_is_configured() {
    let text = "
        listeners.chat = { bind = 'tcp://127.0.0.1:0', handler = 'chat' }
        listeners.curt = { bind = 'tcp://127.0.0.1:0', handler = 'curt' }
        handlers.curt = { type = 'console', timeout = '100ms' }
        [handlers.chat]
        type = 'console'
        greeting = 'welcome'
        timeout = '100ms'
        default_reply = 'nobody is here'
    ";
    let gateway = Gateway::start(text);
    let mut client = gateway.connect("chat");
    client.hear("welcome");
    for _ in 0..2 {
        client.ask("hello?", "nobody is here");
    }
    let id = with_entries(&gateway, 5);
    assert_eq!(said(&gateway, id)[2], ("gateway".to_owned(), "nobody is here".to_owned()));
    // Without a default reply the connection ends.
    let mut client = gateway.connect("curt");
    client.say("hello?");
    client.is_ended();
}

#[test]
fn a_sender_of_datagrams_has_a_conversation_too() {
    let text = "
        listeners.chat = { bind = ['udp://127.0.0.1:0', 'unixgram://chat.dgram'], handler = 'console' }
        listeners.away = { bind = ['udp://127.0.0.1:0', 'unixgram://away.dgram'], handler = 'away' }
        handlers.away = { type = 'console', timeout = '100ms', default_reply = 'nobody is here' }
    ";
    let gateway = Gateway::start(text);
    for address in gateway.addresses("chat") {
        let client = Datagrams::to(&address);
        client.send("hello");
        let id = with_entries(&gateway, 1);
        assert_eq!(reply(&gateway, id, "hi").status, 200);
        assert_eq!(client.recv(), b"hi");
        client.send("again");
        assert_eq!(with_entries(&gateway, 3), id);
        let flow = gateway.json(&format!("/api/v1/connections/{id}"));
        assert_eq!((&flow["kind"], &flow["received_bytes"]), (&json!("flow"), &json!(10)));
        // Another sender, another conversation.
        let other = Datagrams::to(&address);
        other.send("me");
        other.send("too");
        assert_ne!(with_entries(&gateway, 2), id);
        let texts: Vec<String> = said(&gateway, id).into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["hello", "hi", "again"]);
    }
    for address in gateway.addresses("away") {
        Datagrams::to(&address).ask("hello?", "nobody is here");
    }
    for (listener, received, sent) in [("chat", 8, 2), ("away", 2, 2)] {
        let view = gateway.json(&format!("/api/v1/listeners/{listener}"));
        assert_eq!(
            (&view["datagrams_received_total"], &view["datagrams_sent_total"]),
            (&json!(received), &json!(sent))
        );
    }
}

/// A WebSocket as a client without a library has it.
struct Socket(Stream);

impl Socket {
    fn open(gateway: &Gateway, path: &str, headers: &str) -> (String, Self) {
        let mut stream = connect(&gateway.admin());
        stream.say(format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        ));
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        (String::from_utf8(head).unwrap(), Socket(stream))
    }

    /// The next text; none when it is closed. Pings are passed over.
    fn next(&mut self) -> Option<Value> {
        loop {
            let mut head = [0; 2];
            self.0.read_exact(&mut head).unwrap();
            let length = match head[1] {
                126 => {
                    let mut long = [0; 2];
                    self.0.read_exact(&mut long).unwrap();
                    u16::from_be_bytes(long).into()
                }
                short => usize::from(short),
            };
            let mut text = vec![0; length];
            self.0.read_exact(&mut text).unwrap();
            match head[0] & 15 {
                1 => return Some(serde_json::from_slice(&text).unwrap()),
                8 => return None,
                _ => {}
            }
        }
    }
}

#[test]
fn several_operators_follow_over_websockets() {
    let gateway = Gateway::start(CONSOLE);
    let mut client = gateway.connect("chat");
    client.say("one");
    let id = with_entries(&gateway, 1);
    let path = format!("/api/v1/consoles/{id}/ws");
    let mut operators = [(); 2].map(|()| {
        let (head, socket) = Socket::open(&gateway, &path, "");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.to_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
        socket
    });
    for operator in &mut operators {
        assert_eq!(operator.next().unwrap()["text"], "one");
    }
    assert_eq!(reply(&gateway, id, "two").status, 200);
    client.hear("two");
    drop(client);
    for operator in &mut operators {
        let entry = operator.next().unwrap();
        assert_eq!((&entry["from"], &entry["text"]), (&json!("operator"), &json!("two")));
        assert_eq!(operator.next().unwrap(), json!({ "ended": true }));
        assert_eq!(operator.next(), None);
    }
    // From the middle of one that has ended.
    let (_, mut late) = Socket::open(&gateway, &format!("{path}?after=1"), "");
    assert_eq!(late.next().unwrap()["text"], "two");
    let (head, _) = Socket::open(&gateway, &path, "Origin: http://evil.example\r\n");
    assert!(head.starts_with("HTTP/1.1 403 "), "{head}");
    gateway.get(&path).is_problem(400);
    let (head, _) = Socket::open(&gateway, "/api/v1/consoles/999999/ws", "");
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
}

#[test]
fn a_gateway_with_followers_ends() {
    let mut gateway = Gateway::start(CONSOLE);
    let mut client = gateway.connect("chat");
    client.say("one");
    let id = with_entries(&gateway, 1);
    let (_, mut socket) = Socket::open(&gateway, &format!("/api/v1/consoles/{id}/ws"), "");
    assert_eq!(socket.next().unwrap()["text"], "one");
    drop(client);
    assert_eq!(gateway.stop(), 0);
}

#[test]
fn an_operator_follows_and_answers_in_the_terminal() {
    let gateway = Gateway::start(CONSOLE);
    let mut first = gateway.connect("chat");
    first.say("hello\x1b[2J");
    let one = with_entries(&gateway, 1);
    let mut command = gateway.cli_command(&["console", "chat", "--line-end", "lf"]);
    let (reader, mut keys) = std::io::pipe().unwrap();
    command.stdin(Stdio::from(reader));
    let mut terminal = Running::start(command);
    let shows = |terminal: &Running, what: &str| {
        eventually(what, || terminal.out.text().lines().any(|line| line == what));
    };
    shows(&terminal, &format!("#{one} < hello\\u{{1b}}[2J"));
    // A line answers whoever spoke last.
    keys.write_all(b"hi\n").unwrap();
    first.hear("hi\n");
    shows(&terminal, &format!("#{one} > hi"));
    let mut second = gateway.connect("chat");
    second.say("me too\n");
    let two = with_entries(&gateway, 1);
    shows(&terminal, &format!("#{two} < me too"));
    keys.write_all(format!("#{one} still there?\n").as_bytes()).unwrap();
    first.hear("still there?\n");
    keys.write_all(format!("#{two}\nand you?\n").as_bytes()).unwrap();
    second.hear("and you?\n");
    drop(second);
    shows(&terminal, &format!("#{two} ended"));
    // Nothing is sent to one that has ended, and the operator is told.
    keys.write_all(b"too late\n").unwrap();
    eventually("it is told", || terminal.err.text().contains(&format!("#{two} was not answered: ")));
    keys.write_all(b"/list\n/quit\n").unwrap();
    assert_eq!(terminal.ended().code(), Some(0));
    let table = gateway.cli(&["console"]).stdout;
    assert!(table.starts_with(" ID  LISTENER") || table.starts_with("ID  LISTENER"), "{table}");
    assert!(table.contains("ended") && table.contains("open"), "{table}");
    assert_eq!(gateway.cli(&["console", "nobody"]).code, 1);
}
