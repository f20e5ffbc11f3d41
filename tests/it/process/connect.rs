//! `connect`: a conversation with every transport, by hand and by script.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};

use super::{Ended, Folder, Gateway, end};
use crate::tls_client::Certificates;

const LISTENERS: &str = "
[listeners.echo]
bind = ['tcp://127.0.0.1:0', 'udp://127.0.0.1:0', 'unix://echo.sock', 'unixgram://echo.dgram']
handler = 'echo'
[listeners.greeter]
bind = 'tcp://127.0.0.1:0'
handler = 'greeter'
[handlers.greeter]
type = 'echo'
greeting = 'hello...'
prefix = 'response:'
[listeners.discard]
bind = ['tcp://127.0.0.1:0', 'udp://127.0.0.1:0']
handler = 'discard'
";

/// Runs `connect` on what is typed.
#[track_caller]
fn typed(folder: &Folder, arguments: &[&str], text: &str) -> Ended {
    let file = folder.write("typed", text);
    let mut command = folder.command(arguments);
    command.stdin(File::open(file).unwrap());
    end(command)
}

#[track_caller]
fn printed(ended: &Ended, stdout: &str) {
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (0, stdout, ""));
}

#[track_caller]
fn failed(ended: &Ended, code: i32, part: &str) {
    assert_eq!(ended.code, code, "{ended:?}");
    assert!(ended.stderr.starts_with("polygate: ") && ended.stderr.contains(part), "{ended:?}");
}

#[test]
fn lines_go_out_and_come_back_on_every_transport() {
    let gateway = Gateway::start(LISTENERS);
    for address in gateway.addresses("echo") {
        let datagrams = address.contains("udp") || address.contains("gram");
        printed(&typed(gateway.folder(), &["connect", &address], "one\n欢迎\n"), "one\n欢迎\n");
        printed(&gateway.cli(&["connect", &address, "--send", "a", "--send", "b"]), "a\nb\n");
        let last = typed(gateway.folder(), &["connect", &address], "no end");
        printed(&last, if datagrams { "no end\n" } else { "no end" });
    }
}

#[test]
fn a_script_of_sends_and_expects_takes_turns() {
    let gateway = Gateway::start(LISTENERS);
    let address = gateway.address("greeter");
    let script = ["--send", "a", "--expect", "response:a", "--send", "b", "--expect", "response:b"];
    let ended = gateway.cli(&[&["connect", &address, "--line-end", "none"], &script[..]].concat());
    printed(&ended, "hello...response:aresponse:b");
    let ended = gateway.cli(&["connect", &address, "--line-end", "crlf", "--send", "x"]);
    printed(&ended, "hello...response:x\r\n");
}

#[test]
fn what_does_not_come_is_a_failure_that_names_it() {
    let gateway = Gateway::start(LISTENERS);
    let addresses = gateway.addresses("discard");
    let ended = gateway.cli(&["connect", &addresses[0], "--send", "x", "--expect", "y"]);
    failed(&ended, 1, &format!("{} closed the connection before it said \"y\"", addresses[0]));
    let ended = gateway.cli(&["connect", &addresses[1], "--send", "x", "--timeout", "100ms"]);
    failed(&ended, 1, &format!("no answer from {} within 100ms", addresses[1]));
    let line = ["connect", &addresses[1], "--send", "x", "--expect", "y", "--timeout", "100ms"];
    failed(&gateway.cli(&line), 1, &format!("\"y\" did not come within 100ms from {}", addresses[1]));
    // What came is shown all the same.
    let greeter = gateway.address("greeter");
    let ended = typed(gateway.folder(), &["connect", &greeter, "--expect", "bye"], "x\n");
    assert_eq!(ended.stdout, "hello...response:x\n");
    failed(&ended, 1, "before it said \"bye\"");
}

#[test]
fn nobody_there_is_69_and_a_wrong_endpoint_64() {
    let folder = Folder::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ended = folder.run(&["connect", &format!("tcp://{free}")]);
    failed(&ended, 69, &format!("cannot connect to tcp://{free}: Connection refused; is the listener up"));
    let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    failed(&folder.run(&["connect", &format!("udp://{free}"), "--send", "x"]), 69, "Connection refused");
    failed(&folder.run(&["connect", "unix://none.sock"]), 69, "No such file");
    failed(&folder.run(&["connect", "unixgram://none.sock", "--send", "x"]), 69, "No such file");
    for (endpoint, part) in [("127.0.0.1:1", "lacks a scheme"), ("tcp://127.0.0.1:0", "port 0")] {
        let ended = folder.run(&["connect", endpoint]);
        assert_eq!(ended.code, 64, "{ended:?}");
        assert!(ended.stderr.contains(part), "{ended:?}");
    }
}

#[test]
fn the_peers_end_is_the_end_and_a_reset_a_failure() {
    let folder = Folder::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let peer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"bye\n").unwrap();
        drop(stream);
        // Closing with something unread resets.
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0]).unwrap();
    });
    // Standard input is open still.
    let (read, _write) = std::io::pipe().unwrap();
    let mut command = folder.command(&["connect", &address]);
    command.stdin(read);
    printed(&end(command), "bye\n");
    failed(&folder.run(&["connect", &address, "--send", "xxx"]), 1, "broke: Connection reset by peer");
    peer.join().unwrap();
}

#[test]
fn more_than_any_buffer_goes_through() {
    let gateway = Gateway::start(LISTENERS);
    let text = format!("{}\n", "x".repeat(63 * 1024)).repeat(64);
    let ended = typed(gateway.folder(), &["connect", &gateway.address("echo")], &text);
    assert!(ended.code == 0 && ended.stdout == text, "{} {}", ended.code, ended.stdout.len());
}

#[test]
fn tls_is_spoken_to_whom_is_trusted() {
    let made = Certificates::new();
    let table = made.table("");
    let gateway =
        Gateway::start(&format!("[listeners.echo]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'echo'\n{table}\n"));
    let plain = gateway.address("echo");
    let address = plain.replace("tcp://", "tls://").replace("127.0.0.1", "localhost");
    let ca = made.path("cert.pem");
    let ca = ["--ca", ca.to_str().unwrap()];
    let said = gateway.cli(&[&["connect", &address, "--send", "hello"], &ca[..]].concat());
    printed(&said, "hello\n");
    let pinged = gateway.cli(&[&["ping", &address, "--count=2", "--interval=1ms"], &ca[..]].concat());
    assert_eq!((pinged.code, pinged.stderr.as_str()), (0, ""), "{pinged:?}");
    let other = Certificates::new();
    let other = other.path("cert.pem");
    let other = ["connect", &address, "--send=x", "--ca", other.to_str().unwrap()];
    failed(&gateway.cli(&other), 69, "certificate");
    failed(&gateway.cli(&["connect", &address, "--send=x", "--ca=none.pem"]), 64, "cannot read none.pem");
}
