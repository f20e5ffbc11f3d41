//! `polygate kill`: closes one connection at once, or all that match.

use clap::Args;
use hyper::Method;
use serde::Deserialize;
use serde_json::json;

use super::client::Client;
use super::connections::TRANSPORTS;
use super::exit::Failure;
use super::table::{encode, plural};
use super::{Format, Output, terminal};

/// Options of `kill`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    output: Output,
}

/// One, or all that every filter lets pass.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Which {
    /// The connection's number, as `connections` lists it
    #[arg(conflicts_with_all = ["listener", "transport", "peer"])]
    id: Option<u64>,
    /// All connections of this listener
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// All connections of this transport
    #[arg(long, value_parser = TRANSPORTS)]
    transport: Option<String>,
    /// All connections of this peer: an address, a network (10.0.0.0/8) or uid=NUMBER
    #[arg(long)]
    peer: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Closed {
    closed: usize,
}

pub(crate) fn run(client: &Client, options: &Options) -> Result<(), Failure> {
    let json = options.output.output == Format::Json;
    let Which { id, listener, transport, peer } = &options.which;
    if let Some(id) = id {
        let path = format!("/api/v1/connections/{id}");
        client.request(Method::DELETE, &path, "application/json")?.successful()?;
        // The API has nothing to say here; for programs it is as if a filter had found one.
        return match json {
            true => terminal::print(&format!("{}\n", json!({ "closed": 1 }))),
            false => terminal::print(&format!("connection {id} is closed\n")),
        };
    }
    let filters =
        [("listener", listener.as_deref()), ("transport", transport.as_deref()), ("peer", peer.as_deref())];
    let filters = filters
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| format!("{name}={}", encode(value))));
    let path = format!("/api/v1/connections?{}", filters.collect::<Vec<_>>().join("&"));
    let answer = client.request(Method::DELETE, &path, "application/json")?.successful()?;
    if json {
        return terminal::print(&answer.text());
    }
    let Closed { closed } = answer.json()?;
    terminal::print(&format!("{} closed\n", plural(closed, "connection")))
}
