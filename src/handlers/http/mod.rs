//! `http`: every path answers the same, over HTTP/1.1 and HTTP/2.
//!
//! HTTP/1.1 is a small engine of our own: a connection that waits holds no buffer, and what two servers in a row
//! could read differently is refused. `reader` turns bytes into requests and knows no socket; `head`, `target`
//! and `body` are its rules; `h1` joins it to a connection. HTTP/2 is hyper's, chosen by the preface with which
//! it begins, within limits of ours (`h2`, `frames`). `page` has the answers, rendered once, `counts` the numbers.

mod body;
mod counts;
mod frames;
mod h1;
mod h2;
mod head;
mod options;
mod page;
mod reader;
mod refusal;
mod target;
#[cfg(test)]
mod tests;

pub use body::{MAX_BODY, MAX_EXTENSIONS, MAX_TRAILERS};
pub use head::{MAX_FIELDS, MAX_HEAD, MAX_LINE, Method};
pub use options::Options;
pub use reader::{PREFACE, Reader, Request, Step};
pub use refusal::Refusal;

use std::borrow::Cow;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::config::{Findings, Timeout, Timeouts, Transport, Transports};
use crate::handler::{BuildError, Conn, Context, Counter, Handler, RejectReason, StreamHandler};
use counts::Counts;
use h1::{End, Talk};
use page::Page;

/// The `http` handler.
#[derive(Debug)]
pub struct Http(Arc<Inner>);

/// What the connections of a listener share.
#[derive(Debug)]
struct Inner {
    page: Page,
    delay: Option<Duration>,
    /// For TCP and for Unix sockets: a listener may have both, and each has its own account. Looked up with the
    /// first connection, since until then there may be none.
    counts: [OnceLock<Counts>; 2],
}

impl Inner {
    fn counts_index(conn: &Conn) -> usize {
        usize::from(conn.meter().site().ledger.transport() == Transport::Unix)
    }

    fn counts(&self, conn: &Conn) -> &Counts {
        let cell = &self.counts[Self::counts_index(conn)];
        cell.get_or_init(|| Counts::of(conn, self.page.status))
    }
}

impl Handler for Http {
    const NAME: &'static str = "http";
    const TRANSPORTS: Transports = Transports::STREAMS;
    const COUNTERS: &'static [Counter] = counts::COUNTERS;
    type Options = Options;

    fn check(options: &Options, _: Transports) -> Findings {
        options.check()
    }

    fn new(options: Options, _: &Context) -> Result<Self, BuildError> {
        let delay = options.delay.get();
        Ok(Http(Arc::new(Inner { page: Page::new(&options), delay, counts: Default::default() })))
    }

    fn counters(&self) -> Vec<Counter> {
        counts::counters(self.0.page.status)
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
        Some(page::overloaded().into())
    }
}

impl StreamHandler for Http {
    async fn serve(&self, conn: &mut Conn) -> io::Result<()> {
        let counts = self.0.counts(conn);
        match Talk::new(conn, &self.0, counts).run().await? {
            End::Over => Ok(()),
            // Boxed, so that a connection that speaks HTTP/1.1 is not as large as one that does not.
            End::Http2(begun) => Box::pin(h2::serve(&self.0, conn, begun)).await,
        }
    }
}
