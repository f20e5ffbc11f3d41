//! What the handler counts: requests by method and status, and how many are in flight.

use std::sync::Arc;

use super::head::Method;
use crate::handler::{Conn, Counter, CounterKind};
use crate::stats::Counters;

/// The first and the number of the statuses that the option may have.
const FIRST: u16 = 200;
const STATUSES: usize = 400;

/// The names of the statuses that the option may have.
const NAMES: &[&str] = &{
    const DIGITS: [u8; STATUSES * 3] = {
        let mut digits = [b'0'; STATUSES * 3];
        let mut at = 0;
        while at < STATUSES {
            let code = FIRST as usize + at;
            digits[at * 3] += (code / 100) as u8;
            digits[at * 3 + 1] += (code / 10 % 10) as u8;
            digits[at * 3 + 2] += (code % 10) as u8;
            at += 1;
        }
        digits
    };
    let mut names = [""; STATUSES];
    let mut rest: &'static [u8] = &DIGITS;
    let mut at = 0;
    while let Some((name, behind)) = rest.split_first_chunk::<3>() {
        if let Ok(name) = std::str::from_utf8(name) {
            names[at] = name;
        }
        rest = behind;
        at += 1;
    }
    names
};

type Labels = [(&'static str, &'static [&'static str]); 2];

/// The methods that are answered, and the others.
const SERVED: (&[&str], &[&str]) = Method::NAMES.split_at(Method::Post as usize);

/// The labels of what is answered as configured, for each status that may be.
static ANSWERED: [Labels; STATUSES] = {
    let mut all = [[("method", SERVED.0), ("code", SERVED.0)]; STATUSES];
    let mut rest: &'static [&'static str] = NAMES;
    let mut at = 0;
    while at < STATUSES {
        let (code, behind) = rest.split_at(1);
        all[at][1].1 = code;
        rest = behind;
        at += 1;
    }
    all
};

const fn requests(labels: &'static [(&'static str, &'static [&'static str])]) -> Counter {
    Counter {
        name: "polygate_http_requests_total",
        help: "Requests answered, by method and status code.",
        kind: CounterKind::Counter,
        labels,
    }
}

/// GET and HEAD, with the configured status.
fn answered(status: u16) -> Counter {
    requests(&ANSWERED[usize::from(status.saturating_sub(FIRST)).min(STATUSES - 1)])
}

/// Every other method.
const NOT_ALLOWED: Counter = requests(&[("method", SERVED.1), ("code", &["405"])]);

/// The statuses of requests that are refused.
const REFUSED_CODES: &[&str] = &["400", "408", "413", "414", "417", "431", "501", "505"];

/// Requests that are refused; whatever they call themselves.
const REFUSED: Counter = requests(&[("method", &["OTHER"]), ("code", REFUSED_CODES)]);

const IN_FLIGHT: Counter = Counter {
    name: "polygate_http_requests_in_flight",
    help: "Requests whose head has come and whose answer has not gone.",
    kind: CounterKind::Gauge,
    labels: &[],
};

/// What there may be of it over all options.
pub(super) const COUNTERS: &[Counter] = &[requests(&ALL), IN_FLIGHT];

const ALL: Labels = [("method", Method::NAMES), ("code", NAMES)];

/// What there is with the configured status.
pub(super) fn counters(status: u16) -> Vec<Counter> {
    vec![answered(status), NOT_ALLOWED, REFUSED, IN_FLIGHT]
}

/// The cells of one listener and transport.
#[derive(Debug)]
pub(super) struct Counts {
    answered: Arc<Counters>,
    not_allowed: Arc<Counters>,
    refused: Arc<Counters>,
    in_flight: Arc<Counters>,
}

impl Counts {
    pub(super) fn of(conn: &Conn, status: u16) -> Self {
        Counts {
            answered: conn.counters(answered(status)),
            not_allowed: conn.counters(NOT_ALLOWED),
            refused: conn.counters(REFUSED),
            in_flight: conn.counters(IN_FLIGHT),
        }
    }

    /// Counts a request that was answered as configured, or with 405.
    #[inline]
    pub(super) fn answered(&self, method: Method) {
        match (method as usize).checked_sub(SERVED.0.len()) {
            None => self.answered.add(&[method as usize, 0], 1),
            Some(other) => self.not_allowed.add(&[other, 0], 1),
        }
    }

    /// Counts a request that was refused.
    pub(super) fn refused(&self, status: u16) {
        if let Some(code) = REFUSED_CODES.iter().position(|code| code.parse() == Ok(status)) {
            self.refused.add(&[0, code], 1);
        }
    }

    /// Says that so many requests wait for something, until the guard is dropped. Those that are answered
    /// in one go are never seen by anybody, and cost nothing.
    pub(super) fn waiting(&self, requests: u64) -> InFlight<'_> {
        self.in_flight.add(&[], requests);
        InFlight { counters: &self.in_flight, requests }
    }
}

/// Requests in flight.
#[derive(Debug)]
pub(super) struct InFlight<'a> {
    counters: &'a Counters,
    requests: u64,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.counters.sub(&[], self.requests);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_label_and_nothing_is_counted_twice() {
        for status in 200..=599 {
            let mut cells = Vec::new();
            for counter in counters(status).iter().filter(|counter| !counter.labels.is_empty()) {
                let [(_, methods), (_, codes)] = counter.labels else { panic!("two labels") };
                cells
                    .extend(methods.iter().flat_map(|method| codes.iter().map(move |code| (*method, *code))));
            }
            assert!(cells.contains(&("GET", &*status.to_string())));
            let distinct: std::collections::BTreeSet<_> = cells.iter().collect();
            assert_eq!(cells.len(), distinct.len(), "{cells:?}");
        }
    }
}
