//! `reply`, `discard`, `chargen`, `daytime` and `time`: on connections and in datagrams.

use polygate::stats::CloseReason;

use crate::harness::{Gate, eventually};

fn gate(handler: &str) -> Gate {
    gate_on(&[STREAMS, DATAGRAMS].concat(), handler)
}

/// With a listener for each of the transports, of its name.
fn gate_on(transports: &[&str], handler: &str) -> Gate {
    let bind = |transport: &str| match transport {
        "tcp" | "udp" => format!("{transport}://127.0.0.1:0"),
        _ => format!("{transport}://l.{transport}"),
    };
    let listener = |name: &&str| format!("[listeners.{name}]\nbind = '{}'\nhandler = 'h'\n", bind(name));
    let listeners: String = transports.iter().map(listener).collect();
    Gate::start(&format!("{listeners}[handlers.h]\n{handler}\n"))
}

const STREAMS: [&str; 2] = ["tcp", "unix"];
const DATAGRAMS: [&str; 2] = ["udp", "unixgram"];

#[test]
fn whatever_is_said_the_reply_is_the_same() {
    let gate = gate("type = 'reply'");
    for name in STREAMS {
        let mut stream = gate.connect(name);
        for question in ["hello", "\r\n", "bye"] {
            stream.say(question);
            assert_eq!(stream.recv(), "ok");
        }
        stream.finish();
        stream.is_ended();
    }
    for name in DATAGRAMS {
        let client = gate.datagrams(name);
        for question in ["hello", "", "bye"] {
            client.ask(question, "ok");
        }
    }
}

#[test]
fn a_reply_on_connect_comes_unasked_and_is_the_last_word() {
    let gate = gate_on(&STREAMS, "type = 'reply'\non = 'connect'\nbody = 'welcome'");
    for name in STREAMS {
        let mut stream = gate.connect(name);
        assert_eq!(stream.rest(), b"welcome");
    }
}

#[test]
fn a_reply_knows_who_asks_and_where() {
    let gate = gate("type = 'reply'\nbody = '{local} {listener} {{now} {unknown}'");
    let address = |name| gate.address(name).split_once("://").unwrap().1.to_owned();
    let mut stream = gate.connect("tcp");
    stream.ask("?", format!("{} tcp {{now}} {{unknown}}", address("tcp")));
    gate.datagrams("udp").ask("?", format!("{} udp {{now}} {{unknown}}", address("udp")));
}

#[test]
fn what_is_discarded_is_counted_and_never_answered() {
    let gate = gate("type = 'discard'");
    let long = vec![b'x'; 200_000];
    for name in STREAMS {
        let mut stream = gate.connect(name);
        stream.say(&long);
        stream.finish();
        stream.is_ended();
        eventually("it is counted", || gate.ledger(name).received_bytes == long.len() as u64);
        assert_eq!(gate.ledger(name).sent_bytes, 0);
    }
    for name in DATAGRAMS {
        let client = gate.datagrams(name);
        client.send("one");
        client.send("");
        eventually("they are counted", || gate.ledger(name).datagrams.received == 2);
        assert_eq!(gate.ledger(name).datagrams.sent, 0);
    }
}

#[test]
fn characters_come_for_as_long_as_they_are_read() {
    let gate = gate("type = 'chargen'\ndatagram_size = '512B'");
    let whole: Vec<u8> = (0..1000_usize)
        .flat_map(|line| (0..72).map(move |at| b' ' + ((line + at) % 95) as u8).chain(*b"\r\n"))
        .collect();
    for name in STREAMS {
        let mut stream = gate.connect(name);
        stream.hear(&whole);
        drop(stream);
        eventually("it ends with its client", || gate.active(name) == 0);
        assert_eq!(gate.closed(name, CloseReason::Client), 1);
    }
    for name in DATAGRAMS {
        gate.datagrams(name).ask("?", &whole[..512]);
    }
}

#[test]
fn characters_may_end_after_so_many() {
    let gate = gate("type = 'chargen'\ntotal = '10KB'");
    for name in STREAMS {
        assert_eq!(gate.connect(name).rest().len(), 10_000);
    }
}

#[test]
fn whoever_does_not_read_characters_holds_up_no_shutdown() {
    let gate = gate("type = 'chargen'");
    let _stream = gate.connect("tcp");
    eventually("much has been sent", || gate.ledger("tcp").sent_bytes > 100_000);
    let drained = gate.shutdown();
    assert_eq!((drained.finished, drained.killed), (1, 0));
}

#[test]
fn the_time_is_told_and_the_connection_ends() {
    let gate = gate("type = 'daytime'\nformat = 'rfc3339'");
    for name in STREAMS {
        let told = String::from_utf8(gate.connect(name).rest()).unwrap();
        assert!(told.starts_with("20") && told.ends_with("Z\r\n"), "{told}");
    }
    for name in DATAGRAMS {
        let client = gate.datagrams(name);
        client.send("");
        assert!(client.recv().ends_with(b"Z\r\n"));
    }
}

#[test]
fn the_time_as_a_number_is_now() {
    let gate = gate("type = 'time'");
    let now = || std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let seconds = |bytes: Vec<u8>| u64::from(u32::from_be_bytes(bytes.try_into().unwrap()));
    let before = now();
    let mut told: Vec<u64> = STREAMS.iter().map(|name| seconds(gate.connect(name).rest())).collect();
    for name in DATAGRAMS {
        let client = gate.datagrams(name);
        client.send("");
        told.push(seconds(client.recv()));
    }
    let after = now();
    for second in told {
        // The number begins anew in 2036.
        let since_1970 = (second + (1 << 32) - 2_208_988_800) % (1 << 32);
        assert!((before % (1 << 32)..=after % (1 << 32)).contains(&since_1970), "{second}");
    }
}
