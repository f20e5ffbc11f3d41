//! `polygate upstreams`: what connections are carried to, and how it is; `--set` takes an endpoint out and
//! brings it back.

use clap::{Args, ValueEnum};
use hyper::Method;
use serde::Deserialize;
use serde_json::json;

use super::client::Client;
use super::exit::Failure;
use super::table::{Align, Table, encode};
use super::{Format, Output, terminal};

/// What to show, or to steer.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only this upstream
    name: Option<String>,
    /// Steer this endpoint of it, as the configuration writes it
    #[arg(requires = "name")]
    endpoint: Option<String>,
    /// What becomes of the endpoint: it gets new connections, only keeps what it has, or is taken out
    #[arg(long, value_enum, requires = "endpoint")]
    set: Option<State>,
    /// The endpoint's share in relation to the others
    #[arg(long, value_name = "N", requires = "endpoint", value_parser = clap::value_parser!(u32).range(1..=1000))]
    weight: Option<u32>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Ready,
    Drain,
    Down,
}

#[derive(Debug, Deserialize)]
struct List {
    items: Vec<Upstream>,
}

#[derive(Debug, Deserialize)]
struct Upstream {
    name: String,
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    endpoint: String,
    up: bool,
    state: String,
    healthy: bool,
    ejected: bool,
    weight: u32,
    backup: bool,
    connections_active: u64,
    connects_total: u64,
    connect_failures_total: u64,
}

pub(crate) fn run(client: &Client, options: &Options) -> Result<(), Failure> {
    let answer = match (&options.name, &options.endpoint) {
        (Some(name), Some(endpoint)) if options.set.is_some() || options.weight.is_some() => {
            let state = options.set.map(|state| match state {
                State::Ready => "ready",
                State::Drain => "drain",
                State::Down => "down",
            });
            let path = format!("/api/v1/upstreams/{}/{}", encode(name), encode(endpoint));
            let body = json!({ "state": state, "weight": options.weight });
            client.send(Method::PATCH, &path, &body)?.successful()?
        }
        (Some(name), _) => client.get(&format!("/api/v1/upstreams/{}", encode(name)))?,
        (None, _) => client.get("/api/v1/upstreams")?,
    };
    if options.output.output == Format::Json {
        return terminal::print(&answer.text());
    }
    let upstreams = match options.name {
        Some(_) => vec![answer.json()?],
        None => answer.json::<List>()?.items,
    };
    terminal::print(&table(&upstreams).render(terminal::color_on_stdout()))
}

fn table(upstreams: &[Upstream]) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("UPSTREAM", Left),
        ("ENDPOINT", Left),
        ("STATE", Left),
        ("WEIGHT", Right),
        ("ACTIVE", Right),
        ("CONNECTS", Right),
        ("FAILED", Right),
    ]);
    for upstream in upstreams {
        for (index, endpoint) in upstream.endpoints.iter().enumerate() {
            table.row(vec![
                if index == 0 { upstream.name.clone() } else { String::new() },
                endpoint.endpoint.clone(),
                state(endpoint),
                endpoint.weight.to_string(),
                endpoint.connections_active.to_string(),
                endpoint.connects_total.to_string(),
                endpoint.connect_failures_total.to_string(),
            ]);
        }
    }
    table
}

/// Why an endpoint gets no connection, or that it does.
fn state(endpoint: &Endpoint) -> String {
    let word = match (endpoint.state.as_str(), endpoint.healthy, endpoint.ejected) {
        ("ready", false, _) => "unhealthy",
        ("ready", true, true) => "ejected",
        ("ready", true, false) if endpoint.up => "up",
        (other, ..) => other,
    };
    if endpoint.backup { format!("{word} (backup)") } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_part_of_a_path() {
        assert_eq!(encode("tcp://[::1]:80"), "tcp%3A%2F%2F%5B%3A%3A1%5D%3A80");
        assert_eq!(encode("unix://run/a b.sock"), "unix%3A%2F%2Frun%2Fa%20b.sock");
    }
}
