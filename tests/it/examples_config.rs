//! Each file of `config/examples` is started, and the client of the program that it stands for is played: what one
//! `recv` returns is one message, byte for byte.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::client::{Datagrams, Stream};
use crate::harness::{Gate, eventually};
use crate::process::Gateway;

/// The files that other tests play, or that need other machines.
const ELSEWHERE: [&str; 4] = ["environment", "forward", "http", "limits"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples")
}

/// A gateway on an example, with ports that the kernel chooses.
#[track_caller]
fn start(name: &str) -> Gate {
    Gate::start(&free(&fs::read_to_string(folder().join(format!("{name}.toml"))).unwrap()))
}

/// The same with an admin API, for operators.
#[track_caller]
fn operated(name: &str) -> Gateway {
    Gateway::start(&free(&fs::read_to_string(folder().join(format!("{name}.toml"))).unwrap()))
}

/// Types an answer to the one who spoke last, once so much was said.
#[track_caller]
fn types(gateway: &Gateway, said: u64, text: &str) {
    let mut id = Value::Null;
    eventually("the client is heard", || {
        let all = gateway.json("/api/v1/consoles");
        let newest = all["items"].as_array().unwrap().last().cloned().unwrap_or_default();
        id = newest["id"].clone();
        newest["entries_total"] == said
    });
    let body = json!({ "text": text }).to_string();
    let headers = [("Content-Type", "application/json")];
    let answer = gateway.ask("POST", &format!("/api/v1/consoles/{id}/reply"), &headers, &body);
    assert!(answer.status < 300, "{}", answer.body);
}

/// The text with port 0 on every address of this machine.
pub(crate) fn free(text: &str) -> String {
    let mut out = String::new();
    for (index, part) in text.split("://").enumerate() {
        let own = ["127.0.0.1:", "0.0.0.0:", "[::]:"].into_iter().find(|host| part.starts_with(host));
        out.push_str(if index > 0 { "://" } else { "" });
        match own {
            Some(host) => {
                out.push_str(host);
                out.push('0');
                out.push_str(part[host.len()..].trim_start_matches(|c: char| c.is_ascii_digit()));
            }
            None => out.push_str(part),
        }
    }
    out
}

#[test]
fn what_the_pages_for_newcomers_show_runs() {
    for (page, least) in [("from-socketserver", 6), ("from-inetd", 3)] {
        let path = folder().join(format!("../../docs/{page}.md"));
        let blocks = crate::documents::blocks(&fs::read_to_string(path).unwrap(), "toml");
        assert!(blocks.len() >= least, "{page}: {}", blocks.len());
        for (_, text) in blocks {
            // Only a gateway that runs as root may change the user.
            let text: String = text
                .lines()
                .filter(|line| !line.starts_with("user = "))
                .flat_map(|line| [line, "\n"])
                .collect();
            Gate::start(&free(&text));
        }
    }
}

/// `sock.recv(1024)`, as text.
#[track_caller]
fn hears(stream: &mut Stream, expected: &str) {
    assert_eq!(stream.recv(), expected);
}

#[track_caller]
fn asks(stream: &mut Stream, question: &str, expected: &str) {
    stream.say(question);
    hears(stream, expected);
}

#[test]
fn every_example_is_played() {
    let this = include_str!("examples_config.rs");
    let mut count = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let played = ["start", "operated"].iter().any(|how| this.contains(&format!("{how}(\"{name}\")")));
        let played = played || ELSEWHERE.contains(&name);
        assert!(played, "{name}: no test starts it");
        count += 1;
    }
    assert!(count > 10, "{count} files were found");
}

#[test]
fn hello_answers_every_request() {
    let gate = start("hello");
    let mut browser = gate.connect("hello");
    browser.say("GET / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n");
    let answer = browser.recv();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("Content-Length: 13"), "{head}");
    assert_eq!(body, "Hello, World\n");
    let mut other = gate.connect("hello");
    other.say("GET /any/path?x HTTP/1.0\r\n\r\n");
    assert!(other.rest().ends_with(b"\r\n\r\nHello, World\n"));
}

#[test]
fn ok_answers_each_datagram() {
    let gate = start("ok");
    let client = gate.datagrams("ok");
    for question in ["hello", "", "再见"] {
        client.send(question);
        assert_eq!(client.recv(), b"ok");
    }
}

#[test]
fn greeting_says_hello_and_puts_a_prefix_before_each_answer() {
    let gate = start("greeting");
    let (mut first, mut second) = (gate.connect("greeting"), gate.connect("greeting"));
    hears(&mut first, "hello...");
    hears(&mut second, "hello...");
    asks(&mut second, "b", "response:b");
    asks(&mut first, "a", "response:a");
    asks(&mut first, "你好", "response:你好");
}

#[test]
fn selectors_gives_back_what_one_read_gave() {
    let gate = start("selectors");
    let mut clients: Vec<Stream> = (0..20).map(|_| gate.connect("echo")).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        asks(client, &format!("client {number}"), &format!("client {number}"));
    }
    asks(&mut clients[0], "again\n", "again\n");
}

#[test]
fn welcome_greets_and_echoes() {
    let gate = start("welcome");
    let mut client = gate.connect("welcome");
    hears(&mut client, "欢迎致电...");
    asks(&mut client, "q", "q");
    asks(&mut client, "再见", "再见");
    client.finish();
    client.is_ended();
}

#[test]
fn upper_strips_and_answers_in_upper_case() {
    let gate = start("upper");
    let mut client = gate.connect("upper");
    asks(&mut client, "hello world with TCP\n", "HELLO WORLD WITH TCP");
    // Nothing is left of that, so that nothing is answered.
    client.say(" \r\n");
    client.finish();
    client.is_ended();
}

#[test]
fn sequential_serves_the_second_when_the_first_has_gone() {
    let gate = start("sequential");
    let mut first = gate.connect("upper");
    asks(&mut first, "one", "ONE");
    let mut second = gate.connect("upper");
    second.say("two");
    asks(&mut first, "still", "STILL");
    assert_eq!(gate.accepted("upper"), 1);
    drop(first);
    hears(&mut second, "TWO");
    eventually("the first is closed", || gate.active("upper") == 1);
}

#[test]
fn servers_are_four_with_one_answer() {
    let gate = start("servers");
    for listener in ["tcp-server", "unix-stream-server"] {
        asks(&mut gate.connect(listener), "hello\n", "HELLO");
    }
    for listener in ["udp-server", "unix-datagram-server"] {
        let client: Datagrams = gate.datagrams(listener);
        client.send("hello\n");
        assert_eq!(client.recv(), b"HELLO");
    }
}

#[test]
fn course_ftp_registers_logs_in_and_takes_files() {
    let gate = start("course-ftp");
    let login = r#"{"cmd": "check_user", "username": "ann", "password": "sesame"}"#;
    let mut client = gate.connect("course");
    hears(&mut client, "欢迎使用... ");
    asks(&mut client, login, "用户名不存在");
    drop(client);
    let mut client = gate.connect("course");
    hears(&mut client, "欢迎使用... ");
    let register = r#"{"cmd": "register", "username": "ann", "password": "sesame"}"#;
    asks(&mut client, register, "注册成功");
    asks(&mut client, register, "用户名已存在");
    asks(&mut client, login, "登陆成功");
    let put = r#"{"cmd": "put", "filename": "a.txt", "filesize": 10, "file_owner": "ann"}"#;
    asks(&mut client, put, "Start");
    client.say("01234");
    drop(client);
    let kept = gate.folder().join("files/ann/a.txt");
    eventually("the first connection is closed", || gate.active("course") == 0);
    let mut client = gate.connect("course");
    hears(&mut client, "欢迎使用... ");
    asks(&mut client, login, "登陆成功");
    asks(&mut client, put, "5");
    client.say("56789");
    eventually("the file is complete", || fs::read(&kept).is_ok_and(|bytes| bytes == b"0123456789"));
}

#[test]
fn console_sends_what_the_operator_types() {
    let gateway = operated("console");
    let mut client = gateway.connect("chat");
    client.say("hello");
    types(&gateway, 1, "what do you want?");
    hears(&mut client, "what do you want?");
    client.say("再见");
    types(&gateway, 3, "再见");
    hears(&mut client, "再见");
}

#[test]
fn udp_console_answers_each_sender() {
    let gateway = operated("udp-console");
    for name in ["ann", "bob"] {
        let client = Datagrams::to(&gateway.address("chat"));
        client.send(format!("I am {name}"));
        types(&gateway, 1, &format!("hello {name}"));
        assert_eq!(client.recv(), format!("hello {name}").as_bytes());
    }
}

#[test]
fn commands_are_announced_with_their_length() {
    let gate = start("commands");
    let mut client = gate.connect("commands");
    asks(&mut client, "seq 3", "Ready|6");
    asks(&mut client, "Start", "1\n2\n3\n");
    client.say("ls");
    let ready = client.recv();
    let size = ready.strip_prefix("Ready|").unwrap().parse::<usize>().unwrap();
    client.say("Start");
    let mut listing = String::new();
    while listing.len() < size {
        listing += &client.recv();
    }
    assert!(listing.len() == size && listing.contains(" usr\n"), "{listing}");
    for wrong in ["rm -r /", "date -u", "seq 3; id"] {
        asks(&mut client, wrong, "Ready|9");
        asks(&mut client, "Start", "cmd error");
    }
}

#[test]
fn forking_gives_each_connection_a_process() {
    let gate = start("forking");
    let (mut one, mut other) = (gate.connect("forking"), gate.connect("forking"));
    asks(&mut one, "one", "one");
    asks(&mut other, "other", "other");
    asks(&mut one, "again", "again");
    for mut client in [one, other] {
        client.finish();
        client.is_ended();
    }
}
