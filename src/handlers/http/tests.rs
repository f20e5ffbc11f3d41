//! The options, and the pure parts fed any pieces.

use proptest::prelude::*;

use super::body::Skipper;
use super::request::{Framing, parse};
use super::*;

#[track_caller]
fn check(change: impl FnOnce(&mut Options), expected: &[&[&str]]) {
    let mut options = Options::default();
    change(&mut options);
    let found = Http::check(&options, Transports::STREAMS);
    let paths: Vec<Vec<&str>> = found.iter().map(|f| f.path.iter().map(String::as_str).collect()).collect();
    assert_eq!(paths, expected);
}

#[test]
fn options_that_would_break_the_answer_are_errors() {
    check(|_| {}, &[]);
    let header = |name: &str, value: &str| {
        let (name, value) = (name.to_owned(), value.to_owned());
        move |options: &mut Options| drop(options.headers.insert(name, value))
    };
    check(header("X-Ok", "a b"), &[]);
    check(header("X Bad", "a"), &[&["headers", "X Bad"]]);
    check(header("", "a"), &[&["headers", ""]]);
    check(header("X", "a\r\nSet-Cookie: b"), &[&["headers", "X"]]);
    check(header("X", " a"), &[&["headers", "X"]]);
    check(header("content-length", "5"), &[&["headers", "content-length"]]);
    check(header("Transfer-Encoding", "chunked"), &[&["headers", "Transfer-Encoding"]]);
    check(|options| options.content_type = "a\nb".into(), &[&["content_type"]]);
    check(|options| options.status = 204, &[]);
    check(|options| (options.status, options.body) = (304, "x".into()), &[&["body"]]);
}

#[test]
fn what_is_counted_does_not_overlap() {
    let counters = [answers(405), NOT_ALLOWED, REFUSED];
    let cells = counters.iter().flat_map(|counter| {
        let [(_, methods), (_, codes)] = counter.labels else { panic!("two labels") };
        methods.iter().flat_map(|method| codes.iter().map(move |code| (*method, *code)))
    });
    let all: Vec<_> = cells.collect();
    let distinct: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(all.len(), distinct.len(), "{all:?}");
    assert_eq!(answers(599).labels[1].1, ["599"]);
}

/// What a skipper makes of a body in such pieces: how much it takes, or its fault.
fn skip(body: &[u8], pieces: &[usize]) -> Result<usize, u16> {
    let mut skipper = Skipper::new(Framing::Chunked).map_err(|fault| fault.code())?;
    let (mut rest, mut taken) = (body, 0);
    let mut sizes = pieces.iter().cycle();
    while !rest.is_empty() {
        let size = (*sizes.next().unwrap_or(&1)).clamp(1, rest.len());
        let (n, complete) = skipper.skip(&rest[..size]).map_err(|fault| fault.code())?;
        taken += n;
        if complete {
            return Ok(taken);
        }
        rest = &rest[size..];
    }
    Ok(taken)
}

proptest! {
    /// No bytes make the parser panic, and a head is the same however much follows it.
    #[test]
    fn any_bytes_are_a_head_or_a_fault(bytes in proptest::collection::vec(any::<u8>(), 0..200), more in ".{0,50}") {
        if let Ok(Some((head, taken))) = parse(&bytes) {
            prop_assert!(taken <= bytes.len());
            let longer = [&bytes[..], more.as_bytes()].concat();
            prop_assert_eq!(parse(&longer), Ok(Some((head, taken))));
        }
    }

    /// Heads that are nearly right find more of the parser than noise does.
    #[test]
    fn nearly_right_heads_do_not_panic(
        method in "[A-Z]{1,8}", target in "[/*a-z:#?. ]{0,12}", version in "HTTP/[0-9.]{1,4}",
        fields in "((Host|Content-Length|Transfer-Encoding|Expect|X): ?[ -~]{0,12}\r\n){0,4}",
    ) {
        let text = format!("{method} {target} {version}\r\n{fields}\r\n");
        let whole = parse(text.as_bytes());
        if let Ok(Some((_, taken))) = whole {
            prop_assert_eq!(taken, text.len());
            for cut in 0..text.len() {
                prop_assert_eq!(parse(&text.as_bytes()[..cut]), Ok(None), "cut at {}", cut);
            }
        }
    }

    /// A chunked body ends at the same byte, or fails the same way, however it is cut.
    #[test]
    fn a_chunked_body_is_the_same_in_any_pieces(
        body in "([0-9a-f]{1,2}(;[a-z]{0,3})?\r\n[ab]{0,20}\r?\n?){0,6}0?\r\n([A-Z]:[a-z]\r\n)?\r\n.{0,5}",
        pieces in proptest::collection::vec(1_usize..9, 1..6),
    ) {
        prop_assert_eq!(skip(body.as_bytes(), &[body.len()]), skip(body.as_bytes(), &pieces));
    }
}
