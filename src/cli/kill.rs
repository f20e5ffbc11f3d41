//! `polygate kill`: closes one connection at once, or all that match.

use clap::Args;
use hyper::Method;
use serde::Deserialize;

use super::client::Client;
use super::exit::Failure;
use super::table::{encode, plural};
use super::terminal;

/// Options of `kill`.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Options {
    /// The connection's number, as `connections` lists it
    #[arg(conflicts_with_all = ["listener", "peer"])]
    id: Option<u64>,
    /// All connections of this listener
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// All connections of this peer: an address, a network (10.0.0.0/8) or uid=NUMBER
    #[arg(long)]
    peer: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Closed {
    closed: usize,
}

pub(crate) fn run(client: &Client, options: &Options) -> Result<(), Failure> {
    if let Some(id) = options.id {
        let path = format!("/api/v1/connections/{id}");
        client.request(Method::DELETE, &path, "application/json")?.successful()?;
        return terminal::print(&format!("connection {id} is closed\n"));
    }
    let filters = [("listener", &options.listener), ("peer", &options.peer)];
    let filters = filters
        .into_iter()
        .filter_map(|(name, value)| value.as_ref().map(|value| format!("{name}={}", encode(value))));
    let path = format!("/api/v1/connections?{}", filters.collect::<Vec<_>>().join("&"));
    let answer = client.request(Method::DELETE, &path, "application/json")?.successful()?;
    let Closed { closed } = answer.json()?;
    terminal::print(&format!("{} closed\n", plural(closed, "connection")))
}
