//! HTTP/2 as those speak it who mean harm: frame by frame, on TCP and Unix sockets.

use std::io::{Read, Write};
use std::time::Duration;

use polygate::stats::CloseReason;

use crate::client::Stream;
use crate::harness::{Gate, during, eventually};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types (RFC 9113, 6), and flags.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// GET http://a/ by the static table (RFC 7541, A).
const GET: &[u8] = &[0x82, 0x86, 0x84, 0x41, 1, b'a'];

const REFUSED_STREAM: &[u8] = &[0, 0, 0, 7];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

fn request(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, GET)
}

#[derive(Debug)]
struct Frame {
    kind: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// The next frame; none at the end, in order or not.
fn next(stream: &mut Stream) -> Option<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let mut payload = vec![0; usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])];
    stream.read_exact(&mut payload).ok()?;
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    Some(Frame { kind: head[3], stream, payload })
}

/// Reads frames until one of that kind comes.
#[track_caller]
fn until(stream: &mut Stream, kind: u8) -> Frame {
    loop {
        match next(stream) {
            Some(frame) if frame.kind == kind => return frame,
            Some(_) => {}
            None => panic!("no frame of type {kind}"),
        }
    }
}

/// Whether a frame of that kind comes before the end.
fn ends_with(stream: &mut Stream, kind: u8) -> bool {
    std::iter::from_fn(|| next(stream)).any(|frame| frame.kind == kind)
}

fn gate(timeouts: &str, options: &str) -> Gate {
    Gate::start(&format!(
        "[listeners.web]\nbind = ['tcp://127.0.0.1:0', 'unix://web.sock']\nhandler = 'web'\n\
         timeouts = {{ {timeouts} }}\n[handlers.web]\ntype = 'http'\n{options}"
    ))
}

/// A connection that has begun.
#[track_caller]
fn begin(address: &str) -> Stream {
    let mut stream = Stream::to(address);
    stream.say([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat());
    stream
}

#[track_caller]
fn is_answered(stream: &mut Stream, id: u32) {
    stream.say(request(id));
    let data = until(stream, DATA);
    assert_eq!((data.stream, &*data.payload), (id, &b"Hello, World\n"[..]));
}

/// On both transports a client that does this is closed for that reason, and told to go.
#[track_caller]
fn closes(timeouts: &str, reason: CloseReason, story: impl Fn(&Gate, &mut Stream)) {
    let gate = gate(timeouts, "");
    for (earlier, address) in gate.addresses("web").iter().enumerate() {
        let mut stream = begin(address);
        is_answered(&mut stream, 1);
        story(&gate, &mut stream);
        assert!(ends_with(&mut stream, GOAWAY), "it is not told to go");
        drop(stream);
        eventually(reason.as_str(), || gate.closed("web", reason) == earlier as u64 + 1);
    }
}

#[test]
fn pings_do_not_keep_an_idle_connection() {
    closes("idle = '300ms'", CloseReason::Idle, |_, stream| {
        // Each of them is a byte that moves, and none is a request.
        during(Duration::from_millis(500), || {
            let _ = stream.write_all(&frame(PING, 0, 0, &[0; 8]));
        });
    });
}

#[test]
fn a_header_block_that_never_ends_is_out_of_time() {
    closes("idle = 'off', request = '300ms'", CloseReason::Request, |_, stream| {
        stream.say(frame(HEADERS, END_STREAM, 3, GET));
    });
}

#[test]
fn a_frame_that_never_ends_is_out_of_time() {
    closes("idle = 'off', request = '300ms'", CloseReason::Request, |_, stream| {
        stream.say(&request(3)[..12]);
    });
}

#[test]
fn a_body_that_never_ends_is_answered_408() {
    let gate = gate("request = '300ms'", "");
    let mut stream = begin(&gate.address("web"));
    stream.say(frame(HEADERS, END_HEADERS, 1, GET));
    stream.say(frame(DATA, 0, 1, b"abc"));
    let data = until(&mut stream, DATA);
    assert!(data.payload.starts_with(b"408 "), "{data:?}");
    is_answered(&mut stream, 3);
}

#[test]
fn who_resets_streams_as_fast_as_it_opens_them_is_told_to_go() {
    let gate = gate("", "delay = '20ms'");
    for address in gate.addresses("web") {
        let mut stream = begin(&address);
        let storm: Vec<u8> = (0..1_000)
            .flat_map(|n| [request(2 * n + 1), frame(RST_STREAM, 0, 2 * n + 1, &[0; 4])].concat())
            .collect();
        let _ = stream.write_all(&storm);
        assert!(ends_with(&mut stream, GOAWAY), "it may go on");
        // Whoever behaves is served meanwhile.
        is_answered(&mut begin(&address), 1);
    }
}

#[test]
fn of_too_many_streams_the_last_are_refused() {
    let gate = gate("", "delay = '500ms'");
    let mut stream = begin(&gate.address("web"));
    // Our side of the settings must be known to the client before it counts.
    until(&mut stream, SETTINGS);
    stream.say(frame(SETTINGS, 1, 0, &[]));
    stream.say((0..110).flat_map(|n| request(2 * n + 1)).collect::<Vec<u8>>());
    let (mut answered, mut refused) = (0, 0);
    while answered + refused < 110 {
        match next(&mut stream).expect("the connection goes on") {
            Frame { kind: HEADERS, .. } => answered += 1,
            Frame { kind: RST_STREAM, payload, .. } => {
                assert_eq!(payload, REFUSED_STREAM);
                refused += 1;
            }
            _ => {}
        }
    }
    assert_eq!((answered, refused), (100, 10));
}

#[test]
fn continuations_without_end_are_cut() {
    let gate = gate("", "");
    let mut stream = begin(&gate.address("web"));
    let _ = stream.write_all(&frame(HEADERS, END_STREAM, 1, GET));
    let filler = frame(CONTINUATION, 0, 1, &[0x40, 1, b'x', 1, b'y'].repeat(200));
    let cut = (0..10_000).any(|_| stream.write_all(&filler).is_err());
    assert!(cut, "it goes on for ever");
    is_answered(&mut begin(&gate.address("web")), 1);
}

#[test]
fn a_header_list_over_the_limit_is_refused() {
    let gate = gate("", "");
    let mut stream = begin(&gate.address("web"));
    // Three fields of 8 KiB, in a header block of several frames.
    let field = [&[0x40, 1, b'x', 0x7f, 0x81, 0x3f][..], &[b'y'; 8192]].concat();
    let block = [GET, &field, &field, &field].concat();
    let mut pieces = block.chunks(16_000).peekable();
    stream.say(frame(HEADERS, END_STREAM, 1, pieces.next().unwrap()));
    while let Some(piece) = pieces.next() {
        let flags = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        let _ = stream.write_all(&frame(CONTINUATION, flags, 1, piece));
    }
    // 431, a reset, or GOAWAY: never the page.
    while let Some(frame) = next(&mut stream) {
        assert!(!frame.payload.ends_with(b"Hello, World\n"), "{frame:?}");
        if gate.active("web") == 0 {
            break;
        }
        stream.finish();
    }
}

#[test]
fn what_is_no_frame_behind_the_preface_ends_it() {
    let gate = gate("", "");
    for address in gate.addresses("web") {
        let mut stream = Stream::to(&address);
        stream.say([PREFACE, &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(700)].concat());
        assert!(ends_with(&mut stream, GOAWAY));
    }
    eventually("they are gone", || gate.active("web") == 0);
}

#[test]
fn a_connection_says_what_it_speaks_and_how_many_requests_it_has_brought() {
    let gate = gate("", "");
    let mut new = begin(&gate.address("web"));
    is_answered(&mut new, 1);
    is_answered(&mut new, 3);
    let mut old = gate.connect("web");
    for _ in 0..3 {
        old.say("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(old.recv().ends_with("Hello, World\n"));
    }
    let shown = |protocol: &str, requests: &str| {
        let all = gate.stats().conns();
        let expected = [("protocol", protocol.to_owned()), ("requests", requests.to_owned())];
        eventually(protocol, || gate.stats().conns().iter().any(|view| view.details == expected));
        assert_eq!(all.len(), 2);
    };
    shown("h2", "2");
    shown("http/1.1", "3");
}

#[test]
fn a_kill_tells_it_to_go() {
    let gate = gate("", "");
    let mut stream = begin(&gate.address("web"));
    is_answered(&mut stream, 1);
    let conn = gate.stats().find(gate.stats().conns()[0].id).unwrap();
    assert!(conn.kill(CloseReason::Admin));
    assert!(ends_with(&mut stream, GOAWAY));
    eventually("it is gone", || gate.closed("web", CloseReason::Admin) == 1);
}
