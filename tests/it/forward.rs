//! `forward`: connections carried to upstreams, balanced, tried again, and taken out and brought back live.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use polygate::stats::{CloseReason, UpstreamSnapshot};
use polygate::upstream::Admin;

use crate::client::Stream;
use crate::harness::{Gate, eventually};

/// A server that says its name to whoever connects, and echoes. It serves until the test ends.
fn named(name: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || echo(stream, name));
        }
    });
    address
}

fn echo(mut stream: TcpStream, name: &str) {
    let _ = stream.write_all(name.as_bytes());
    let mut bytes = [0; 64 * 1024];
    while let Ok(n @ 1..) = stream.read(&mut bytes) {
        if stream.write_all(&bytes[..n]).is_err() {
            return;
        }
    }
    let _ = stream.shutdown(Shutdown::Write);
}

/// An address where nobody listens.
fn nobody() -> String {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("tcp://{}", gone.local_addr().unwrap())
}

fn forward(to: &[&str], more: &str) -> String {
    format!(
        "[listeners.in]\nbind = ['tcp://127.0.0.1:0', 'unix://in.sock']\nhandler = 'out'\n[handlers.out]\ntype = 'forward'\nupstream = 'back'\n[upstreams.back]\nto = {to:?}\n{more}\n"
    )
}

/// Who answers a new connection.
#[track_caller]
fn who(gate: &Gate) -> String {
    gate.connect("in").recv()
}

fn account(gate: &Gate, endpoint: &str) -> UpstreamSnapshot {
    let snapshot = gate.stats().snapshot();
    snapshot.upstreams.into_iter().find(|u| *u.endpoint == *endpoint).expect("no such endpoint")
}

#[test]
fn bytes_go_both_ways_and_so_do_the_ends() {
    let a = named("a");
    let gate = Gate::start(&forward(&[&a], ""));
    for address in gate.addresses("in") {
        let mut stream = Stream::to(&address);
        stream.hear("a");
        stream.ask("hello", "hello");
        let details = gate.stats().conns()[0].details.clone();
        assert_eq!(details, [("upstream", "back".to_owned()), ("endpoint", a.clone())]);
        assert_eq!(account(&gate, &a).active, 1);
        // The end is passed on, and what was under way still comes.
        stream.say("last");
        stream.finish();
        assert_eq!(stream.rest(), b"last");
        eventually("it is settled", || gate.active("in") == 0);
    }
    assert_eq!(gate.closed("in", CloseReason::Client), 2);
    let account = account(&gate, &a);
    assert_eq!((account.active, account.connects, account.durations.count()), (0, 2, 2));
    assert_eq!((account.sent_bytes, account.received_bytes), (18, 20));
}

#[test]
fn a_flood_goes_through_unchanged_in_both_directions_at_once() {
    const SIZE: usize = 24 << 20;
    let a = named("");
    let gate = Gate::start(&forward(&[&a], ""));
    let Stream::Tcp(stream) = gate.connect("in") else { panic!("tcp comes first") };
    let mut writer = stream.try_clone().unwrap();
    let pattern = |at: usize| (at as u32).wrapping_mul(2_654_435_761).to_le_bytes()[3];
    let sender = thread::spawn(move || {
        let bytes: Vec<u8> = (0..SIZE).map(pattern).collect();
        // Large pieces and small ones, so that the way changes under way.
        for (index, piece) in bytes.chunks(1 << 20).enumerate() {
            match index % 4 {
                3 => piece.chunks(777).for_each(|small| writer.write_all(small).unwrap()),
                _ => writer.write_all(piece).unwrap(),
            }
        }
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut received = Vec::with_capacity(SIZE);
    (&stream).read_to_end(&mut received).unwrap();
    sender.join().unwrap();
    assert_eq!(received.len(), SIZE);
    assert!(received.iter().enumerate().all(|(at, byte)| *byte == pattern(at)), "a byte has changed");
    eventually("it is settled", || gate.active("in") == 0);
    let ledgers: u64 = gate.stats().snapshot().of_listener("in").map(|l| l.received_bytes).sum();
    assert_eq!(ledgers, SIZE as u64, "every byte is counted, through the pipe as well");
    assert_eq!(account(&gate, &a).received_bytes, SIZE as u64);
}

#[test]
fn an_endpoint_that_refuses_gives_way_to_the_next_before_the_client_hears_of_it() {
    let (gone, b) = (nobody(), named("b"));
    let gate = Gate::start(&forward(&[&gone, &b], ""));
    for _ in 0..6 {
        assert_eq!(who(&gate), "b");
    }
    // Three failures have ejected the first one: it is not even tried any more.
    let account = account(&gate, &gone);
    assert_eq!((account.connects, account.ejections, account.up), (3, 1, false));
    assert_eq!(account.failures.iter().map(|(_, n)| n).sum::<u64>(), 3);
}

#[test]
fn with_no_endpoint_the_client_is_turned_away_and_counted() {
    let gate = Gate::start(&forward(&[&nobody()], "passive.ejection = 'off'"));
    let mut stream = gate.connect("in");
    stream.is_ended();
    eventually("counted", || gate.closed("in", CloseReason::Upstream) == 1);
    // All of them taken out is the same.
    let pool = gate.supervisor().upstreams().find("back").unwrap();
    let endpoint = pool.members()[0].1.endpoint.clone();
    assert!(pool.steer(&endpoint, Some(Admin::Down), None));
    gate.connect("in").is_ended();
}

#[test]
fn round_robin_takes_turns_by_weight() {
    let (a, b) = (named("a"), named("b"));
    let text = forward(&[&a], "")
        .replace(&format!("to = {:?}", [&a]), &format!("to = ['{a}', {{ endpoint = '{b}', weight = 2 }}]"));
    let gate = Gate::start(&text);
    let order: String = (0..6).map(|_| who(&gate)).collect();
    assert_eq!(order.matches('b').count(), 4, "{order}");
}

#[test]
fn least_connections_goes_where_fewest_are() {
    let (a, b) = (named("a"), named("b"));
    let gate = Gate::start(&forward(&[&a, &b], "balance = 'least_connections'"));
    let mut held: Vec<(String, Stream)> = Vec::new();
    for _ in 0..6 {
        let mut stream = gate.connect("in");
        held.push((stream.recv(), stream));
    }
    assert_eq!(held.iter().filter(|(name, _)| name == "a").count(), 3);
    // Those of one endpoint leave: the next ones go there.
    held.retain(|(name, _)| name == "b");
    eventually("they are gone", || account(&gate, &a).active == 0);
    assert_eq!(who(&gate), "a");
}

#[test]
fn source_and_maglev_keep_a_client_with_its_endpoint() {
    let (a, b) = (named("a"), named("b"));
    for balance in ["source", "maglev"] {
        let gate = Gate::start(&forward(&[&a, &b], &format!("balance = '{balance}'")));
        let address = gate.address("in");
        let mut seen = std::collections::BTreeSet::new();
        for host in 1..30 {
            let source = format!("127.0.0.{host}");
            let first = Stream::from(&source, &address).recv();
            assert_eq!(Stream::from(&source, &address).recv(), first, "{balance}: {source} moved");
            seen.insert(first);
        }
        assert_eq!(seen.len(), 2, "{balance}: all clients at one endpoint");
    }
}

#[test]
fn a_backup_is_used_when_no_other_is_up() {
    let (a, spare) = (named("a"), named("spare"));
    let text = forward(&[&a], "").replace(
        &format!("to = {:?}", [&a]),
        &format!("to = [{{ endpoint = '{spare}', backup = true }}, '{a}']"),
    );
    let gate = Gate::start(&text);
    assert_eq!(who(&gate), "a");
    let pool = gate.supervisor().upstreams().find("back").unwrap();
    assert!(pool.steer(&a, Some(Admin::Drain), None));
    assert_eq!(who(&gate), "spare");
    assert!(pool.steer(&a, Some(Admin::Ready), None));
    assert_eq!(who(&gate), "a");
    assert!(!pool.steer("tcp://127.0.0.1:1", Some(Admin::Ready), None));
}

#[test]
fn a_drained_endpoint_keeps_what_it_has() {
    let (a, b) = (named("a"), named("b"));
    let gate = Gate::start(&forward(&[&a, &b], ""));
    let mut first = gate.connect("in");
    first.hear("a");
    let pool = gate.supervisor().upstreams().find("back").unwrap();
    assert!(pool.steer(&a, Some(Admin::Drain), None));
    for _ in 0..4 {
        assert_eq!(who(&gate), "b");
    }
    first.ask("still here", "still here");
}

#[test]
fn probes_take_an_endpoint_out_close_what_it_has_and_bring_it_back() {
    // A server that can be switched off: then it accepts and closes at once.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let a = format!("tcp://{}", listener.local_addr().unwrap());
    let works = Arc::new(AtomicU64::new(1));
    let switch = works.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if switch.load(Ordering::Relaxed) == 1 {
                thread::spawn(move || echo(stream, "a"));
            }
        }
    });
    let health = "health = { kind = 'send_expect', send = 'ping', expect = 'ping', interval = '50ms', fall = 2, rise = 2, close_on_unhealthy = true }";
    let b = named("b");
    let gate = Gate::start(&forward(&[&a, &b], health));
    let mut carried = gate.connect("in");
    carried.hear("a");
    works.store(0, Ordering::Relaxed);
    eventually("it is found unhealthy", || !account(&gate, &a).up);
    eventually("what it carried is closed", || gate.closed("in", CloseReason::Upstream) == 1);
    for _ in 0..4 {
        assert_eq!(who(&gate), "b");
    }
    works.store(1, Ordering::Relaxed);
    eventually("it is back", || account(&gate, &a).up);
    let snapshot = account(&gate, &a);
    assert!(snapshot.health_check_failures >= 2 && snapshot.health_checks > snapshot.health_check_failures);
    let order: String = (0..4).map(|_| who(&gate)).collect();
    assert!(order.contains('a'), "{order}");
}

#[test]
fn an_http_probe_wants_a_good_status() {
    let web = |status: u16| {
        let text = format!(
            "[listeners.web]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'h'\n[handlers.h]\ntype = 'http'\nstatus = {status}"
        );
        Gate::start(&text)
    };
    let (good, bad) = (web(204), web(500));
    let (a, b) = (good.address("web"), bad.address("web"));
    let gate =
        Gate::start(&forward(&[&a, &b], "health = { kind = 'http', path = '/healthz', interval = '50ms' }"));
    eventually("the bad one is found", || !account(&gate, &b).up);
    eventually("the good one was asked", || account(&gate, &a).health_checks > 1);
    assert!(account(&gate, &a).up);
}

#[test]
fn a_unix_socket_and_a_proxy_header() {
    for (version, expected) in
        [("v1", "PROXY TCP4 127.0.0.1 127.0.0.1 "), ("v2", "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c")]
    {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("back.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let gate = Gate::start(&forward(
            &[&format!("unix://{}", path.display())],
            &format!("send_proxy = '{version}'"),
        ));
        let mut client = gate.connect("in");
        client.say("hello");
        client.finish();
        let (mut backend, _) = listener.accept().unwrap();
        let mut heard = Vec::new();
        backend.read_to_end(&mut heard).unwrap();
        assert!(heard.starts_with(expected.as_bytes()), "{:?}", String::from_utf8_lossy(&heard));
        assert!(heard.ends_with(b"hello"));
    }
}

#[test]
fn an_endpoint_that_resets_is_seen_as_a_reset() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let gate = Gate::start(&forward(&[&format!("tcp://{}", listener.local_addr().unwrap())], ""));
    let mut client = gate.connect("in");
    client.say("hello");
    let (backend, _) = listener.accept().unwrap();
    // Before that it would be a dial that failed.
    eventually("it is carried", || gate.stats().conns().iter().any(|conn| conn.details.len() == 2));
    let socket = socket2::SockRef::from(&backend);
    socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(backend);
    let error = client.read(&mut [0; 8]).expect_err("a reset, not an end");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    eventually("counted", || gate.closed("in", CloseReason::Upstream) == 1);
}

#[test]
fn who_does_not_read_holds_up_nobody_else_and_is_out_of_time() {
    // An endpoint that sends faster than the client reads.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let a = format!("tcp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || while stream.write_all(&[b'x'; 64 * 1024]).is_ok() {});
        }
    });
    let gate = Gate::start(&format!("[defaults]\ntimeouts.stall = '300ms'\n{}", forward(&[&a], "")));
    let lazy = gate.connect("in");
    eventually("it is closed", || gate.closed("in", CloseReason::Stall) == 1);
    drop(lazy);
}

#[test]
fn a_reload_changes_the_upstream_and_leaves_what_is_carried() {
    let (a, b) = (named("a"), named("b"));
    let gate = Gate::start(&forward(&[&a], ""));
    let mut carried = gate.connect("in");
    carried.hear("a");
    let report = gate.reload(&forward(&[&b], ""));
    assert_eq!(report.plan.settings, ["upstreams.back.to"]);
    assert_eq!(who(&gate), "b");
    carried.ask("still at a", "still at a");
    // Gone altogether, and what is carried goes on all the same.
    gate.reload("[listeners.in]\nbind = ['tcp://127.0.0.1:0', 'unix://in.sock']\nhandler = 'echo'\n");
    assert!(gate.supervisor().upstreams().all().is_empty());
    assert!(gate.stats().snapshot().upstreams.is_empty());
    carried.ask("still there", "still there");
    gate.connect("in").ask("echo", "echo");
}
