//! The answers, made once for a handler: all that changes is the date.

use std::cell::RefCell;
use std::fmt::Write as _;

use super::Options;
use super::request::Fault;

/// The length of a date as RFC 9110, 5.6.7 writes it.
const DATE: usize = 29;

/// Longer bodies are written from where they are.
const LONG_BODY: usize = 16 * 1024;

/// An answer with a gap for the date.
#[derive(Debug)]
pub(super) struct Template {
    before: Vec<u8>,
    after: Vec<u8>,
    /// Where the body begins in `after`: an answer to HEAD ends there.
    body_at: usize,
}

/// What the connection does after an answer, as its `Connection` field says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Goes on: HTTP/1.1 says nothing about it.
    GoOn = 0,
    /// Goes on, and an HTTP/1.0 client must be told so.
    GoOnOld = 1,
    /// Closes.
    Close = 2,
}

/// Every answer of one handler.
#[derive(Debug)]
pub(super) struct Replies {
    /// The configured answer, by [`Then`].
    pub(super) ok: [Template; 3],
    /// 405, by [`Then`].
    pub(super) not_allowed: [Template; 3],
}

const CONNECTION: [&str; 3] = ["", "Connection: keep-alive\r\n", "Connection: close\r\n"];

/// `100 Continue`: the client may send its body.
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

impl Replies {
    pub(super) fn new(options: &Options) -> Self {
        let mut fields = String::new();
        if has_body(options.status) {
            let _ = write!(fields, "Content-Type: {}\r\n", options.content_type);
        }
        for (name, value) in &options.headers {
            let _ = write!(fields, "{name}: {value}\r\n");
        }
        let body = if has_body(options.status) { Some(options.body.as_bytes()) } else { None };
        let ok = CONNECTION
            .map(|connection| Template::new(options.status, &format!("{fields}{connection}"), body));
        let not_allowed =
            CONNECTION.map(|connection| refusal(405, &format!("Allow: GET, HEAD\r\n{connection}")));
        Replies { ok, not_allowed }
    }

    /// The answer to a request that is refused; the connection closes.
    pub(super) fn fault(fault: Fault) -> Template {
        refusal(fault.code(), CONNECTION[Then::Close as usize])
    }
}

/// Whether answers of that status may have a body (RFC 9110, 6.4.1).
pub(super) const fn has_body(status: u16) -> bool {
    status != 204 && status != 304
}

fn refusal(code: u16, fields: &str) -> Template {
    let body = format!("{code} {}\n", reason(code));
    let fields = format!("Content-Type: text/plain; charset=utf-8\r\n{fields}");
    Template::new(code, &fields, Some(body.as_bytes()))
}

impl Template {
    fn new(status: u16, fields: &str, body: Option<&[u8]>) -> Self {
        let before = format!("HTTP/1.1 {status} {}\r\nServer: polygate\r\nDate: ", reason(status));
        let mut after = format!("\r\n{fields}");
        if let Some(body) = body {
            let _ = write!(after, "Content-Length: {}\r\n", body.len());
        }
        after.push_str("\r\n");
        let mut after = after.into_bytes();
        let body_at = after.len();
        after.extend_from_slice(body.unwrap_or_default());
        Template { before: before.into_bytes(), after, body_at }
    }

    /// Appends the answer; one to HEAD has no body.
    pub(super) fn append(&self, is_head: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.before);
        append_date(out);
        out.extend_from_slice(if is_head { &self.after[..self.body_at] } else { &self.after });
    }

    /// The body, where it is too long to be copied for each connection.
    pub(super) fn long_body(&self) -> Option<&[u8]> {
        let body = &self.after[self.body_at..];
        (body.len() > LONG_BODY).then_some(body)
    }

    /// The answer without a date, for a connection that no handler gets: a server without a clock may leave it
    /// out (RFC 9110, 6.6.1).
    pub(super) fn without_date(&self) -> Vec<u8> {
        let before = self.before.strip_suffix(b"\r\nDate: ").unwrap_or(&self.before);
        [before, &self.after].concat()
    }
}

/// 503 for a connection over a limit.
pub(super) fn overloaded() -> Vec<u8> {
    let fields = format!("Retry-After: 1\r\n{}", CONNECTION[Then::Close as usize]);
    refusal(503, &fields).without_date()
}

/// Appends the date; the text is made once a second.
pub(super) fn append_date(out: &mut Vec<u8>) {
    thread_local! {
        static NOW: RefCell<(i64, [u8; DATE])> = const { RefCell::new((i64::MIN, [b' '; DATE])) };
    }
    let second = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse).tv_sec;
    NOW.with_borrow_mut(|(at, text)| {
        if *at != second {
            *at = second;
            *text = date(second);
        }
        out.extend_from_slice(text);
    });
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7).
pub(super) fn date(second: i64) -> [u8; DATE] {
    let mut text = [b' '; DATE];
    let time = jiff::Timestamp::from_second(second).unwrap_or_default();
    let shown = time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(exact) = <[u8; DATE]>::try_from(shown.as_bytes()) {
        text = exact;
    }
    text
}

/// The phrase behind a code; none for one that is not registered (RFC 9112, 4 allows an empty one).
fn reason(code: u16) -> &'static str {
    hyper::StatusCode::from_u16(code).ok().and_then(|code| code.canonical_reason()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_rfc_9110() {
        assert_eq!(&date(784_111_777), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(&date(0), b"Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn an_answer_without_a_body_has_no_length() {
        let replies = Replies::new(&Options { status: 204, ..Options::default() });
        let mut out = Vec::new();
        replies.ok[0].append(false, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("HTTP/1.1 204 No Content\r\nServer: polygate\r\nDate: "), "{text}");
        assert!(text.ends_with(" GMT\r\n\r\n") && !text.contains("Content-"), "{text}");
    }

    #[test]
    fn a_refusal_needs_no_clock() {
        let text = String::from_utf8(overloaded()).unwrap();
        assert!(
            text.starts_with("HTTP/1.1 503 Service Unavailable\r\nServer: polygate\r\nContent-Type"),
            "{text}"
        );
        assert!(text.contains("\r\nConnection: close\r\n") && text.ends_with("503 Service Unavailable\n"));
    }
}
