//! Top talkers: the open connections summed by peer or by listener.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::SocketAddr;

use serde::Deserialize;
use utoipa::IntoParams;
use utoipa::openapi::Object;

use super::Talker;
use crate::admin::problem::Error;
use crate::admin::wire::{List, one_of};
use crate::stats::ConnView;

/// How many are shown if it is not told, and at most.
const DEFAULT_LIMIT: usize = 10;
const MAX_LIMIT: usize = 1000;

/// What was asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Top {
    /// `bytes` (received and sent) or `connections`; `bytes` if it is not given.
    #[param(schema_with = measures)]
    by: Option<String>,
    /// `peer` (an address, or a user on Unix sockets) or `listener`; `peer` if it is not given.
    #[param(schema_with = groups)]
    group: Option<String>,
    /// How many at most, 1 to 1000; 10 if it is not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
}

fn measures() -> Object {
    one_of(&["bytes", "connections"])
}

fn groups() -> Object {
    one_of(&["peer", "listener"])
}

impl Top {
    pub(super) fn talkers(&self, views: &[ConnView]) -> Result<List<Talker>, Error> {
        let of = match self.group.as_deref() {
            None | Some("peer") => |view: &ConnView| who(&view.peer),
            Some("listener") => |view: &ConnView| view.listener.to_string(),
            Some(other) => {
                return Err(Error::BadRequest(format!("group is peer or listener, not {other:?}")));
            }
        };
        let by = match self.by.as_deref() {
            None | Some("bytes") => |talker: &Talker| talker.received_bytes.saturating_add(talker.sent_bytes),
            Some("connections") => |talker: &Talker| talker.connections,
            Some(other) => {
                return Err(Error::BadRequest(format!("by is bytes or connections, not {other:?}")));
            }
        };
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(Error::BadRequest(format!("limit is from 1 to {MAX_LIMIT}")));
        }
        let mut all: HashMap<String, Talker> = HashMap::new();
        for view in views {
            let name = of(view);
            let new = || Talker { name: name.clone(), connections: 0, received_bytes: 0, sent_bytes: 0 };
            let talker = all.entry(name.clone()).or_insert_with(new);
            talker.connections += 1;
            talker.received_bytes += view.received_bytes;
            talker.sent_bytes += view.sent_bytes;
        }
        let mut items: Vec<Talker> = all.into_values().collect();
        let total = items.len();
        items.sort_by_cached_key(|talker| (Reverse(by(talker)), talker.name.clone()));
        items.truncate(limit);
        Ok(List { items, next_cursor: None, total })
    }
}

/// A peer without its port or its process, which change from connection to connection.
fn who(peer: &str) -> String {
    match peer.parse::<SocketAddr>() {
        Ok(at) => at.ip().to_string(),
        Err(_) => peer.split(',').next().unwrap_or_default().to_owned(),
    }
}
