//! `forward` to endpoints that speak TLS: who is trusted, who is not, and what goes through.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use polygate::stats::{CloseReason, ConnectFailure, UpstreamSnapshot};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::client::Stream;
use crate::harness::{Gate, eventually};
use crate::tls_client::{Certificates, ask, connect};

/// A folder with a root and certificates that it has signed.
struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority { issuer: Self::root(folder.path()), folder };
        authority.sign("good", &["localhost", "127.0.0.1"], |_| {});
        authority
    }

    fn root(folder: &std::path::Path) -> Issuer<'static, KeyPair> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        std::fs::write(folder.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Issuer::new(params, key)
    }

    /// Another root in the place of the old one.
    fn renew(&mut self) {
        self.issuer = Self::root(self.folder.path());
        self.sign("good", &["localhost", "127.0.0.1"], |_| {});
    }

    fn sign(&self, name: &str, hosts: &[&str], change: impl Fn(&mut CertificateParams)) {
        let key = KeyPair::generate().unwrap();
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        change(&mut params);
        let cert = params.signed_by(&key, &self.issuer).unwrap().pem();
        std::fs::write(self.folder.path().join(format!("{name}.pem")), cert).unwrap();
        std::fs::write(self.folder.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// A gateway that echoes over TLS: the endpoint.
    fn back(&self, name: &str, more: &str) -> Gate {
        self.serving("echo", name, more)
    }

    /// The same with another handler.
    fn serving(&self, handler: &str, name: &str, more: &str) -> Gate {
        Gate::start(&format!(
            "[listeners.back]\nbind = ['tcp://127.0.0.1:0', 'unix://back.sock']\nhandler = '{handler}'\ntls = {{ cert = '{}', key = '{}'{more} }}",
            self.path(&format!("{name}.pem")),
            self.path(&format!("{name}.key"))
        ))
    }

    /// A server that only does handshakes, by a certificate that a gateway would not load.
    fn raw(&self, name: &str) -> String {
        let chain = vec![CertificateDer::from_pem_file(self.path(&format!("{name}.pem"))).unwrap()];
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let config = Arc::new(builder.with_single_cert(chain, key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("tcp://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut tls = rustls::ServerConnection::new(config.clone()).unwrap();
                while tls.is_handshaking() && tls.complete_io(&mut stream).is_ok() {}
            }
        });
        address
    }

    fn forward(&self, to: &[&str], tls: &str, more: &str) -> String {
        let ca = self.path("ca.pem");
        format!(
            "[listeners.in]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'out'\n{more}\n[handlers.out]\ntype = 'forward'\nupstream = 'back'\n[upstreams.back]\nto = {to:?}\ntls = {{ ca = '{ca}'{tls} }}\n"
        )
    }
}

fn account(gate: &Gate, endpoint: &str) -> UpstreamSnapshot {
    let snapshot = gate.stats().snapshot();
    snapshot.upstreams.into_iter().find(|u| *u.endpoint == *endpoint).expect("no such endpoint")
}

fn failures(gate: &Gate, endpoint: &str, reason: ConnectFailure) -> u64 {
    account(gate, endpoint).failures.iter().find(|(r, _)| *r == reason).map_or(0, |(_, n)| *n)
}

#[test]
fn an_endpoint_that_is_trusted_is_spoken_to_and_both_ends_are_passed_on() {
    let authority = Authority::new();
    let back = authority.back("good", "");
    for (at, tls) in back.addresses("back").iter().zip(["", ", server_name = 'localhost'"]) {
        let gate = Gate::start(&authority.forward(&[at], tls, ""));
        let mut stream = gate.connect("in");
        stream.ask("hello", "hello");
        let details = gate.stats().conns()[0].details.clone();
        assert!(details.contains(&("upstream_tls", "1.3".to_owned())), "{details:?}");
        stream.say("last");
        stream.finish();
        assert_eq!(stream.rest(), b"last");
        eventually("it is settled", || gate.closed("in", CloseReason::Client) == 1);
    }
}

#[test]
fn who_is_not_trusted_gives_way_to_who_is() {
    let (authority, other) = (Authority::new(), Authority::new());
    authority.sign("name", &["elsewhere.example"], |_| {});
    authority.sign("old", &["127.0.0.1"], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 2);
    });
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let says_hello = format!("tcp://{}", plain.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in plain.incoming().flatten() {
            let _ = stream.write_all(b"220 hello\r\n");
        }
    });
    let good = authority.back("good", "");
    let wrong_name = authority.back("name", "");
    let unknown = other.back("good", "");
    let expired = authority.raw("old");
    for bad in [wrong_name.address("back"), unknown.address("back"), expired, says_hello] {
        let gate = Gate::start(&authority.forward(&[&bad, &good.address("back")], "", ""));
        gate.connect("in").ask("hello", "hello");
        assert_eq!(failures(&gate, &bad, ConnectFailure::Tls), 1, "{bad}");
    }
    // The name can be given, and with `insecure` nobody is looked at.
    for (bad, tls) in [
        (&wrong_name, ", server_name = 'elsewhere.example'"),
        (&wrong_name, ", insecure = true"),
        (&unknown, ", insecure = true"),
    ] {
        let gate = Gate::start(&authority.forward(&[&bad.address("back")], tls, ""));
        gate.connect("in").ask("hello", "hello");
    }
}

#[test]
fn an_endpoint_that_wants_a_certificate_is_shown_one() {
    let authority = Authority::new();
    let back = authority.back("good", &format!(", client_ca = '{}'", authority.path("ca.pem")));
    let shows = format!(", cert = '{}', key = '{}'", authority.path("good.pem"), authority.path("good.key"));
    let gate = Gate::start(&authority.forward(&[&back.address("back")], &shows, ""));
    gate.connect("in").ask("hello", "hello");
    let gate = Gate::start(&authority.forward(&[&back.address("back")], "", ""));
    Stream::is_let_go(&gate.address("in"));
    eventually("it is counted", || failures(&gate, &back.address("back"), ConnectFailure::Tls) == 1);
    eventually("it is closed", || gate.closed("in", CloseReason::Upstream) == 1);
}

#[test]
fn an_endpoint_that_stalls_the_handshake_is_out_of_time() {
    let authority = Authority::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let slow = format!("tcp://{}", silent.local_addr().unwrap());
    let good = authority.back("good", "");
    let text = authority.forward(&[&slow, &good.address("back")], "", "");
    let gate = Gate::start(&format!("{text}connect.timeout = '200ms'\n"));
    gate.connect("in").ask("hello", "hello");
    assert_eq!(failures(&gate, &slow, ConnectFailure::Timeout), 1);
}

#[test]
fn roots_are_renewed_by_a_reload_and_probes_speak_tls() {
    let mut authority = Authority::new();
    let back = authority.back("good", "");
    let at = back.address("back");
    let text = authority.forward(&[&at], "", "")
        + "health = { kind = 'send_expect', send = 'ping', expect = 'ping', interval = '50ms', fall = 1, rise = 1 }\n";
    let gate = Gate::start(&text);
    let mut old = gate.connect("in");
    old.ask("one", "one");
    eventually("it is probed", || account(&gate, &at).health_checks > 1);
    assert!(account(&gate, &at).up);
    // Other roots: the endpoint is not trusted any more, and what is open goes on.
    authority.renew();
    assert_eq!(gate.reload(&text).plan.settings, ["upstreams.back.tls"]);
    eventually("it is found", || !account(&gate, &at).up);
    Stream::is_let_go(&gate.address("in"));
    old.ask("two", "two");
    let renewed = authority.back("good", "");
    gate.reload(&text.replace(&at, &renewed.address("back")));
    gate.connect("in").ask("three", "three");
}

#[test]
fn probes_ask_over_tls_as_well() {
    let authority = Authority::new();
    let back = authority.serving("http", "good", "");
    let at = back.address("back");
    let text =
        authority.forward(&[&at], "", "") + "health = { kind = 'http', interval = '50ms', fall = 1 }\n";
    let gate = Gate::start(&text);
    eventually("it is probed", || account(&gate, &at).health_checks > 2);
    assert_eq!((account(&gate, &at).health_check_failures, account(&gate, &at).up), (0, true));
}

#[test]
fn who_does_not_read_what_comes_over_tls_holds_the_endpoint_back_and_is_closed() {
    let authority = Authority::new();
    let back = authority.serving("chargen", "good", "");
    let at = back.address("back");
    let gate = Gate::start(&authority.forward(&[&at], "", "timeouts.stall = '500ms'"));
    let _silent = gate.connect("in");
    eventually("it is closed", || gate.closed("in", CloseReason::Stall) == 1);
    // No more has come from the endpoint, which sends for ever, than sockets hold.
    let received = account(&gate, &at).received_bytes;
    assert!((1..64 << 20).contains(&received), "{received}");
}

#[test]
fn a_proxy_header_comes_before_the_handshake() {
    let authority = Authority::new();
    let back = authority.back("good", " }\nproxy_protocol = { from = ['127.0.0.0/8']");
    let text = authority.forward(&[&back.address("back")], "", "");
    let gate =
        Gate::start(&format!("{text}send_proxy = 'v2'\nhealth = {{ kind = 'tcp', interval = '50ms' }}\n"));
    gate.connect("in").ask("hello", "hello");
    eventually("it is probed", || account(&gate, &back.address("back")).health_checks > 1);
    assert_eq!(account(&gate, &back.address("back")).health_check_failures, 0);
}

#[test]
fn a_flood_goes_from_tls_to_tls_unchanged_in_both_directions_at_once() {
    const PIECES: usize = 64;
    let authority = Authority::new();
    let back = authority.back("good", "");
    let made = Certificates::new();
    let gate = Gate::start(&authority.forward(&[&back.address("back")], "", &made.table("")));
    let mut stream = connect(&gate.address("in"), &made.client(None, &[])).unwrap();
    ask(&mut stream, "hello", "hello");
    // A connection has one thread here: it writes a piece and reads a piece, while more than one is under way.
    let piece: Vec<u8> = (0..1_usize << 20).map(|at| (at % 251) as u8).collect();
    let mut heard = vec![0; piece.len()];
    for _ in 0..PIECES {
        for (said, heard) in piece.chunks(256 << 10).zip(heard.chunks_mut(256 << 10)) {
            stream.write_all(said).unwrap();
            stream.read_exact(heard).unwrap();
        }
        assert!(heard == piece, "a byte has changed");
    }
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0, "it ends in order");
    eventually("it is settled", || gate.closed("in", CloseReason::Client) == 1);
    let received: u64 = gate.stats().snapshot().of_listener("in").map(|l| l.received_bytes).sum();
    assert_eq!(received, (PIECES << 20) as u64 + 5);
}
