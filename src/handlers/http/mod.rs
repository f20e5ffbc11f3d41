//! `http`: one answer to every request, over HTTP/1.1 and HTTP/2.
//!
//! HTTP/1.1 is an engine of our own (`http1`): a connection that waits holds no buffer, and what two servers in
//! a row could read differently is refused (`request`, `body`). HTTP/2 is hyper's, chosen by the preface with
//! which it begins (`http2`).

mod body;
mod http1;
mod http2;
mod reply;
mod request;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::{Finding, Findings, Timeout, Timeouts, Transports};
use crate::handler::{BuildError, Conn, Context, Counter, CounterKind, Handler, RejectReason, StreamHandler};
use crate::stats::Counters;
use reply::Replies;
use request::METHODS;

/// Options of `http`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "http")]
pub struct Options {
    /// The status code of every answer: 200 to 599.
    #[schemars(range(min = 200, max = 599))]
    status: u16,
    /// The body of every answer.
    body: String,
    /// The Content-Type of every answer.
    content_type: String,
    /// Further header fields.
    headers: BTreeMap<String, String>,
    /// How long an answer waits, or "off".
    delay: Timeout,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            status: 200,
            body: "Hello, World\n".into(),
            content_type: "text/plain; charset=utf-8".into(),
            headers: BTreeMap::new(),
            delay: Timeout::OFF,
        }
    }
}

/// The fields that the handler writes itself: they frame the answer, or would stand there twice.
const OWN_FIELDS: [&str; 10] = [
    "connection",
    "content-length",
    "content-type",
    "date",
    "keep-alive",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Three digits for every status code from 200 to 599.
const CODES: &[&str] = &codes();

const fn codes() -> [&'static str; 400] {
    const DIGITS: [u8; 1200] = {
        let mut digits = [0; 1200];
        let mut n = 0;
        while n < 400 {
            let code = n + 200;
            digits[n * 3] = b'0' + (code / 100) as u8;
            digits[n * 3 + 1] = b'0' + (code / 10 % 10) as u8;
            digits[n * 3 + 2] = b'0' + (code % 10) as u8;
            n += 1;
        }
        digits
    };
    let mut all = [""; 400];
    let mut rest: &'static [u8] = &DIGITS;
    let mut n = 0;
    while n < 400 {
        let (code, after) = rest.split_at(3);
        if let Ok(text) = std::str::from_utf8(code) {
            all[n] = text;
        }
        rest = after;
        n += 1;
    }
    all
}

/// Requests answered. What one handler exports of it depends on its status: [`answers`], [`NOT_ALLOWED`] and
/// [`REFUSED`], which do not overlap.
const REQUESTS: Counter = Counter {
    name: "polygate_http_requests_total",
    help: "Requests answered, by method and status code.",
    kind: CounterKind::Counter,
    labels: &[("method", METHODS), ("code", CODES)],
};

/// GET and HEAD with the configured status.
fn answers(status: u16) -> Counter {
    type Labels = [(&'static str, &'static [&'static str]); 2];
    static LABELS: LazyLock<Vec<Labels>> = LazyLock::new(|| {
        let methods = &METHODS[..request::POST];
        (0..CODES.len()).map(|at| [("method", methods), ("code", &CODES[at..=at])]).collect()
    });
    Counter { labels: &LABELS[usize::from(status.clamp(200, 599) - 200)], ..REQUESTS }
}

/// Every other method.
const NOT_ALLOWED: Counter =
    Counter { labels: &[("method", METHODS.split_at(request::POST).1), ("code", &["405"])], ..REQUESTS };

/// Requests that are refused; their methods are not looked at.
const REFUSED: Counter = Counter {
    labels: &[("method", &["OTHER"]), ("code", &["400", "408", "413", "414", "417", "431", "505"])],
    ..REQUESTS
};

/// Requests that have begun and are not answered.
const IN_FLIGHT: Counter = Counter {
    name: "polygate_http_requests_in_flight",
    help: "Requests that have begun and are not answered yet.",
    kind: CounterKind::Gauge,
    labels: &[],
};

/// The `http` handler.
#[derive(Debug)]
pub struct Http {
    options: Options,
    replies: Replies,
    delay: Option<Duration>,
}

impl Handler for Http {
    const NAME: &'static str = "http";
    const TRANSPORTS: Transports = Transports::STREAMS;
    const COUNTERS: &'static [Counter] = &[REQUESTS, IN_FLIGHT];
    type Options = Options;

    fn check(options: &Options, _: Transports) -> Findings {
        let mut findings = Vec::new();
        if let Err(reason) = field_value(&options.content_type) {
            findings.push(Finding::error(&["content_type"], reason));
        }
        for (name, value) in &options.headers {
            let path = ["headers", name.as_str()];
            if name.is_empty() || !name.bytes().all(request::is_token) {
                let message = format!("`{}` is not a header field's name", name.escape_debug());
                findings.push(
                    Finding::error(&path, message).help("letters, digits and `-`, for example \"X-Name\""),
                );
            } else if OWN_FIELDS.contains(&&*name.to_ascii_lowercase()) {
                let finding =
                    Finding::error(&path, format!("the header field `{name}` is set by the handler itself"));
                findings.push(match name.eq_ignore_ascii_case("content-type") {
                    true => finding.help("use content_type"),
                    false => finding.help("remove it"),
                });
            } else if let Err(reason) = field_value(value) {
                findings.push(Finding::error(&path, reason));
            }
        }
        if !reply::has_body(options.status)
            && options.body != Options::default().body
            && !options.body.is_empty()
        {
            let message = format!("an answer with the status {} has no body", options.status);
            findings.push(Finding::error(&["body"], message).help("remove it, or use another status"));
        }
        findings
    }

    fn new(options: Options, _: &Context) -> Result<Self, BuildError> {
        Ok(Http { replies: Replies::new(&options), delay: options.delay.get(), options })
    }

    fn counters(&self) -> Vec<Counter> {
        vec![answers(self.options.status), NOT_ALLOWED, REFUSED, IN_FLIGHT]
    }

    fn alpn() -> &'static [&'static str] {
        &["h2", "http/1.1"]
    }

    fn default_timeouts() -> Timeouts {
        Timeouts {
            first_byte: Timeout::after_secs(10),
            request: Timeout::after_secs(10),
            idle: Timeout::after_secs(60),
            ..Timeouts::RAW
        }
    }

    fn refusal(_: RejectReason) -> Option<Cow<'static, [u8]>> {
        Some(reply::overloaded().into())
    }
}

impl StreamHandler for Http {
    async fn serve(&self, conn: &mut Conn) -> io::Result<()> {
        let counts = Counts::of(conn, self.options.status);
        match http1::serve(self, conn, &counts).await? {
            http1::End::Closed => Ok(()),
            // Boxed, so that a connection that speaks HTTP/1.1 is not as large as one that does not.
            http1::End::Http2(begun) => Box::pin(http2::serve(self, conn, &counts, begun)).await,
        }
    }
}

/// The cells that a connection counts in.
#[derive(Clone)]
struct Counts {
    answers: Arc<Counters>,
    not_allowed: Arc<Counters>,
    refused: Arc<Counters>,
    in_flight: Arc<Counters>,
}

impl Counts {
    fn of(conn: &Conn, status: u16) -> Self {
        Counts {
            answers: conn.counters(answers(status)),
            not_allowed: conn.counters(NOT_ALLOWED),
            refused: conn.counters(REFUSED),
            in_flight: conn.counters(IN_FLIGHT),
        }
    }

    /// A request with that method was answered as configured, or with 405.
    fn answered(&self, method: usize) {
        match method.checked_sub(request::POST) {
            None => self.answers.add(&[method, 0], 1),
            Some(other) => self.not_allowed.add(&[other, 0], 1),
        }
    }

    /// A request was refused with that code.
    fn refused(&self, code: u16) {
        let position = REFUSED.labels[1].1.iter().position(|known| known.parse() == Ok(code));
        self.refused.add(&[0, position.unwrap_or_default()], 1);
    }
}

/// A request that has begun; counted as in flight until it is dropped.
struct InFlight(Arc<Counters>);

impl InFlight {
    fn begin(counts: &Counts) -> Self {
        counts.in_flight.add(&[], 1);
        InFlight(counts.in_flight.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.sub(&[], 1);
    }
}

/// `field-value` (RFC 9110, 5.5), as far as it can be sent safely: visible characters, spaces and tabs within.
fn field_value(value: &str) -> Result<(), String> {
    let fits = |c: char| c == '\t' || (c >= ' ' && c != '\x7f');
    match value.chars().find(|c| !fits(*c)) {
        Some(c) => Err(format!("a header field's value cannot hold {c:?}")),
        None if value.trim() != value => {
            Err("a header field's value cannot begin or end with white space".into())
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
