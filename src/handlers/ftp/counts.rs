//! What the handler counts (RFC 959's commands and replies, logins, data connections, transfers).

use std::sync::Arc;
use std::time::Duration;

use super::Verb;
use crate::handler::{Counter, CounterKind, Counters, Ledger};
use crate::handlers::told::{LoginFailure, TransferFailure};

closed! {
    /// How somebody logged in.
    Method {
        Anonymous = "anonymous",
        Password = "password",
    }
}

closed! {
    /// How a data connection came about.
    DataMode {
        Port = "port",
        Eprt = "eprt",
        Pasv = "pasv",
        Epsv = "epsv",
    }
}

closed! {
    /// Why there is no data connection.
    DataFailure {
        Timeout = "timeout",
        Refused = "refused",
        PeerMismatch = "peer_mismatch",
        NoPort = "no_port",
        Tls = "tls",
        Io = "io",
    }
}

closed! {
    /// What is transferred.
    Kind {
        Upload = "upload",
        Download = "download",
        List = "list",
    }
}

/// Every code that there is a reply with.
const CODES: &[&str] = &[
    "125", "150", "200", "202", "211", "212", "213", "214", "215", "220", "221", "226", "227", "229", "230",
    "232", "234", "250", "257", "331", "332", "334", "350", "421", "425", "426", "431", "450", "451", "452",
    "500", "501", "502", "503", "504", "521", "522", "530", "532", "533", "534", "536", "550", "551", "552",
    "553", "554", "556",
];

/// The verbs, and whatever is none.
const COMMANDS: &[&str] = &{
    let mut names = ["UNKNOWN"; Verb::NAMES.len() + 1];
    let mut at = 0;
    while at < Verb::NAMES.len() {
        names[at] = Verb::NAMES[at];
        at += 1;
    }
    names
};

type Labels = &'static [(&'static str, &'static [&'static str])];

const fn counter(name: &'static str, help: &'static str, labels: Labels) -> Counter {
    Counter { name, help, kind: CounterKind::Counter, labels }
}

const fn gauge(name: &'static str, help: &'static str, labels: Labels) -> Counter {
    Counter { name, help, kind: CounterKind::Gauge, labels }
}

const AUTHENTICATED: Counter =
    gauge("polygate_ftp_sessions_authenticated", "Sessions that are logged in.", &[]);
const LOGINS: Counter = counter("polygate_ftp_logins_total", "Logins.", &[("method", Method::NAMES)]);
const LOGIN_FAILURES: Counter =
    counter("polygate_ftp_login_failures_total", "Logins that failed.", &[("reason", LoginFailure::NAMES)]);
const COMMAND: Counter =
    counter("polygate_ftp_commands_total", "Commands received.", &[("command", COMMANDS)]);
const REPLIES: Counter = counter("polygate_ftp_replies_total", "Replies sent.", &[("code", CODES)]);
const DATA: Counter = counter(
    "polygate_ftp_data_connections_total",
    "Data connections established.",
    &[("mode", DataMode::NAMES)],
);
const DATA_FAILURES: Counter = counter(
    "polygate_ftp_data_connection_failures_total",
    "Data connections that did not come about, and those turned away.",
    &[("mode", DataMode::NAMES), ("reason", DataFailure::NAMES)],
);
const PORTS: Counter =
    gauge("polygate_ftp_passive_ports", "Ports of the passive range; 0 where the kernel chooses them.", &[]);
const PORTS_IN_USE: Counter =
    gauge("polygate_ftp_passive_ports_in_use", "Ports on which a data connection is waited for.", &[]);
const TRANSFERS: Counter =
    counter("polygate_ftp_transfers_total", "Transfers begun.", &[("kind", Kind::NAMES)]);
const TRANSFER_FAILURES: Counter = counter(
    "polygate_ftp_transfer_failures_total",
    "Transfers that failed.",
    &[("kind", Kind::NAMES), ("reason", TransferFailure::NAMES)],
);
const ACTIVE: Counter =
    gauge("polygate_ftp_transfers_active", "Transfers under way.", &[("kind", Kind::NAMES)]);
const UPLOADED: Counter =
    counter("polygate_ftp_uploaded_bytes_total", "Bytes received on data connections.", &[]);
const DOWNLOADED: Counter =
    counter("polygate_ftp_downloaded_bytes_total", "Bytes sent on data connections.", &[]);
const DURATION: Counter = Counter {
    name: "polygate_ftp_transfer_duration_seconds",
    help: "How long transfers took.",
    kind: CounterKind::Lifetimes,
    labels: &[("kind", Kind::NAMES)],
};

/// All of them.
pub(super) const COUNTERS: &[Counter] = &[
    AUTHENTICATED,
    LOGINS,
    LOGIN_FAILURES,
    COMMAND,
    REPLIES,
    DATA,
    DATA_FAILURES,
    PORTS,
    PORTS_IN_USE,
    TRANSFERS,
    TRANSFER_FAILURES,
    ACTIVE,
    UPLOADED,
    DOWNLOADED,
    DURATION,
];

/// The cells of one listener and transport.
#[derive(Debug)]
pub(super) struct Counts {
    authenticated: Arc<Counters>,
    logins: Arc<Counters>,
    login_failures: Arc<Counters>,
    commands: Arc<Counters>,
    replies: Arc<Counters>,
    data: Arc<Counters>,
    data_failures: Arc<Counters>,
    ports_in_use: Arc<Counters>,
    transfers: Arc<Counters>,
    transfer_failures: Arc<Counters>,
    active: Arc<Counters>,
    uploaded: Arc<Counters>,
    downloaded: Arc<Counters>,
    duration: Arc<Counters>,
}

impl Counts {
    pub(super) fn of(ledger: &Ledger) -> Arc<Self> {
        let of = |counter| ledger.counters(counter);
        Arc::new(Counts {
            authenticated: of(AUTHENTICATED),
            logins: of(LOGINS),
            login_failures: of(LOGIN_FAILURES),
            commands: of(COMMAND),
            replies: of(REPLIES),
            data: of(DATA),
            data_failures: of(DATA_FAILURES),
            ports_in_use: of(PORTS_IN_USE),
            transfers: of(TRANSFERS),
            transfer_failures: of(TRANSFER_FAILURES),
            active: of(ACTIVE),
            uploaded: of(UPLOADED),
            downloaded: of(DOWNLOADED),
            duration: of(DURATION),
        })
    }

    /// Shows how many passive ports there are.
    pub(super) fn show_ports(ledger: &Ledger, ports: u64) {
        ledger.counters(PORTS).set(&[], ports);
    }

    /// Counts a command; none is a line that is no command.
    pub(super) fn command(&self, verb: Option<Verb>) {
        self.commands.add(&[verb.map_or(Verb::NAMES.len(), |verb| verb as usize)], 1);
    }

    pub(super) fn reply(&self, code: u16) {
        let mut digits = [0; 3];
        for (at, power) in [100, 10, 1].into_iter().enumerate() {
            digits[at] = b'0' + (code / power % 10) as u8;
        }
        if let Ok(at) = CODES.binary_search_by(|name| name.as_bytes().cmp(&digits)) {
            self.replies.add(&[at], 1);
        } else {
            debug_assert!(false, "the code {code} is in no row");
        }
    }

    pub(super) fn login(&self, method: Method) {
        self.logins.add(&[method as usize], 1);
    }

    pub(super) fn login_failed(&self, why: LoginFailure) {
        self.login_failures.add(&[why as usize], 1);
    }

    pub(super) fn connected(&self, mode: DataMode) {
        self.data.add(&[mode as usize], 1);
    }

    pub(super) fn not_connected(&self, mode: DataMode, why: DataFailure) {
        self.data_failures.add(&[mode as usize, why as usize], 1);
    }

    pub(super) fn transfer_failed(&self, kind: Kind, why: TransferFailure) {
        self.transfer_failures.add(&[kind as usize, why as usize], 1);
    }

    pub(super) fn moved(&self, kind: Kind, bytes: u64) {
        match kind {
            Kind::Upload => self.uploaded.add(&[], bytes),
            Kind::Download | Kind::List => self.downloaded.add(&[], bytes),
        }
    }

    pub(super) fn took(&self, kind: Kind, duration: Duration) {
        self.duration.observe(&[kind as usize], duration);
    }

    /// A session that is logged in, until the guard is dropped.
    pub(super) fn authenticated(&self) -> Held {
        Held::new(&self.authenticated, None)
    }

    /// A port that is waited on, until the guard is dropped.
    pub(super) fn port_in_use(&self) -> Held {
        Held::new(&self.ports_in_use, None)
    }

    /// A transfer that begins, until the guard is dropped.
    pub(super) fn transfer(&self, kind: Kind) -> Held {
        self.transfers.add(&[kind as usize], 1);
        Held::new(&self.active, Some(kind))
    }
}

/// One in a gauge.
#[derive(Debug)]
pub(super) struct Held {
    gauge: Arc<Counters>,
    kind: Option<Kind>,
}

impl Held {
    fn new(gauge: &Arc<Counters>, kind: Option<Kind>) -> Self {
        let held = Held { gauge: gauge.clone(), kind };
        held.gauge.add(held.kind.map(|kind| kind as usize).as_slice(), 1);
        held
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gauge.sub(self.kind.map(|kind| kind as usize).as_slice(), 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_so_that_they_are_found() {
        assert!(CODES.is_sorted());
        assert_eq!(COMMANDS.last(), Some(&"UNKNOWN"));
        assert_eq!((COMMANDS[0], COMMANDS.len()), ("USER", Verb::ALL.len() + 1));
    }
}
