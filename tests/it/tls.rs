//! TLS on listeners: handshakes, certificates and their change, and what is no handshake.

use std::io::{Read, Write};
use std::net::TcpStream;

use polygate::stats::{CloseReason, LedgerSnapshot, RejectReason, TlsFailure, TlsVersion};
use polygate::supervisor::ReloadError;

use crate::harness::{Gate, count, eventually};
use crate::tls_client::{Certificates, ask, connect};

fn echo(table: &str) -> String {
    format!("[listeners.l]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'echo'\n{table}\n")
}

fn failures(ledger: &LedgerSnapshot, reason: TlsFailure) -> u64 {
    count(&ledger.tls_failures, reason)
}

#[test]
fn echo_through_tls_is_echo_and_the_connection_list_says_so() {
    let made = Certificates::new();
    let gate = Gate::start(&echo(&made.table("")));
    let mut stream = connect(&gate.address("l"), &made.client(None, &[])).unwrap();
    ask(&mut stream, "hello", "hello");
    let conns = gate.stats().conns();
    let of = |key: &str| conns[0].details.iter().find(|(k, _)| *k == key).map(|(_, value)| value.clone());
    assert_eq!((of("tls").as_deref(), of("tls_server_name").as_deref()), (Some("1.3"), Some("localhost")));
    let long = "x".repeat(10_000);
    stream.write_all(long.as_bytes()).unwrap();
    let mut heard = vec![0; 10_000];
    stream.read_exact(&mut heard).unwrap();
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0, "it ends in order");
    eventually("it is counted", || gate.closed("l", CloseReason::Client) == 1);
    let ledger = gate.ledger("l");
    assert_eq!((ledger.received_bytes, ledger.sent_bytes), (10_005, 10_005), "what is inside TLS counts");
    assert_eq!(count(&ledger.tls_handshakes, TlsVersion::V13), 1);
}

#[test]
fn what_the_defaults_say_of_tls_and_proxies_holds_where_it_fits() {
    let made = Certificates::new();
    let gate = Gate::start(&format!(
        "[defaults]\n{}\nproxy_protocol = {{ from = ['127.0.0.0/8'], versions = [1] }}\n\
         [listeners.l]\nbind = ['tcp://127.0.0.1:0', 'udp://127.0.0.1:0']\nhandler = 'echo'\n\
         [listeners.own]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'echo'\nproxy_protocol = {{ from = ['10.0.0.0/8'] }}\n",
        made.table(&format!(", client_ca = {:?}", made.path("ca.pem")))
    ));
    let mut bare = gate.connect("l");
    bare.say("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n");
    eventually("the header is read", || gate.stats().conns().iter().any(|conn| conn.peer == "192.0.2.1:1"));
    assert_eq!(gate.stats().conns()[0].state, "handshake", "a certificate of the client is asked for");
    crate::client::Datagrams::to(&gate.addresses("l")[1]).ask("hi", "hi");
    crate::client::Stream::is_let_go(&gate.address("own"));
    assert_eq!(gate.rejected("own", RejectReason::ProxyHeader), 1, "its own table goes first");
}

#[test]
fn http_is_chosen_by_alpn_or_by_what_is_said() {
    let made = Certificates::new();
    let text = echo(&made.table("")).replace("'echo'", "'http'");
    let gate = Gate::start(&text);
    let mut stream = connect(&gate.address("l"), &made.client(None, &["http/1.1"])).unwrap();
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    assert!(heard.starts_with("HTTP/1.1 200 OK\r\n") && heard.ends_with("Hello, World\n"), "{heard}");
    let stream = connect(&gate.address("l"), &made.client(None, &["h2", "http/1.1"])).unwrap();
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));
}

#[test]
fn whoever_must_show_a_certificate_does_or_is_rejected() {
    let made = Certificates::new();
    let gate = Gate::start(&echo(&made.table(&format!(", client_ca = {:?}", made.path("ca.pem")))));
    let mut ada = connect(&gate.address("l"), &made.client(Some(("ada.pem", "ada.key")), &[])).unwrap();
    ask(&mut ada, "hi", "hi");
    assert!(format!("{:?}", gate.stats().conns()).contains("CN=ada"));
    for shows in [None, Some(("cert.pem", "key.pem"))] {
        let refused = connect(&gate.address("l"), &made.client(shows, &[]))
            .and_then(|mut stream| stream.write_all(b"hi").and_then(|()| stream.read(&mut [0; 2])));
        assert!(refused.is_err(), "{refused:?}");
    }
    eventually("they are rejected", || gate.rejected("l", RejectReason::Tls) == 2);
    assert_eq!(failures(&gate.ledger("l"), TlsFailure::BadCertificate), 2);
}

#[test]
fn what_is_no_handshake_is_rejected_and_one_that_dawdles_is_closed() {
    let made = Certificates::new();
    let gate = Gate::start(&echo(&format!("{}\ntimeouts.handshake = '300ms'", made.table(""))));
    let mut plain = gate.connect("l");
    plain.say("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    plain.is_gone();
    let mut gone = gate.connect("l");
    gone.say("\x16\x03");
    drop(gone);
    eventually("both are rejected", || gate.rejected("l", RejectReason::Tls) == 2);
    let mut slow = gate.connect("l");
    slow.say("\x16\x03\x01");
    slow.is_gone();
    let mut silent = gate.connect("l");
    silent.is_gone();
    eventually("both are closed", || gate.closed("l", CloseReason::Handshake) == 2);
    let ledger = gate.ledger("l");
    let of = |reason| failures(&ledger, reason);
    assert_eq!((of(TlsFailure::Protocol), of(TlsFailure::Eof), of(TlsFailure::Timeout)), (1, 1, 2));
    // None of that keeps anybody else.
    let mut stream = connect(&gate.address("l"), &made.client(None, &[])).unwrap();
    ask(&mut stream, "hello", "hello");
}

#[test]
fn a_certificate_is_renewed_while_connections_go_on() {
    let made = Certificates::new();
    let text = echo(&made.table(""));
    let gate = Gate::start(&text);
    let before = made.client(None, &[]);
    let mut old = connect(&gate.address("l"), &before).unwrap();
    ask(&mut old, "one", "one");
    assert!(gate.reload(&text).plan.is_empty(), "nothing has changed");
    made.renew();
    let report = gate.reload(&text);
    assert_eq!(report.plan.changed[0].what, ["tls"]);
    assert!(connect(&gate.address("l"), &before).is_err(), "the old certificate is not shown any more");
    let mut new = connect(&gate.address("l"), &made.client(None, &[])).unwrap();
    ask(&mut new, "two", "two");
    ask(&mut old, "three", "three");
}

#[test]
fn tls_is_put_on_and_taken_off_by_a_reload() {
    let made = Certificates::new();
    let gate = Gate::start(&echo(""));
    let mut plain = gate.connect("l");
    plain.ask("hi", "hi");
    let address = gate.address("l");
    let report = gate.reload(&echo(&made.table("")));
    assert_eq!(report.plan.changed[0].what, ["tls"]);
    assert_eq!(gate.address("l"), address, "the socket stays");
    let mut secure = connect(&address, &made.client(None, &[])).unwrap();
    ask(&mut secure, "hi", "hi");
    plain.ask("still", "still");
    gate.reload(&echo(""));
    gate.connect("l").ask("plain again", "plain again");
    ask(&mut secure, "on", "on");
}

#[test]
fn what_is_wrong_with_certificates_is_found_at_its_place() {
    let made = Certificates::new();
    made.make("old.pem", "old.key", |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 2);
    });
    made.write("text", "no certificate");
    let path = |name: &str| format!("{:?}", made.path(name));
    let gate = Gate::start(&echo(""));
    for (cert, key, place, message) in [
        ("old.pem", "old.key", "cert", "has expired"),
        ("nowhere", "key.pem", "cert", "cannot be read"),
        ("text", "key.pem", "cert", "no certificate in PEM format"),
        ("cert.pem", "text", "key", "no private key in PEM format"),
        ("cert.pem", "old.key", "key", "not the key of the certificate"),
    ] {
        let table = format!("tls = {{ cert = {}, key = {} }}", path(cert), path(key));
        let Err(ReloadError::Load(error)) = gate.try_reload(&echo(&table)) else { panic!("{table}") };
        let [finding] = error.diagnostics() else { panic!("{error:?}") };
        assert_eq!(finding.pointer, format!("/listeners/l/tls/{place}"));
        assert!(finding.message.contains(message), "{finding:?}");
    }
    let near = std::time::SystemTime::now() + std::time::Duration::from_secs(86_400);
    made.make("cert.pem", "key.pem", |params| params.not_after = near.into());
    let report = gate.reload(&echo(&made.table("")));
    assert!(report.warnings[0].message.contains("near its end"), "{:?}", report.warnings);
}

#[test]
fn a_drain_ends_tls_in_order() {
    let made = Certificates::new();
    let gate = Gate::start(&echo(&made.table("")).replace("'echo'", "'http'"));
    let mut stream = connect(&gate.address("l"), &made.client(None, &[])).unwrap();
    ask(&mut stream, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP/1.1 200 OK\r\n");
    let reads = std::thread::spawn(move || {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
    });
    let drained = gate.shutdown();
    reads.join().unwrap();
    assert_eq!((drained.finished, drained.killed), (1, 0));
}

#[test]
fn a_client_that_does_not_read_is_closed_after_the_stall() {
    let made = Certificates::new();
    let gate = Gate::start(&echo(&format!("{}\ntimeouts.stall = '300ms'", made.table(""))));
    let mut stream = connect(&gate.address("l"), &made.client(None, &[])).unwrap();
    let socket: TcpStream = stream.sock.try_clone().unwrap();
    socket.set_write_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
    let chunk = [b'x'; 16 * 1024];
    while stream.write_all(&chunk).is_ok() {}
    eventually("it is closed", || gate.closed("l", CloseReason::Stall) == 1);
}
