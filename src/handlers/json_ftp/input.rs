//! What comes from the client: JSON objects without a delimiter, and the bytes of files in between.

use std::io;

use serde_json::{Map, Value};

use crate::handler::Conn;
use crate::stats::Phase;

/// The longest object, in bytes.
const LONGEST: usize = 8 * 1024;

/// How much is read at once while an object is expected.
const CHUNK: usize = 16 * 1024;

/// What came, as far as it has not been used. Empty, it holds no memory.
#[derive(Debug, Default)]
pub(super) struct Input {
    rest: Vec<u8>,
}

/// What comes next.
pub(super) enum Next {
    /// An object.
    Object(Map<String, Value>),
    /// The peer's end, or ours: nothing more is asked for.
    End,
    /// Something that is no object, or too long.
    Broken,
}

/// Finds the end of an object, whatever is cut off between two bytes.
#[derive(Debug, Default)]
struct Scanner {
    seen: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Scanner {
    /// Goes on in the bytes from the first byte of the object; none if the end is not there yet. Whether it is
    /// JSON is looked at when it is complete.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        for byte in &bytes[self.seen..] {
            self.seen += 1;
            match (self.in_string, byte) {
                (true, _) if self.escaped => self.escaped = false,
                (true, b'\\') => self.escaped = true,
                (_, b'"') => self.in_string = !self.in_string,
                (false, b'{' | b'[') => self.depth += 1,
                (false, b'}' | b']') => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(self.seen);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

impl Input {
    /// The next object. Between two the conn may end: when it is asked to finish it does.
    pub(super) async fn object(&mut self, conn: &mut Conn) -> io::Result<Next> {
        let mut scanner = Scanner::default();
        let logged_in = conn.meter().phase().0 != Phase::Request;
        loop {
            if scanner.seen == 0 {
                let white = self.rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
                self.take(white);
            }
            match self.rest.first() {
                Some(b'{') => {
                    if let Some(end) = scanner.end(&self.rest) {
                        let object = serde_json::from_slice(&self.rest[..end]);
                        self.take(end);
                        if logged_in {
                            conn.enter(Phase::Open);
                        }
                        return Ok(object.map_or(Next::Broken, Next::Object));
                    }
                    if self.rest.len() > LONGEST {
                        return Ok(Next::Broken);
                    }
                    if logged_in && conn.meter().phase().0 != Phase::Request {
                        conn.enter(Phase::Request);
                    }
                }
                Some(_) => return Ok(Next::Broken),
                None => self.rest = Vec::new(),
            }
            let draining = conn.draining();
            let chunk = tokio::select! {
                biased;
                chunk = conn.read_chunk(CHUNK) => chunk?,
                () = draining, if self.rest.is_empty() => return Ok(Next::End),
            };
            match chunk {
                Some(chunk) => self.rest.extend_from_slice(&chunk),
                None => return Ok(Next::End),
            }
        }
    }

    /// Bytes of a file: what is here already, or what the next read gives; at most so many, none at the end.
    pub(super) async fn bytes(&mut self, conn: &mut Conn, at_most: usize) -> io::Result<Vec<u8>> {
        if self.rest.is_empty() {
            let chunk = conn.read_chunk(at_most).await?;
            return Ok(chunk.map(|chunk| chunk.to_vec()).unwrap_or_default());
        }
        let bytes = self.rest[..at_most.min(self.rest.len())].to_vec();
        self.take(bytes.len());
        Ok(bytes)
    }

    /// Whether the client says that word now; false if it begins with another object.
    pub(super) async fn word(&mut self, conn: &mut Conn, word: &str) -> io::Result<Option<bool>> {
        loop {
            let white = self.rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
            self.take(white);
            if self.rest.starts_with(word.as_bytes()) {
                self.take(word.len());
                return Ok(Some(true));
            }
            if !word.as_bytes().starts_with(&self.rest) {
                return Ok((self.rest.first() == Some(&b'{')).then_some(false));
            }
            match conn.read_chunk(CHUNK).await? {
                Some(chunk) => self.rest.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }

    fn take(&mut self, n: usize) {
        if n == self.rest.len() {
            self.rest = Vec::new();
        } else {
            self.rest.drain(..n);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        // Whatever is cut off: the end is found when its byte is there, and not before.
        for cut in 0..=text.len() {
            let mut scanner = Scanner::default();
            let first = scanner.end(&text.as_bytes()[..cut]);
            let found = first.or_else(|| scanner.end(text.as_bytes())).map(|end| &text[..end]);
            assert_eq!(found, expected, "cut at {cut}");
        }
    }

    #[test]
    fn the_end_of_an_object_is_found_wherever_it_is_cut() {
        check(r#"{"cmd":"ls"}"#, Some(r#"{"cmd":"ls"}"#));
        check(r#"{"a":"}{\"}\\"}{"b":1}"#, Some(r#"{"a":"}{\"}\\"}"#));
        check(r#"{"a":[{"b":"]"},{}],"名":"字"} x"#, Some(r#"{"a":[{"b":"]"},{}],"名":"字"}"#));
        check(r#"{]"#, Some("{]"));
        check(r#"{"a":"#, None);
        check(r#"{"a\"}"#, None);
    }
}
