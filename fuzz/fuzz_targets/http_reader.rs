//! Any bytes for the reader of HTTP/1.1: it must not panic, and what it makes of them must not depend on how
//! they are cut.
//!
//!     RUSTC_BOOTSTRAP=1 cargo fuzz run http_reader -- -dict=fuzz/http.dict

#![no_main]

use libfuzzer_sys::fuzz_target;
use polygate::handlers::http::{Reader, Step};

/// Every request and how it ended, read in pieces of that size.
fn read(bytes: &[u8], size: usize) -> (Vec<Step>, bool) {
    let mut reader = Reader::new();
    let mut steps = Vec::new();
    for mut piece in bytes.chunks(size.max(1)) {
        loop {
            let step = reader.next(&mut piece);
            match step {
                Step::More => break,
                // Whether it is said depends on what has come already.
                Step::Expects => {}
                Step::Request(_) => steps.push(step),
                Step::Http2 | Step::Refused(..) => {
                    steps.push(step);
                    return (steps, false);
                }
            }
        }
        assert!(piece.is_empty(), "bytes are left");
    }
    (steps, reader.has_begun())
}

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = input;
    let whole = read(bytes, bytes.len());
    assert_eq!(whole, read(bytes, usize::from(size)), "in pieces of {size}");
    assert_eq!(whole, read(bytes, 1), "byte by byte");
});
