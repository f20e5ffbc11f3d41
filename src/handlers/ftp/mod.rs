//! `ftp`: a server of files (RFC 959 and its successors) over the gateway's accounts.
//!
//! One task serves a control connection (`session`): lines come in, and each gets its one final reply in order.
//! `lines` takes bytes apart into lines of bounded length and knows the Telnet beneath (RFC 854), `command` has the
//! table of the verbs. `login` is who it is, `settings` what the session is set to, `names` what is done with names.
//! A transfer (`transfer`) opens what it needs, waits for its data connection (`data`, `ports`), and moves bytes
//! (`pump`, `listing`, `ascii`), while the session goes on listening for ABOR and the like.

mod accompany;
mod address;
mod ascii;
mod command;
mod counts;
mod data;
mod digest;
mod lines;
mod listing;
mod login;
mod names;
mod options;
mod pacer;
mod ports;
mod progress;
mod pump;
mod reply;
mod security;
mod session;
mod settings;
mod transfer;
mod when;

use address::{Extended, Port, epsv_reply, pasv_reply};
use ascii::{FromWire, ToWire};
use command::{Argument, Command, Refused, Verb};
use lines::{LONGEST_AFTER_LOGIN, LONGEST_BEFORE_LOGIN, Line, Lines};
pub use options::{Anonymous, Options, PublicHost, RestTail, TlsMode};
use when::{format_time, parse_time};

use std::borrow::Cow;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use crate::accounts::Accounts;
use crate::config::{Durability, Finding, Findings, Timeout, Timeouts, Transports};
use crate::handler::{
    Acceptor, BuildError, Conn, Context, Counter, Handler, Ledger, Phase, RejectReason, StreamHandler,
};
use crate::storage::disk::{Disk, DiskFolder};
use crate::storage::{Home, Pool};
use counts::{COUNTERS, Counts};
use login::Places;
use options::Addresses;
use session::Session;

/// Operations on the guests' folder at once.
const GUESTS_AT_ONCE: usize = 32;

/// What a new folder for guests has in it.
const README: &str = "This folder is served by polygate to anybody, to be read only.\n";

/// The `ftp` handler.
#[derive(Debug)]
pub struct Ftp {
    options: Options,
    accounts: Arc<Accounts>,
    guests: Option<Home>,
    /// The passive ports, where they are named.
    ports: Option<Arc<ports::Pool>>,
    addresses: Addresses,
    places: Arc<Places>,
    /// What TLS is for, and what it is begun with.
    mode: TlsMode,
    acceptor: Option<Acceptor>,
}

impl Handler for Ftp {
    const NAME: &'static str = "ftp";
    const TRANSPORTS: Transports = Transports::TCP;
    const COUNTERS: &'static [Counter] = COUNTERS;
    const STARTS_TLS: bool = true;
    type Options = Options;

    fn check(options: &Options, _: Transports) -> Findings {
        options.check()
    }

    fn check_in_public(options: &Options, has_tls: bool) -> Findings {
        match options.tls_mode(has_tls) {
            TlsMode::Required | TlsMode::Implicit => Vec::new(),
            TlsMode::Explicit => vec![
                Finding::warning(&[], "clients may log in in the clear")
                    .help("write tls = \"required\" in the handler's options"),
            ],
            TlsMode::Off => vec![
                Finding::warning(&[], "logins and files cross the network in the clear")
                    .help("give the listener a `tls` table, name the networks that may connect in `allow`, or bind a loopback address"),
            ],
        }
    }

    fn check_tls(options: &Options, has_table: bool) -> Findings {
        options.check_tls(has_table)
    }

    fn new(options: Options, context: &Context) -> Result<Self, BuildError> {
        let guests =
            options.anonymous.as_ref().map(|guests| open_guests(&context.state_dir().join(&guests.root)));
        let ports = options.range().transpose().map_err(BuildError::new)?.map(ports::Pool::of);
        let mode = options.tls_mode(context.tls().is_some());
        Ok(Ftp {
            mode,
            acceptor: context.tls().filter(|_| mode != TlsMode::Off).cloned(),
            accounts: context.accounts()?,
            guests: guests.transpose()?,
            ports,
            addresses: Addresses::new(&options.public_host),
            places: Arc::default(),
            options,
        })
    }

    fn default_timeouts() -> Timeouts {
        Timeouts { request: Timeout::after_secs(30), ..Timeouts::RAW }
    }

    fn starts(&self, ledger: &Ledger) {
        Counts::show_ports(ledger, self.ports.as_ref().map_or(0, |pool| pool.range().count()));
    }

    /// RFC 959, 5.4: the reply to a connection that cannot be served.
    fn refusal(reason: RejectReason) -> Option<Cow<'static, [u8]>> {
        Some(Cow::Borrowed(match reason {
            RejectReason::Acl => b"421 You may not connect from here.\r\n",
            RejectReason::Draining => b"421 The service is closing; come back later.\r\n",
            _ => b"421 Too many connections; come back later.\r\n",
        }))
    }
}

impl StreamHandler for Ftp {
    async fn serve(&self, conn: &mut Conn) -> io::Result<()> {
        // ABOR comes with urgent data, which would else be taken out of the line (RFC 959, 4.1.3).
        conn.take_urgent_inline();
        if let Some(acceptor) = self.acceptor.as_ref().filter(|_| self.mode == TlsMode::Implicit) {
            conn.enter(Phase::Handshake);
            if conn.start_tls(acceptor).await.is_err() {
                conn.turn_away(RejectReason::Tls);
                return Ok(());
            }
        }
        Session::new(self, conn).run(conn).await
    }
}

/// The guests' folder; one that is not there is made, with a README in it.
fn open_guests(root: &Path) -> Result<Home, BuildError> {
    let wrong = |error: &dyn std::fmt::Display| BuildError::new(format!("{}: {error}", root.display()));
    if !root.exists() {
        DirBuilder::new().recursive(true).mode(0o755).create(root).map_err(|error| wrong(&error))?;
        std::fs::write(root.join("README"), README).map_err(|error| wrong(&error))?;
    }
    let folder = DiskFolder::open(root, Disk::new(Durability::None)).map_err(|error| wrong(&error))?;
    Ok(Home::read_only(Arc::new(folder), Pool::new(GUESTS_AT_ONCE)))
}
