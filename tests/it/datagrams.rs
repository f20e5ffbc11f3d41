//! Datagrams over UDP and Unix sockets: one in, one out, whatever comes.

use std::os::unix::net::UnixDatagram;
use std::time::Instant;

use polygate::config::Transports;
use polygate::handler::{Answer, BuildError, Context, DatagramHandler, Handler, Packet};
use polygate::handlers;
use polygate::stats::DatagramDrop;

use crate::client::Datagrams;
use crate::harness::{Gate, eventually, unique};

/// What fits into one UDP datagram over IPv4.
const LARGEST: usize = 65_507;

/// Each kind of endpoint is a listener of its own, so that its counters are.
fn gate(handler: &str, listener: &str) -> Gate {
    Gate::start_with(handlers::builtin().datagram::<Touchy>(), &text(handler, listener))
}

fn text(handler: &str, listener: &str) -> String {
    let endpoints = [
        ("udp", "udp://127.0.0.1:0".to_string()),
        ("path", "unixgram://l.dgram".to_string()),
        ("abstract", format!("unixgram://@{}", unique("datagrams"))),
    ];
    let listeners = endpoints
        .map(|(name, bind)| format!("[listeners.{name}]\nbind = '{bind}'\nhandler = 'h'\n{listener}\n"));
    format!("{}\n[handlers.h]\n{handler}\n", listeners.concat())
}

const ENDPOINTS: [&str; 3] = ["udp", "path", "abstract"];

#[test]
fn each_datagram_is_answered_by_one_the_empty_and_the_largest_too() {
    let gate = gate("type = 'echo'", "");
    let garbage: Vec<u8> = (0..LARGEST).map(|i| (i * 31 % 251) as u8).collect();
    for name in ENDPOINTS {
        let client = gate.datagrams(name);
        for question in [b"hello".as_slice(), b"", b"\0\xff", &garbage, b"last"] {
            client.ask(question, question);
        }
        eventually("all are counted", || gate.ledger(name).datagrams.sent == 5);
        let ledger = gate.ledger(name);
        assert_eq!(ledger.datagrams.received, 5);
        assert_eq!(ledger.received_bytes, ledger.sent_bytes);
        assert_eq!(ledger.received_bytes, 5 + 2 + LARGEST as u64 + 4);
    }
}

#[test]
fn upper_answers_in_upper_case_and_white_space_not_at_all() {
    let gate = gate("type = 'upper'\nstrip = true\ncharset = 'utf-8'", "");
    for name in ENDPOINTS {
        let client = gate.datagrams(name);
        client.send(" \r\n");
        // The loop answers in order: what comes first is the answer to this one.
        client.ask(" straße\n", "STRASSE");
        client.ask([b'a', 0xc3], [b'A', 0xc3]);
    }
}

#[test]
fn a_prefix_stands_before_every_answer_and_one_too_long_is_dropped() {
    let gate = gate("type = 'echo'\nprefix = 'response:'", "");
    for name in ENDPOINTS {
        let client = gate.datagrams(name);
        client.ask("hi", "response:hi");
        client.ask("", "response:");
        if name == "udp" {
            client.send(vec![b'x'; LARGEST]);
            client.ask("still there", "response:still there");
            assert_eq!(gate.dropped(name, DatagramDrop::TooLarge), 1);
        }
    }
}

#[test]
fn a_datagram_over_max_size_is_truncated_and_dropped() {
    let gate = gate("type = 'echo'", "datagrams.max_size = '1KiB'");
    for name in ENDPOINTS {
        let client = gate.datagrams(name);
        client.send(vec![b'x'; 1025]);
        let fits = vec![b'y'; 1024];
        client.ask(&fits, &fits);
        let ledger = gate.ledger(name);
        assert_eq!((ledger.datagrams.received, ledger.datagrams.truncated), (2, 1), "{name}");
        assert_eq!(gate.dropped(name, DatagramDrop::TooLarge), 1, "{name}");
    }
}

#[test]
fn a_sender_without_an_address_is_counted_and_the_loop_goes_on() {
    let gate = gate("type = 'echo'", "");
    for name in ["path", "abstract"] {
        let nameless = Datagrams::unix(UnixDatagram::unbound().unwrap(), &gate.address(name));
        nameless.send("hello?");
        gate.datagrams(name).ask("hi", "hi");
        assert_eq!(gate.dropped(name, DatagramDrop::NoReturnAddress), 1);
    }
}

#[test]
fn senders_with_a_path_or_an_abstract_name_are_answered() {
    let gate = gate("type = 'echo'", "");
    for name in ["path", "abstract"] {
        let socket = UnixDatagram::bind(gate.folder().join(format!("client-{name}"))).unwrap();
        Datagrams::unix(socket, &gate.address(name)).ask("from a path", "from a path");
        gate.datagrams(name).ask("from a name", "from a name");
    }
}

#[test]
fn a_sender_that_does_not_read_does_not_stop_the_loop() {
    let gate = gate("type = 'echo'", "");
    for name in ["path", "abstract"] {
        let deaf = gate.datagrams(name);
        // What it does not read fills our send buffer: the kernel charges the sender (unix(7)).
        for sent in 1.. {
            deaf.send("hello?");
            eventually("it is received", || gate.ledger(name).datagrams.received == sent);
            if gate.dropped(name, DatagramDrop::SendError) > 0 {
                break;
            }
        }
        // The loop goes on, and when that one is gone everybody is answered again.
        deaf.send("hello?");
        drop(deaf);
        gate.datagrams(name).ask("hi", "hi");
    }
}

#[test]
fn the_answer_leaves_from_the_address_that_was_asked() {
    let gate = Gate::start("[listeners.l]\nbind = 'udp://0.0.0.0:0'\nhandler = 'echo'");
    let port = gate.address("l").rsplit_once(':').unwrap().1.to_string();
    for asked in ["127.0.0.5", "127.0.0.1", "127.1.2.3"] {
        // A connected socket hears nobody else.
        Datagrams::udp("127.0.0.1", &format!("{asked}:{port}")).ask("hi", "hi");
    }
}

#[test]
fn a_source_has_its_burst_and_then_its_rate() {
    let gate = gate("type = 'echo'", "datagrams = { trusted = [], rate = 1, burst = 5 }");
    let client = gate.datagrams("udp");
    let start = Instant::now();
    (0..20).for_each(|_| client.send("hi"));
    eventually("all are received", || gate.ledger("udp").datagrams.received == 20);
    eventually("all are accounted for", || {
        gate.ledger("udp").datagrams.sent + gate.dropped("udp", DatagramDrop::Rate) == 20
    });
    let answered = gate.ledger("udp").datagrams.sent;
    // Exactly the burst, unless this machine is so busy that seconds pass.
    assert!((5..=5 + start.elapsed().as_secs()).contains(&answered), "{answered}");
    assert_eq!(client.waiting() as u64, answered);
    // Another source has its own rate.
    let other = gate.address("udp").replace("udp://", "");
    Datagrams::udp("127.0.0.2", &other).ask("hi", "hi");
}

#[test]
fn networks_that_are_trusted_have_no_rate() {
    let gate = gate("type = 'echo'", "datagrams = { rate = 1, burst = 1 }");
    let client = gate.datagrams("udp");
    (0..50).for_each(|_| client.ask("hi", "hi"));
}

#[test]
fn networks_that_are_not_allowed_get_no_answer() {
    let gate = Gate::start(
        "[listeners.udp]\nbind = 'udp://127.0.0.1:0'\nhandler = 'echo'\nallow = ['127.0.0.1']\ndeny = []",
    );
    let at = gate.address("udp").replace("udp://", "");
    let stranger = Datagrams::udp("127.0.0.2", &at);
    stranger.send("hello?");
    gate.datagrams("udp").ask("hi", "hi");
    assert_eq!(gate.dropped("udp", DatagramDrop::Acl), 1);
    assert_eq!(stranger.waiting(), 0);
}

#[test]
fn a_handler_that_panics_loses_one_datagram_only() {
    let gate = gate("type = 'touchy'", "");
    for name in ENDPOINTS {
        let client = gate.datagrams(name);
        client.ask("before", "before");
        client.send("boom");
        client.ask("after", "after");
        assert_eq!(gate.ledger(name).handler_panics, 1);
    }
}

/// Panics when asked to.
struct Touchy;

/// It has no options.
#[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoOptions {}

impl Handler for Touchy {
    const NAME: &'static str = "touchy";
    const TRANSPORTS: Transports = Transports::DATAGRAMS;
    type Options = NoOptions;

    fn new(_: NoOptions, _: &Context) -> Result<Self, BuildError> {
        Ok(Touchy)
    }
}

impl DatagramHandler for Touchy {
    fn answer(&self, packet: &mut Packet<'_>) -> Answer {
        assert_ne!(packet.bytes(), b"boom", "as the test asked");
        Answer::Reply
    }
}
