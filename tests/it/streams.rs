//! `echo` and `upper` on connections: TCP, Unix, and Unix in the abstract namespace.

use crate::client::Stream;
use crate::harness::{Gate, eventually, unique};

/// Runs a story on each kind of endpoint, on a connection of its own.
#[track_caller]
fn on_each_endpoint(handler: &str, story: impl Fn(&mut Stream)) {
    let gate = Gate::start(&format!(
        r#"
        [listeners.l]
        bind = ["tcp://127.0.0.1:0", {} "unix://l.sock", "unix://@{}"]
        handler = "h"
        [handlers.h]
        {handler}
        "#,
        if has_ipv6() { "\"tcp://[::1]:0\"," } else { "" },
        unique("streams")
    ));
    let addresses = gate.addresses("l");
    assert!(addresses.len() >= 3);
    for address in addresses {
        story(&mut Stream::to(&address));
    }
    eventually("the clients are gone", || gate.active("l") == 0);
}

fn has_ipv6() -> bool {
    std::net::TcpListener::bind("[::1]:0").is_ok()
}

#[test]
fn what_is_said_comes_back_as_it_was() {
    let bytes: Vec<u8> = (0..=255).collect();
    on_each_endpoint("type = 'echo'", |stream| {
        for text in [b"hello\n".as_slice(), b"\0", &bytes] {
            stream.ask(text, text);
        }
    });
}

#[test]
fn what_came_before_the_fin_is_answered_and_then_comes_fin() {
    let long = vec![b'x'; 100_000];
    on_each_endpoint("type = 'echo'", |stream| {
        stream.say(&long);
        stream.finish();
        assert!(stream.rest() == long);
    });
}

#[test]
fn a_client_that_says_nothing_gets_its_fin() {
    on_each_endpoint("type = 'echo'", |stream| {
        stream.finish();
        stream.is_ended();
    });
}

#[test]
fn the_greeting_comes_unasked_and_once() {
    on_each_endpoint("type = 'echo'\ngreeting = '欢迎致电'", |stream| {
        stream.hear("欢迎致电");
        stream.ask("hi", "hi");
    });
}

#[test]
fn prefix_and_chunk_arrive_in_one_piece() {
    on_each_endpoint("type = 'echo'\nprefix = 'response:'", |stream| {
        for round in 0..20 {
            stream.say(format!("question {round}"));
            assert_eq!(stream.recv(), format!("response:question {round}"));
        }
    });
}

#[test]
fn a_long_message_is_answered_chunk_by_chunk() {
    on_each_endpoint("type = 'echo'\nprefix = 'response:'\nchunk = '1KiB'", |stream| {
        let text: String = ('a'..='z').cycle().take(3000).collect();
        stream.say(&text);
        for part in [&text[..1024], &text[1024..2048], &text[2048..]] {
            stream.hear(format!("response:{part}"));
        }
    });
}

#[test]
fn letters_come_back_in_upper_case_ascii_ones_only() {
    on_each_endpoint("type = 'upper'", |stream| {
        stream.ask("hello, grün\n", "HELLO, GRüN\n");
        stream.ask([b'a', 0xff, 0, b'z'], [b'A', 0xff, 0, b'Z']);
    });
}

#[test]
fn stripping_leaves_no_white_space_and_answers_nothing_if_nothing_is_left() {
    on_each_endpoint("type = 'upper'\nstrip = true", |stream| {
        stream.ask("  hello you \r\n", "HELLO YOU");
        // Alone or together with what follows: there is no answer to white space.
        stream.say(" \r\n");
        stream.ask("x", "X");
        stream.finish();
        stream.is_ended();
    });
}

#[test]
fn a_character_cut_by_two_writes_is_right() {
    on_each_endpoint("type = 'upper'\ncharset = 'utf-8'", |stream| {
        let sharp_s = "ß".as_bytes();
        stream.ask([b'a', sharp_s[0]], "A");
        stream.ask([sharp_s[1], b'b'], "SSB");
        // What is cut at the end comes back as it was.
        stream.ask([b'c', 0xe2, 0x82], "C");
        stream.finish();
        assert_eq!(stream.rest(), [0xe2, 0x82]);
    });
}

#[test]
fn bytes_are_counted_each_way() {
    let gate = Gate::start(
        r#"
        [listeners.l]
        bind = "tcp://127.0.0.1:0"
        handler = "h"
        [handlers.h]
        type = "echo"
        greeting = "hello"
        prefix = ">"
        "#,
    );
    let mut stream = gate.connect("l");
    stream.hear("hello");
    stream.ask("1234", ">1234");
    // The client may hear the answer before it is counted.
    eventually("they are counted while it is open", || {
        let open = gate.ledger("l");
        (open.received_bytes, open.sent_bytes, open.active) == (4, 10, 1)
    });
    drop(stream);
    eventually("it is closed", || gate.active("l") == 0);
    let closed = gate.ledger("l");
    assert_eq!((closed.received_bytes, closed.sent_bytes, closed.accepted), (4, 10, 1));
}

#[test]
fn many_clients_at_once_each_get_their_own() {
    let gate = Gate::start("[listeners.l]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'echo'");
    let address = gate.address("l");
    std::thread::scope(|scope| {
        for client in 0..8 {
            let address = &address;
            scope.spawn(move || {
                for round in 0..20 {
                    let text = format!("client {client} round {round} ").repeat(200);
                    Stream::to(address).ask(&text, &text);
                }
            });
        }
    });
    assert_eq!(gate.accepted("l"), 160);
    eventually("all are gone", || gate.active("l") == 0);
}
