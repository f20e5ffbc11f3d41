//! One case for each rule of RFC 9112 and RFC 9110 that a server of this kind can break: fed whole, byte by
//! byte, and pipelined behind a good request.

use crate::client::Stream;
use crate::harness::Gate;

const CONFIG: &str = r#"
    [listeners.web]
    bind = "tcp://127.0.0.1:0"
    handler = "http"
"#;

/// What the answers to a case are.
#[derive(Debug, Clone, Copy)]
enum Expect {
    /// These codes, and the connection goes on.
    Open(&'static [u16]),
    /// These codes, and the connection is closed.
    Closed(&'static [u16]),
}
use Expect::{Closed, Open};

const OK: Expect = Open(&[200]);
const BAD: Expect = Closed(&[400]);

/// Section, what it is about, what is sent, what comes.
const CASES: &[(&str, &str, &str, Expect)] = &[
    ("9112 2.1", "a plain request", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", OK),
    (
        "9112 2.2",
        "one empty line before the request is forgiven",
        "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        OK,
    ),
    ("9112 2.2", "a second one is not", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9112 2.2", "a bare LF ends no line", "GET / HTTP/1.1\nHost: a\n\n", BAD),
    ("9112 2.2", "a bare LF after a field", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", BAD),
    ("9112 2.2", "a bare CR in a field", "GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n", BAD),
    ("9112 2.2", "white space before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", BAD),
    ("9110 5.5", "NUL in a field", "GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n", BAD),
    ("9112 3", "two spaces in the request line", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9112 3", "a tab in the request line", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9112 3", "a space behind the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", BAD),
    ("9112 3", "no version: HTTP/0.9 is gone", "GET /\r\n\r\n", BAD),
    ("9110 9.1", "a method is a token", "G(T / HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9110 9.1", "methods are case-sensitive", "get / HTTP/1.1\r\nHost: a\r\n\r\n", Open(&[405])),
    ("9110 15.5.6", "a method that is not allowed", "BREW / HTTP/1.1\r\nHost: a\r\n\r\n", Open(&[405])),
    ("9112 3.2", "a fragment in the target", "GET /#a HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9112 3.2", "a target that is none of the four forms", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9112 3.2", "a byte beyond ASCII in the target", "GET /\u{e4} HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9112 3.2.2", "the absolute form is accepted", "GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n", OK),
    ("9112 3.2.2", "an absolute form of another scheme", "GET ftp://b/x HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9112 3.2.3", "the authority form is for CONNECT", "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9112 3.2.3", "CONNECT with its authority", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", Open(&[405])),
    ("9112 3.2.4", "the asterisk form is for OPTIONS", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
    ("9112 3.2.4", "OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Open(&[405])),
    ("9112 3.2", "HTTP/1.1 without Host", "GET / HTTP/1.1\r\n\r\n", BAD),
    ("9112 3.2", "two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", BAD),
    ("9112 3.2", "an invalid Host", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", BAD),
    ("9112 3.2", "a Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", BAD),
    ("9112 3.2", "a Host with a user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", BAD),
    ("9112 3.2", "a Host whose port is none", "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", BAD),
    ("9112 3.2", "an IPv6 Host", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", OK),
    ("9112 3.2", "an empty Host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", OK),
    ("9112 2.3", "a version that is not written as one", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", BAD),
    ("9112 2.3", "the version's name is case-sensitive", "GET / http/1.1\r\nHost: a\r\n\r\n", BAD),
    (
        "9110 15.6.6",
        "a major version that we do not have",
        "GET / HTTP/3.0\r\nHost: a\r\n\r\n",
        Closed(&[505]),
    ),
    ("9110 6.2", "a higher minor version is ours", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", OK),
    ("9112 5.1", "white space before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", BAD),
    ("9112 5.1", "a field without a colon", "GET / HTTP/1.1\r\nHost: a\r\nabc\r\n\r\n", BAD),
    ("9110 5.1", "a field's name is a token", "GET / HTTP/1.1\r\nHost: a\r\nX@: b\r\n\r\n", BAD),
    ("9110 5.1", "a field without a name", "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", BAD),
    ("9112 5.2", "a folded field", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", BAD),
    ("9110 5.5", "obs-text in a value passes", "GET / HTTP/1.1\r\nHost: a\r\nX: \u{e4}\r\n\r\n", OK),
    (
        "9112 6.1",
        "a length beside a coding",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        BAD,
    ),
    (
        "9112 6.1",
        "the other way round",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        BAD,
    ),
    (
        "9112 6.1",
        "a coding in HTTP/1.0",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        BAD,
    ),
    (
        "9112 6.1",
        "a coding below chunked",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        BAD,
    ),
    (
        "9112 6.3",
        "chunked is not the last",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        BAD,
    ),
    (
        "9112 6.1",
        "chunked twice",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        BAD,
    ),
    (
        "9112 7",
        "codings are case-insensitive",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
        Open(&[405]),
    ),
    (
        "9112 7",
        "a coding that nobody knows",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        BAD,
    ),
    (
        "9112 6.3",
        "two lengths that differ",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        BAD,
    ),
    (
        "9110 8.6",
        "the same length twice",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        Open(&[405]),
    ),
    ("9110 8.6", "a length with a sign", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na", BAD),
    ("9110 8.6", "a negative length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", BAD),
    ("9110 8.6", "a list of lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\na", BAD),
    ("9110 8.6", "a hexadecimal length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\na", BAD),
    ("9110 8.6", "an empty length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", BAD),
    (
        "9110 8.6",
        "a length that overflows",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        Closed(&[413]),
    ),
    (
        "9110 15.5.14",
        "a body that is too long",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n",
        Closed(&[413]),
    ),
    (
        "9112 6",
        "a body is read before the next request",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        Open(&[405, 200]),
    ),
    ("9110 9.3.1", "GET may have a body", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", OK),
    (
        "9112 7.1",
        "chunks, extensions and trailers",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n00A\r\n0123456789\r\n0\r\nX: y\r\n\r\n",
        OK,
    ),
    (
        "9112 7.1",
        "a chunk's size is hexadecimal",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n\r\n",
        BAD,
    ),
    (
        "9112 7.1",
        "a chunk without a size",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        BAD,
    ),
    (
        "9112 7.1",
        "a chunk that is longer than it says",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        BAD,
    ),
    (
        "9112 7.1",
        "a bare LF behind a size",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
        BAD,
    ),
    (
        "9112 7.1",
        "a size that overflows",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        Closed(&[413]),
    ),
    (
        "9112 7.1.2",
        "a trailer that is no field",
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX y\r\n\r\n",
        BAD,
    ),
    ("9112 9.3", "close is heeded", "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", Closed(&[200])),
    (
        "9112 9.3",
        "close among others, in any case",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n",
        Closed(&[200]),
    ),
    ("9112 9.3", "HTTP/1.0 closes", "GET / HTTP/1.0\r\n\r\n", Closed(&[200])),
    ("9112 9.3", "HTTP/1.0 may ask to stay", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", OK),
    (
        "9112 9.3.2",
        "pipelined requests are answered in order",
        "BREW / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        Open(&[405, 200]),
    ),
    (
        "9112 9.6",
        "nothing is answered behind close",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        Closed(&[200]),
    ),
    (
        "9110 10.1.1",
        "an expectation that nobody knows",
        "GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n",
        Closed(&[417]),
    ),
    (
        "9110 10.1.1",
        "HTTP/1.0 expects nothing",
        "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na",
        Closed(&[405]),
    ),
    (
        "9110 7.8",
        "an upgrade may be ignored",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        OK,
    ),
];

const GOOD: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Reads one answer: its code, whether it says close, and its body.
fn answer(stream: &mut Stream, is_head: bool) -> Option<(u16, bool, String)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match std::io::Read::read(stream, &mut byte) {
            Ok(1) => head.push(byte[0]),
            Ok(_) if head.is_empty() => return None,
            other => panic!("{other:?} after {:?}", String::from_utf8_lossy(&head)),
        }
    }
    let head = String::from_utf8(head).unwrap();
    let code: u16 = head[9..12].parse().unwrap_or_else(|_| panic!("{head}"));
    if code == 100 {
        return answer(stream, is_head);
    }
    assert!(head.starts_with("HTTP/1.1 ") && head.contains("\r\nDate: "), "{head}");
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    let length: usize = field("Content-Length: ").unwrap().parse().unwrap();
    let mut body = vec![0; if is_head { 0 } else { length }];
    std::io::Read::read_exact(stream, &mut body).unwrap();
    Some((code, field("Connection: ") == Some("close"), String::from_utf8(body).unwrap()))
}

#[track_caller]
fn judge(stream: &mut Stream, name: &str, expect: Expect) {
    let (codes, closes) = match expect {
        Open(codes) => (codes, false),
        Closed(codes) => (codes, true),
    };
    for (index, code) in codes.iter().enumerate() {
        let (got, close, _) = answer(stream, false).unwrap_or_else(|| panic!("{name}: no answer {code}"));
        assert_eq!(got, *code, "{name}");
        assert_eq!(close, closes && index + 1 == codes.len(), "{name}: Connection: close");
    }
    if closes {
        assert!(answer(stream, false).is_none(), "{name}: there is more");
    } else {
        stream.say(GOOD);
        assert_eq!(answer(stream, false).map(|(code, ..)| code), Some(200), "{name}: the next request");
    }
}

#[test]
fn whole() {
    let gate = Gate::start(CONFIG);
    for (section, name, request, expect) in CASES {
        let mut stream = gate.connect("web");
        stream.say(request);
        judge(&mut stream, &format!("{section}, {name}"), *expect);
    }
}

#[test]
fn byte_by_byte() {
    let gate = Gate::start(CONFIG);
    for (section, name, request, expect) in CASES {
        let mut stream = gate.connect("web");
        for byte in request.as_bytes() {
            // Once refused, the rest may meet a closed connection.
            if std::io::Write::write_all(&mut stream, &[*byte]).is_err() {
                break;
            }
        }
        judge(&mut stream, &format!("{section}, {name}, byte by byte"), *expect);
    }
}

#[test]
fn behind_a_good_request() {
    let gate = Gate::start(CONFIG);
    for (section, name, request, expect) in CASES {
        let mut stream = gate.connect("web");
        stream.say(format!("{GOOD}{request}"));
        let name = format!("{section}, {name}, pipelined");
        assert_eq!(answer(&mut stream, false).map(|(code, ..)| code), Some(200), "{name}: the first");
        judge(&mut stream, &name, *expect);
    }
}

#[test]
fn a_head_that_is_too_long_is_refused_with_its_own_code() {
    let gate = Gate::start(CONFIG);
    let long = "a".repeat(9_000);
    let fields: String = (0..101).map(|n| format!("X{n}: a\r\n")).collect();
    for (request, code) in [
        (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), 414),
        // It never ends, and is refused all the same.
        (format!("GET /{long}"), 414),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\nY: {long}\r\n\r\n"), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\nY: {long}"), 431),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"), 431),
    ] {
        let mut stream = gate.connect("web");
        stream.say(request);
        judge(
            &mut stream,
            &code.to_string(),
            Closed(match code {
                414 => &[414],
                _ => &[431],
            }),
        );
    }
}

#[test]
fn a_head_request_has_the_length_and_no_body() {
    let gate = Gate::start(CONFIG);
    let mut stream = gate.connect("web");
    stream.say("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(answer(&mut stream, true), Some((200, false, String::new())));
    stream.say(GOOD);
    assert_eq!(answer(&mut stream, false), Some((200, false, "Hello, World\n".into())));
}

#[test]
fn a_client_that_expects_100_hears_it_before_it_sends_its_body() {
    let gate = Gate::start(CONFIG);
    let mut stream = gate.connect("web");
    stream.say("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    stream.hear("HTTP/1.1 100 Continue\r\n\r\n");
    stream.say("abc");
    assert_eq!(answer(&mut stream, false).map(|(code, ..)| code), Some(200));
    // One whose body is too long is refused before it comes.
    stream.say("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\nExpect: 100-continue\r\n\r\n");
    judge(&mut stream, "too long", Closed(&[413]));
}

#[test]
fn chunks_without_end_are_cut_at_a_mebibyte() {
    let gate = Gate::start(CONFIG);
    for chunk in ["10000\r\n", "1\r\n"] {
        let mut stream = gate.connect("web");
        stream.say("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        let size = usize::from_str_radix(chunk.trim_end(), 16).unwrap();
        let chunk = format!("{chunk}{}\r\n", "a".repeat(size)).repeat(if size == 1 { 20_000 } else { 1 });
        // Many times as much; what comes behind the limit is thrown away, so that the answer arrives.
        for _ in 0..60 {
            stream.say(&chunk);
        }
        judge(&mut stream, "endless chunks", Closed(&[413]));
    }
    crate::harness::eventually("both are counted", || {
        gate.closed("web", polygate::stats::CloseReason::TooLarge) == 2
    });
}
