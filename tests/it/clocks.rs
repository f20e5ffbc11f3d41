//! The clocks: whoever is out of time is closed, for the right reason, and nobody else.

use std::io::Write;
use std::time::Duration;

use polygate::stats::CloseReason;

use crate::client::Stream;
use crate::harness::{Gate, during, eventually};

fn gate(timeouts: &str) -> Gate {
    Gate::start(&format!(
        r#"
        [listeners.l]
        bind = ["tcp://127.0.0.1:0", "unix://l.sock"]
        handler = "echo"
        timeouts = {{ {timeouts} }}
        "#
    ))
}

/// On both transports a client that does this is closed for that reason.
#[track_caller]
fn closes(timeouts: &str, reason: CloseReason, story: impl Fn(&mut Stream)) {
    let gate = gate(timeouts);
    for (earlier, address) in gate.addresses("l").iter().enumerate() {
        let mut stream = Stream::to(address);
        story(&mut stream);
        eventually(reason.as_str(), || gate.closed("l", reason) == earlier as u64 + 1);
        stream.is_gone();
    }
    assert_eq!(gate.accepted("l"), 2);
}

#[test]
fn a_client_that_never_says_anything_is_closed() {
    closes("first_byte = '100ms', idle = 'off'", CloseReason::FirstByte, |_| {});
}

#[test]
fn a_client_that_falls_silent_is_closed() {
    closes("idle = '100ms'", CloseReason::Idle, |stream| stream.ask("hi", "hi"));
}

#[test]
fn a_client_that_does_not_read_is_closed() {
    closes("idle = 'off', stall = '150ms'", CloseReason::Stall, |stream| {
        // Until it is thrown out: its answers fill every buffer on the way.
        let block = vec![b'x'; 64 * 1024];
        while stream.write_all(&block).is_ok() {}
    });
}

#[test]
fn a_client_may_stay_for_its_lifetime_however_busy_it_is() {
    closes("lifetime = '200ms'", CloseReason::Lifetime, |stream| {
        while stream.write_all(b"hi").is_ok() {
            let mut answer = [0; 2];
            if std::io::Read::read_exact(stream, &mut answer).is_err() {
                break;
            }
        }
    });
}

#[test]
fn a_client_that_keeps_moving_is_never_idle() {
    let gate = gate("idle = '300ms', stall = '300ms', first_byte = '300ms'");
    for address in gate.addresses("l") {
        let mut stream = Stream::to(&address);
        during(Duration::from_millis(1_000), || stream.ask("hi", "hi"));
    }
    eventually("they are gone", || gate.active("l") == 0);
    assert_eq!(gate.closed("l", CloseReason::Client), 2);
}

#[test]
fn after_its_first_byte_a_client_may_be_silent() {
    let gate = gate("first_byte = '100ms', idle = 'off'");
    let mut talker = gate.connect("l");
    talker.ask("hi", "hi");
    // When one that came later has been closed, the first one's time is over, too.
    let mut silent = gate.connect("l");
    silent.is_gone();
    talker.ask("still here", "still here");
    assert_eq!(gate.closed("l", CloseReason::FirstByte), 1);
}

#[test]
fn off_is_never() {
    let gate = gate("idle = 'off', lifetime = 'off', first_byte = 'off', stall = 'off', handshake = '100ms'");
    let mut stream = gate.connect("l");
    during(Duration::from_millis(300), || ());
    stream.ask("hi", "hi");
}
