//! PROXY headers before connections: whose they are, what they say, and what is none.

use std::io::Write;

use polygate::stats::{CloseReason, RejectReason};

use crate::client::Stream;
use crate::ftp_client::Ftp;
use crate::harness::{Gate, eventually};
use crate::tls_client::{Certificates, ask, wrap};

fn gate(more: &str) -> Gate {
    Gate::start(&format!(
        "[listeners.l]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'h'\n\
         proxy_protocol = {{ from = ['127.0.0.1'] }}\n{more}\n\
         [handlers.h]\ntype = 'reply'\nbody = '{{peer}}'\n"
    ))
}

const V1: &str = "PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\n";

/// The same in version 2, from 192.0.2.`host`.
fn v2(host: u8) -> Vec<u8> {
    let addresses = [192, 0, 2, host, 192, 0, 2, 2, 3, 232, 0, 80];
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &addresses].concat()
}

#[test]
fn the_peer_is_the_one_that_the_header_names() {
    let gate = gate("");
    for header in [V1.as_bytes().to_vec(), v2(1)] {
        let mut stream = gate.connect("l");
        // What comes behind it in the same segment is the client's.
        stream.ask([&header[..], b"?"].concat(), "192.0.2.1:1000");
        let conns = gate.stats().conns();
        assert_eq!(conns[0].peer, "192.0.2.1:1000");
        assert!(
            conns[0].details.iter().any(|(key, value)| *key == "proxy" && value.starts_with("127.0.0.1:"))
        );
        drop(stream);
        eventually("it is closed", || gate.active("l") == 0);
    }
}

#[test]
fn a_header_may_come_byte_by_byte_and_a_health_check_is_answered() {
    let gate = gate("");
    let mut stream = gate.connect("l");
    for byte in V1.bytes() {
        stream.say([byte]);
    }
    stream.ask("?", "192.0.2.1:1000");
    let mut check = gate.connect("l");
    check.say(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0?");
    assert!(check.recv().starts_with("127.0.0.1:"));
}

#[test]
fn strangers_and_what_is_no_header_are_rejected() {
    let gate = gate("timeouts.handshake = '300ms'");
    let mut stranger = Stream::from("127.0.0.2", &gate.address("l"));
    let _ = stranger.write_all(V1.as_bytes());
    stranger.is_gone();
    for wrong in ["GET / HTTP/1.1\r\n\r\n", "PROXY TCP4 1.2.3.4\r\n", "PROXY TCP9 1.2.3.4 1.2.3.4 1 1\r\n"] {
        let mut stream = gate.connect("l");
        stream.say(wrong);
        stream.is_gone();
    }
    drop(gate.connect("l"));
    eventually("all are rejected", || gate.rejected("l", RejectReason::ProxyHeader) == 5);
    let mut slow = gate.connect("l");
    slow.say("PROXY TCP4 ");
    slow.is_gone();
    eventually("it is closed", || gate.closed("l", CloseReason::Handshake) == 1);
}

#[test]
fn limits_and_networks_are_of_the_named_peer() {
    let gate = gate("deny = ['192.0.2.9']\nlimits = { max_connections_per_ip = 1 }");
    let mut first = gate.connect("l");
    first.ask([&v2(1)[..], b"?"].concat(), "192.0.2.1:1000");
    let mut second = gate.connect("l");
    second.say(v2(1));
    second.is_gone();
    let mut denied = gate.connect("l");
    denied.say(v2(9));
    denied.is_gone();
    let mut other = gate.connect("l");
    other.ask([&v2(2)[..], b"?"].concat(), "192.0.2.2:1000");
    eventually("both are rejected", || {
        (gate.rejected("l", RejectReason::PerIp), gate.rejected("l", RejectReason::Acl)) == (1, 1)
    });
    drop(first);
    eventually("its place is free", || gate.active("l") == 1);
    gate.connect("l").ask([&v2(1)[..], b"?"].concat(), "192.0.2.1:1000");
}

#[test]
fn a_version_that_is_not_named_is_no_header() {
    let gate = Gate::start(
        "[listeners.l]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'echo'\n\
         proxy_protocol = { from = ['127.0.0.0/8'], versions = [2] }\n",
    );
    let mut one = gate.connect("l");
    one.say(V1);
    one.is_gone();
    gate.connect("l").ask([&v2(1)[..], b"hi"].concat(), "hi");
}

#[test]
fn the_header_comes_before_tls() {
    let made = Certificates::new();
    let gate = gate(&made.table(""));
    let address = gate.address("l");
    let mut socket = std::net::TcpStream::connect(address.trim_start_matches("tcp://")).unwrap();
    socket.write_all(V1.as_bytes()).unwrap();
    let mut stream = wrap(socket, &made.client(None, &[])).unwrap();
    ask(&mut stream, "?", "192.0.2.1:1000");
}

#[test]
fn ftp_behind_a_proxy_knows_the_client() {
    let gate = Gate::start(
        "[listeners.ftp]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'ftp'\n\
         proxy_protocol = { from = ['127.0.0.0/8'] }\n",
    );
    let mut stream = gate.connect("ftp");
    stream.say(V1);
    let mut ftp = Ftp::over(stream);
    assert!(ftp.asks("STAT", "530").contains("Log in"));
    assert_eq!(gate.stats().conns()[0].peer, "192.0.2.1:1000");
}
