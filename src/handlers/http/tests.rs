//! The reader, fed any bytes in any pieces.

use proptest::prelude::*;

use super::*;

/// What the reader makes of bytes in such pieces: every request and, last, how it ended.
fn read(bytes: &[u8], pieces: &[usize]) -> (Vec<Step>, bool) {
    let mut reader = Reader::new();
    let mut steps = Vec::new();
    let mut rest = bytes;
    for size in pieces.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (mut piece, behind) = rest.split_at((*size).clamp(1, rest.len()));
        loop {
            let step = reader.next(&mut piece);
            match step {
                Step::More => {
                    assert!(piece.is_empty(), "bytes are left");
                    break;
                }
                // Whether it is said depends on what has come already.
                Step::Expects => {}
                Step::Request(_) => steps.push(step),
                Step::Http2 | Step::Refused(..) => {
                    steps.push(step);
                    return (steps, false);
                }
            }
        }
        rest = behind;
    }
    (steps, reader.has_begun())
}

/// Pieces of requests, right and wrong, so that a few of them in a row are often nearly right.
const PIECES: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "GET / HTTP/1.1\r\n",
    "OPTIONS * HTTP/1.1\r\n",
    "CONNECT a:1 HTTP/1.1\r\n",
    "GET http://a/ HTTP/1.1\r\n",
    "Host: a\r\n",
    "Expect: 100-continue\r\nContent-Length: 2\r\n",
    "Content-Length: 9999999\r\n",
    "Transfer-Encoding: chunked\r\n",
    "X:",
    " folded\r\n",
    "3;x=y\r\nabc\r\n",
    "0\r\n",
    "T: t\r\n",
    "\r\n",
    "\r",
    "\n",
    "\0",
    "a",
    " ",
    "PRI * HTTP/2.0\r\n\r\n",
    "SM\r\n\r\n",
];

fn nearly_right() -> impl Strategy<Value = Vec<u8>> {
    let long = (0..3_usize).prop_map(|n| "x".repeat([100, 5_000, 9_000][n]).into_bytes());
    let piece = prop_oneof![
        20 => proptest::sample::select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => long,
        1 => proptest::collection::vec(any::<u8>(), 0..20),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_read_does_not_depend_on_how_it_is_cut(
        bytes in nearly_right(),
        pieces in proptest::collection::vec(1_usize..40, 1..8),
    ) {
        let whole = read(&bytes, &[bytes.len().max(1)]);
        prop_assert_eq!(&whole, &read(&bytes, &pieces));
        prop_assert_eq!(&whole, &read(&bytes, &[1]));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        read(&bytes, &[7]);
    }
}

#[test]
fn a_reader_holds_what_has_come_and_nothing_between_requests() {
    let mut reader = Reader::new();
    let mut input: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT";
    assert!(matches!(reader.next(&mut input), Step::Request(_)));
    assert!(!reader.has_begun());
    assert_eq!(reader.next(&mut input), Step::More);
    assert!(reader.has_begun() && !reader.is_in_body());
    let mut input: &[u8] = b"TP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n";
    assert_eq!(reader.next(&mut input), Step::More);
    assert!(reader.is_in_body());
    let mut input: &[u8] = b"xrest";
    assert!(matches!(reader.next(&mut input), Step::Request(_)));
    assert_eq!(input, b"rest");
}
