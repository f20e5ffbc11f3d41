//! Which connections a list shows, in which order, and where a part of it ends.

use std::cmp::Reverse;
use std::net::SocketAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa::openapi::Object;

use super::super::problem::Error;
use super::super::wire::{List, one_of};
use super::Connection;
use crate::config::Transport;
use crate::stats::{ConnId, ConnView};

/// How many a list shows if it is not told, and at most.
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

/// What a list was asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Select {
    /// Only this listener's.
    listener: Option<String>,
    /// Only this transport's: `tcp`, `unix`, `udp` or `unixgram`.
    #[param(schema_with = transports)]
    transport: Option<String>,
    /// Only this peer's: an address, an address with its port, a network such as `10.0.0.0/8`, or
    /// `uid=1000` on Unix sockets.
    peer: Option<String>,
    /// Only those that are so old.
    #[param(minimum = 0)]
    min_age_seconds: Option<f64>,
    /// `id`, `age_seconds`, `idle_seconds`, `received_bytes` or `sent_bytes`; with a leading `-` the
    /// largest first.
    #[param(pattern = "^-?(id|age_seconds|idle_seconds|received_bytes|sent_bytes)$")]
    sort: Option<String>,
    /// How many at most, 1 to 1000; 100 if it is not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next_cursor` of the part before.
    cursor: Option<String>,
}

fn transports() -> Object {
    one_of(&Transport::ALL.map(Transport::as_str))
}

impl Select {
    /// The part of the list that was asked for. A cursor is the place of the last entry that was shown, so
    /// connections that come and go do not shift what follows.
    pub(super) fn page(&self, mut views: Vec<ConnView>) -> Result<List<Connection>, Error> {
        let filter = Filter::new(self)?;
        views.retain(|view| filter.matches(view));
        let sort = self.sort.as_deref().unwrap_or("id");
        let order: Order = sort.parse()?;
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(Error::BadRequest(format!("limit is from 1 to {MAX_LIMIT}")));
        }
        let after = self.cursor.as_deref().map(|cursor| read_cursor(cursor, sort)).transpose()?;
        let total = views.len();
        if order.descending {
            views.retain(|view| after.is_none_or(|after| order.place(view) < after));
            views.sort_by_cached_key(|view| Reverse(order.place(view)));
        } else {
            views.retain(|view| after.is_none_or(|after| order.place(view) > after));
            views.sort_by_cached_key(|view| order.place(view));
        }
        let more = views.len() > limit;
        views.truncate(limit);
        let last = views.last().filter(|_| more).map(|view| order.place(view));
        Ok(List {
            next_cursor: last.map(|(value, id)| format!("{sort}.{value}.{id}")),
            items: views.into_iter().map(Connection::from).collect(),
            total,
        })
    }
}

/// Which connections to close.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Filters {
    /// Only this listener's.
    listener: Option<String>,
    /// Only this transport's: `tcp`, `unix`, `udp` or `unixgram`.
    #[param(schema_with = transports)]
    transport: Option<String>,
    /// Only this peer's, as in the list.
    peer: Option<String>,
    /// Only those that are so old.
    #[param(minimum = 0)]
    min_age_seconds: Option<f64>,
}

impl Filters {
    /// Those that match.
    pub(super) fn choose(self, views: Vec<ConnView>) -> Result<Vec<ConnId>, Error> {
        let Filters { listener, transport, peer, min_age_seconds } = self;
        if listener.is_none() && transport.is_none() && peer.is_none() && min_age_seconds.is_none() {
            let why = "name which: listener, transport, peer or min_age_seconds";
            return Err(Error::BadRequest(why.into()));
        }
        let select = Select { listener, transport, peer, min_age_seconds, ..Select::default() };
        let filter = Filter::new(&select)?;
        Ok(views.iter().filter(|view| filter.matches(view)).map(|view| view.id).collect())
    }
}

/// Which connections to list.
struct Filter<'a> {
    listener: Option<&'a str>,
    transport: Option<Transport>,
    peer: Option<PeerFilter<'a>>,
    min_age_seconds: f64,
}

enum PeerFilter<'a> {
    Network(IpNet),
    Text(&'a str),
}

impl<'a> Filter<'a> {
    fn new(select: &'a Select) -> Result<Self, Error> {
        let transport = select.transport.as_deref().map(|name| {
            let known = Transport::ALL.into_iter().find(|transport| transport.as_str() == name);
            known.ok_or_else(|| {
                Error::BadRequest(format!("transport is tcp, udp, unix or unixgram, not {name:?}"))
            })
        });
        let min_age_seconds = select.min_age_seconds.unwrap_or(0.0);
        if min_age_seconds.is_nan() || min_age_seconds < 0.0 {
            return Err(Error::BadRequest("min_age_seconds is not a number of seconds".into()));
        }
        Ok(Filter {
            listener: select.listener.as_deref(),
            transport: transport.transpose()?,
            peer: select.peer.as_deref().map(PeerFilter::new),
            min_age_seconds,
        })
    }

    fn matches(&self, view: &ConnView) -> bool {
        self.listener.is_none_or(|name| *name == *view.listener)
            && self.transport.is_none_or(|transport| transport == view.transport)
            && self.peer.as_ref().is_none_or(|peer| peer.matches(&view.peer))
            && view.age_seconds >= self.min_age_seconds
    }
}

impl<'a> PeerFilter<'a> {
    fn new(text: &'a str) -> Self {
        let network = text.parse().ok().or_else(|| Some(IpNet::from(text.parse::<std::net::IpAddr>().ok()?)));
        network.map_or(PeerFilter::Text(text), PeerFilter::Network)
    }

    fn matches(&self, peer: &str) -> bool {
        match self {
            PeerFilter::Network(network) => {
                peer.parse::<SocketAddr>().is_ok_and(|at| network.contains(&at.ip()))
            }
            // `uid=1000` stands for every process of that user.
            PeerFilter::Text(text) => {
                peer == *text || peer.strip_prefix(text).is_some_and(|rest| rest.starts_with(','))
            }
        }
    }
}

/// What a list is sorted by.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Order {
    field: Field,
    descending: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Id,
    Age,
    Idle,
    Received,
    Sent,
}

impl FromStr for Order {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (descending, name) = text.strip_prefix('-').map_or((false, text), |name| (true, name));
        let field = match name {
            "id" => Field::Id,
            "age_seconds" => Field::Age,
            "idle_seconds" => Field::Idle,
            "received_bytes" => Field::Received,
            "sent_bytes" => Field::Sent,
            _ => {
                let fields = "id, age_seconds, idle_seconds, received_bytes or sent_bytes";
                return Err(Error::BadRequest(format!(
                    "sort is {fields}, perhaps with a - before it, not {text:?}"
                )));
            }
        };
        Ok(Order { field, descending })
    }
}

impl Order {
    /// The place of a connection; the number decides between equals, so that every place is different.
    fn place(self, view: &ConnView) -> (u64, u64) {
        let value = match self.field {
            Field::Id => 0,
            // The age grows, the start stays: a cursor still fits later.
            Field::Age => u64::MAX - millis(view.started_at),
            Field::Idle => (view.idle_seconds * 1000.0) as u64,
            Field::Received => view.received_bytes,
            Field::Sent => view.sent_bytes,
        };
        (value, view.id.0)
    }
}

fn millis(at: std::time::SystemTime) -> u64 {
    let since = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A cursor names its order, so that one of another order is noticed.
fn read_cursor(cursor: &str, sort: &str) -> Result<(u64, u64), Error> {
    let read = || {
        let (value, id) = cursor.strip_prefix(sort)?.strip_prefix('.')?.split_once('.')?;
        Some((value.parse().ok()?, id.parse().ok()?))
    };
    read().ok_or_else(|| Error::BadRequest("the cursor is not one that this list gave, in this order".into()))
}

#[cfg(test)]
mod tests;
