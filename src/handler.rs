//! The contracts: what a handler is, and how a listener holds one without knowing which.
//!
//! A handler implements [`Handler`] and one or both of [`StreamHandler`] and [`DatagramHandler`], and is
//! entered into a [`Registry`]. Static inside, one virtual call a connection or datagram outside.

mod registry;

pub use registry::{Built, Registry};

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::accounts::{Access, Accounts};
use crate::config::{Findings, Timeouts, Transports};
use crate::console::Consoles;
pub use crate::net::tls::Acceptor;
pub use crate::net::{Answer, Conn, Flow, Packet, Replier};
pub use crate::stats::{Counter, CounterKind, Counters, Ledger, Phase, RejectReason};
use crate::upstream::Upstreams;

/// What connections or datagrams are handed to.
pub trait Handler: Sized + Send + Sync + 'static {
    /// The type's name in the configuration.
    const NAME: &'static str;
    /// The transports that it serves.
    const TRANSPORTS: Transports;
    /// Numbers of its own that it counts, exported with the listener's labels.
    const COUNTERS: &'static [Counter] = &[];

    /// Whether it begins TLS itself, inside its protocol ([`Conn::start_tls`]). A listener's `tls` table then only
    /// says with what certificate ([`Context::tls`]); else the gateway does all of it before [`StreamHandler::serve`].
    const STARTS_TLS: bool = false;

    /// Whether it keeps something for each sender of datagrams: then `timeouts.idle` is for them, too, 60 s unless it
    /// is written, and senders on ports below 1024 are served.
    const KEEPS_FLOWS: bool = false;

    /// Its options in `[handlers.NAME]`, with `#[serde(default, deny_unknown_fields)]`: what is not written
    /// has a default. They serialise to what the effective configuration shows.
    type Options: DeserializeOwned + Serialize + JsonSchema;

    /// Looks at options that fit their types, for one listener's transports. Pure.
    fn check(options: &Self::Options, transports: Transports) -> Findings {
        let _ = (options, transports);
        Vec::new()
    }

    /// What `check` warns of where an endpoint for connections is reachable from other machines. The place is the
    /// endpoint's, whatever the findings say. `has_tls` says that the listener has a `tls` table.
    fn check_in_public(options: &Self::Options, has_tls: bool) -> Findings {
        let _ = (options, has_tls);
        Vec::new()
    }

    /// Looks at options where the listener has a `tls` table, or has none; for those that begin TLS themselves.
    fn check_tls(options: &Self::Options, has_table: bool) -> Findings {
        let _ = (options, has_table);
        Vec::new()
    }

    /// Whether a datagram's answer can be longer than the datagram: on a public `udp` endpoint that makes
    /// the gateway an amplifier for whoever forges addresses, and `check` warns.
    fn amplifies(options: &Self::Options) -> bool {
        let _ = options;
        false
    }

    /// The upstream that the options name, and the option that does: it must exist.
    fn upstream(options: &Self::Options) -> Option<(&'static str, &str)> {
        let _ = options;
        None
    }

    /// Makes one for a listener. May open files and the like; a failure leaves the gateway as it was.
    ///
    /// # Errors
    /// Whatever keeps it from working.
    fn new(options: Self::Options, context: &Context) -> Result<Self, BuildError>;

    /// The timeouts where neither the listener nor `[defaults]` says anything.
    fn default_timeouts() -> Timeouts {
        Timeouts::RAW
    }

    /// The protocols that it offers in a TLS handshake by ALPN (RFC 7301), the preferred one first.
    fn alpn() -> &'static [&'static str] {
        &[]
    }

    /// The numbers that it counts with these options: [`Handler::COUNTERS`], and those whose label values
    /// depend on the options.
    fn counters(&self) -> Vec<Counter> {
        Self::COUNTERS.to_vec()
    }

    /// Called when it begins to serve an endpoint's transport, for numbers that are known from the start.
    fn starts(&self, ledger: &Ledger) {
        let _ = ledger;
    }

    /// What a connection hears that is turned away; none closes it without a word.
    fn refusal(reason: RejectReason) -> Option<Cow<'static, [u8]>> {
        let _ = reason;
        None
    }
}

/// A handler of connections.
pub trait StreamHandler: Handler {
    /// Serves one connection. On return it is closed in order. The future is dropped when the connection
    /// is killed or out of time: what must be undone belongs into a `Drop`.
    ///
    /// # Errors
    /// The connection's; the gateway counts and logs them.
    fn serve(&self, conn: &mut Conn) -> impl Future<Output = io::Result<()>> + Send;
}

/// A handler of datagrams.
pub trait DatagramHandler: Handler {
    /// Answers one datagram in place. Called in the receive loop: it must not block.
    fn answer(&self, packet: &mut Packet<'_>) -> Answer;

    /// Whether something that it has begun with senders goes on: while the listener drains it is given datagrams
    /// ([`Packet::is_draining`]) until it has finished. A handler that begins nothing is not.
    fn is_busy(&self) -> bool {
        false
    }
}

/// What a handler is made with.
#[derive(Debug, Clone)]
pub struct Context {
    listener: Arc<str>,
    state_dir: PathBuf,
    accounts: Option<Access>,
    upstreams: Option<Arc<Upstreams>>,
    consoles: Option<Arc<Consoles>>,
    tls: Option<Acceptor>,
}

impl Context {
    /// For a listener of that name.
    pub fn new(listener: &str, state_dir: &Path) -> Self {
        Context {
            listener: listener.into(),
            state_dir: state_dir.to_path_buf(),
            accounts: None,
            upstreams: None,
            consoles: None,
            tls: None,
        }
    }

    /// The same on a listener with that certificate.
    #[must_use]
    pub fn with_tls(self, tls: Option<Acceptor>) -> Self {
        Context { tls, ..self }
    }

    /// What TLS is begun with; none where the listener has no `tls` table.
    pub fn tls(&self) -> Option<&Acceptor> {
        self.tls.as_ref()
    }

    /// The same with a way to the gateway's accounts.
    #[must_use]
    pub fn with_accounts(mut self, accounts: Access) -> Self {
        self.accounts = Some(accounts);
        self
    }

    /// The gateway's accounts, opened when the first handler asks. Whoever asks holds on to them; they are
    /// closed with the last handler. Blocks.
    ///
    /// # Errors
    /// What keeps the database or the folder of the files from being opened.
    pub fn accounts(&self) -> Result<Arc<Accounts>, BuildError> {
        let access = self.accounts.as_ref().ok_or_else(|| BuildError::new("this gateway has no accounts"))?;
        access.open().map_err(|error| BuildError::new(format!("cannot open the accounts: {error}")))
    }

    /// The same in a gateway with these upstreams.
    #[must_use]
    pub fn with_upstreams(self, upstreams: Arc<Upstreams>) -> Self {
        Context { upstreams: Some(upstreams), ..self }
    }

    /// The gateway's upstreams.
    ///
    /// # Errors
    /// There are none where a handler is made without a gateway.
    pub fn upstreams(&self) -> Result<&Arc<Upstreams>, BuildError> {
        self.upstreams.as_ref().ok_or_else(|| BuildError::new("there are no upstreams without a gateway"))
    }

    /// The same in a gateway with these conversations.
    #[must_use]
    pub fn with_consoles(self, consoles: Arc<Consoles>) -> Self {
        Context { consoles: Some(consoles), ..self }
    }

    /// The gateway's conversations.
    ///
    /// # Errors
    /// There are none where a handler is made without a gateway.
    pub fn consoles(&self) -> Result<&Arc<Consoles>, BuildError> {
        self.consoles.as_ref().ok_or_else(|| BuildError::new("there are no conversations without a gateway"))
    }

    /// The listener's name.
    pub fn listener(&self) -> &str {
        &self.listener
    }

    /// The folder of everything that the gateway writes.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }
}

/// Why a handler could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BuildError(String);

impl BuildError {
    /// With a sentence for the operator.
    pub fn new(message: impl Into<String>) -> Self {
        BuildError(message.into())
    }
}

/// A handler of connections, as a listener holds it.
pub trait StreamService: Send + Sync {
    /// Serves a connection in a task of its own, to its end. To be called inside the data runtime.
    fn spawn(self: Arc<Self>, conn: Conn);

    /// Tells it of the account that its connections will be in.
    fn starts(&self, ledger: &Ledger);
}

impl<H: StreamHandler> StreamService for H {
    fn spawn(self: Arc<Self>, mut conn: Conn) {
        let meter = conn.meter().clone();
        let task = tokio::spawn(async move {
            let result = match conn.prepare().await {
                Ok(()) => self.serve(&mut conn).await,
                Err(error) => Err(error),
            };
            conn.finish(result).await;
        });
        meter.arm(task.abort_handle());
    }

    fn starts(&self, ledger: &Ledger) {
        Handler::starts(self, ledger);
    }
}

/// A handler of datagrams, as a listener holds it.
pub trait DatagramService: Send + Sync {
    /// Answers a datagram in place.
    fn answer(&self, packet: &mut Packet<'_>) -> Answer;

    /// Whether it is still to be given datagrams while the listener drains.
    fn is_busy(&self) -> bool;
}

impl<H: DatagramHandler> DatagramService for H {
    fn answer(&self, packet: &mut Packet<'_>) -> Answer {
        DatagramHandler::answer(self, packet)
    }

    fn is_busy(&self) -> bool {
        DatagramHandler::is_busy(self)
    }
}
