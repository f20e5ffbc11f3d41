//! Answers, rendered once: what changes from one to the next is the date.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use super::Options;
use super::head::Method;
use super::reader::Request;
use super::refusal::{Refusal, phrase};

/// The value of `Server`.
const SERVER: &str = "polygate";

/// The type of the texts that the engine writes itself.
const TEXT: &str = "text/plain; charset=utf-8";

/// The methods that are answered.
const ALLOWED: &str = "GET, HEAD";

/// Longer bodies are not copied into the buffer, but written from where they are.
const COPIED: usize = 4 * 1024;

/// Room for `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7).
const DATE_LENGTH: usize = 29;

/// What an answer says of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Persistence {
    /// It stays, as it does in HTTP/1.1 without a word.
    Stays,
    /// It stays, which HTTP/1.0 must be told.
    StaysOld,
    /// It is closed after the answer.
    Closes,
}

impl Persistence {
    pub(super) fn of(request: &Request) -> Self {
        match (request.keeps, request.is_old) {
            (false, _) => Persistence::Closes,
            (true, true) => Persistence::StaysOld,
            (true, false) => Persistence::Stays,
        }
    }

    fn line(self) -> &'static str {
        match self {
            Persistence::Stays => "",
            Persistence::StaysOld => "Connection: keep-alive\r\n",
            Persistence::Closes => "Connection: close\r\n",
        }
    }
}

/// The answer to GET and HEAD.
#[derive(Debug)]
pub(super) struct Page {
    /// The status code.
    pub(super) status: u16,
    /// The body.
    body: Bytes,
    /// The fields besides `Date`, for HTTP/2.
    fields: HeaderMap,
    /// Head and, if it is short, body, by [`Persistence`].
    rendered: [Box<[u8]>; 3],
    /// Where in it the date goes.
    date_at: usize,
}

/// Whether an answer of that status has no content (RFC 9110, 15.3.5, 15.3.6, 15.4.5).
pub(super) fn is_empty(status: u16) -> bool {
    matches!(status, 204 | 205 | 304)
}

impl Page {
    pub(super) fn new(options: &Options) -> Self {
        let body = if is_empty(options.status) { "" } else { &*options.body };
        let mut fields = Vec::new();
        if !is_empty(options.status) && !options.content_type.is_empty() {
            fields.push(("Content-Type".to_owned(), options.content_type.clone()));
        }
        // RFC 9110, 8.6: none with 204; with 304 it would be that of another answer.
        if !matches!(options.status, 204 | 304) {
            fields.push(("Content-Length".to_owned(), body.len().to_string()));
        }
        fields.extend(options.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        let status = options.status;
        let render = |persistence: Persistence| {
            let mut text = start(status);
            text.push_str("\r\n");
            for (name, value) in &fields {
                let _ = write!(text, "{name}: {value}\r\n");
            }
            text.push_str(persistence.line());
            text.push_str("\r\n");
            let mut bytes = text.into_bytes();
            if body.len() <= COPIED {
                bytes.extend_from_slice(body.as_bytes());
            }
            bytes.into_boxed_slice()
        };
        Page {
            status,
            rendered: [Persistence::Stays, Persistence::StaysOld, Persistence::Closes].map(render),
            date_at: start(status).len() - DATE_LENGTH,
            body: Bytes::copy_from_slice(body.as_bytes()),
            fields: field_map(&fields),
        }
    }

    /// The body, if it must be written behind what [`Page::append`] appends for a GET.
    pub(super) fn behind(&self) -> Option<&[u8]> {
        (self.body.len() > COPIED).then_some(&*self.body)
    }

    /// Appends the answer to a GET or HEAD.
    #[inline]
    pub(super) fn append(&self, out: &mut Vec<u8>, is_head: bool, persistence: Persistence, now: Instant) {
        let whole = &*self.rendered[persistence as usize];
        let body = if self.behind().is_some() { 0 } else { self.body.len() };
        let answer = if is_head { &whole[..whole.len() - body] } else { whole };
        let at = out.len() + self.date_at;
        out.extend_from_slice(answer);
        with_date(now, |date| out[at..at + DATE_LENGTH].copy_from_slice(date));
    }
}

impl Page {
    /// The answer to GET and HEAD over HTTP/2; hyper leaves out the body for HEAD.
    pub(super) fn response(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body.clone()));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or_default();
        *response.headers_mut() = self.fields.clone();
        response
    }

    /// The answer to a request that is refused, over HTTP/2.
    pub(super) fn refusal(refusal: Refusal) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(error_body(refusal).into()));
        *response.status_mut() = StatusCode::from_u16(refusal.status).unwrap_or_default();
        let fields = response.headers_mut();
        fields.insert(header::SERVER, HeaderValue::from_static(SERVER));
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(TEXT));
        if refusal.status == 405 {
            fields.insert(header::ALLOW, HeaderValue::from_static(ALLOWED));
        }
        response
    }
}

/// Adds the date.
pub(super) fn dated(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    if let Ok(date) = with_date(Instant::now(), |date| HeaderValue::from_bytes(date)) {
        response.headers_mut().insert(header::DATE, date);
    }
    response
}

/// Header fields for HTTP/2. The options have been checked; what hyper would not send all the same is left out.
fn field_map(fields: &[(String, String)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    map.insert(header::SERVER, HeaderValue::from_static(SERVER));
    for (name, value) in fields {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
        {
            map.append(name, value);
        }
    }
    map
}

/// Appends the answer to a request that is refused, or whose method is not allowed.
pub(super) fn append_error(
    out: &mut Vec<u8>,
    refusal: Refusal,
    method: Method,
    persistence: Persistence,
    now: Instant,
) {
    let status = refusal.status;
    let body = error_body(refusal);
    let mut text = start(status);
    let date_at = out.len() + text.len() - DATE_LENGTH;
    let _ = write!(text, "\r\nContent-Type: {TEXT}\r\nContent-Length: {}\r\n", body.len());
    if status == 405 {
        let _ = write!(text, "Allow: {ALLOWED}\r\n");
    }
    let _ = write!(text, "{}\r\n", persistence.line());
    if method != Method::Head {
        text.push_str(&body);
    }
    out.extend_from_slice(text.as_bytes());
    with_date(now, |date| out[date_at..date_at + DATE_LENGTH].copy_from_slice(date));
}

/// The text below an error's head.
fn error_body(refusal: Refusal) -> String {
    format!("{} {}: {}\n", refusal.status, phrase(refusal.status), refusal.why)
}

/// The first lines of every answer, up to where the date ends.
fn start(status: u16) -> String {
    let blank = " ".repeat(DATE_LENGTH);
    format!("HTTP/1.1 {status} {}\r\nServer: {SERVER}\r\nDate: {blank}", phrase(status))
}

/// What a connection hears that is turned away.
/// A server without a clock may leave out the date (RFC 9110, 6.6.1), and this is rendered once.
pub(super) fn overloaded() -> Vec<u8> {
    const BODY: &str = "503 Service Unavailable: too many connections, try again\n";
    let fields = format!("Content-Type: {TEXT}\r\nContent-Length: {}\r\nRetry-After: 1", BODY.len());
    let head = format!("HTTP/1.1 503 Service Unavailable\r\nServer: {SERVER}\r\n{fields}");
    format!("{head}\r\nConnection: close\r\n\r\n{BODY}").into_bytes()
}

/// The date as it was rendered last, and until when it holds.
struct Rendered {
    date: [u8; DATE_LENGTH],
    until: Option<Instant>,
}

thread_local! {
    static DATE: RefCell<Rendered> = const { RefCell::new(Rendered { date: [b' '; DATE_LENGTH], until: None }) };
}

/// Gives the date of now, rendered at most once a second.
#[inline]
pub(super) fn with_date<T>(now: Instant, f: impl FnOnce(&[u8; DATE_LENGTH]) -> T) -> T {
    DATE.with_borrow_mut(|rendered| {
        if rendered.until.is_none_or(|until| now >= until) {
            rendered.renew(now);
        }
        f(&rendered.date)
    })
}

impl Rendered {
    #[cold]
    fn renew(&mut self, now: Instant) {
        let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let second = i64::try_from(clock.as_secs()).unwrap_or(0);
        let time = jiff::Timestamp::from_second(second).unwrap_or_default();
        let text = time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        if let Ok(date) = text.as_bytes().try_into() {
            self.date = date;
        }
        let rest = Duration::from_nanos(u64::from(1_000_000_000 - clock.subsec_nanos()));
        self.until = now.checked_add(rest);
    }
}
