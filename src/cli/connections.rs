//! `polygate connections`: the live connections, filtered and sorted by the gateway, once or again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, ValueEnum};
use polygate::config::Period;
use serde::Deserialize;

use super::client::Client;
use super::exit::Failure;
use super::table::{Align, Table, bytes, duration, encode};
use super::{Format, Output, terminal, watch};

/// How many the API gives in one answer, at most.
const PAGE: usize = 1000;

/// Options of `connections`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only those of this listener
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// Only those of this transport
    #[arg(long, value_parser = TRANSPORTS)]
    transport: Option<String>,
    /// Only those of this peer: an address, a network (10.0.0.0/8) or uid=NUMBER
    #[arg(long)]
    peer: Option<String>,
    /// Only those at least so old, for example 5m
    #[arg(long, value_name = "DURATION", value_parser = period)]
    min_age: Option<Period>,
    /// By what to sort; the largest first, but for id
    #[arg(long, value_enum, default_value_t = Sort::Id)]
    sort: Sort,
    /// How many to list
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = limit)]
    limit: usize,
    /// Show them again and again, until Ctrl-C
    #[arg(short, long)]
    watch: bool,
    /// How often, with --watch
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = watch::interval, requires = "watch")]
    interval: Duration,
    #[command(flatten)]
    output: Output,
}

/// What carries a connection, as the API has it: over datagrams it is a flow.
pub(crate) const TRANSPORTS: [&str; 4] = ["tcp", "unix", "udp", "unixgram"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sort {
    Id,
    Age,
    Idle,
    Received,
    Sent,
}

#[derive(Debug, Deserialize)]
struct List {
    items: Vec<Connection>,
    next_cursor: Option<String>,
    total: usize,
}

#[derive(Debug, Deserialize)]
struct Connection {
    id: u64,
    listener: String,
    transport: String,
    handler: String,
    peer: String,
    age_seconds: f64,
    idle_seconds: f64,
    received_bytes: u64,
    sent_bytes: u64,
    state: String,
    #[serde(default)]
    details: BTreeMap<String, serde_json::Value>,
}

fn period(text: &str) -> Result<Period, String> {
    text.parse::<Period>().map_err(|error| error.to_string())
}

fn limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a whole number from 1".into()),
        Ok(limit) => Ok(limit),
    }
}

pub(crate) fn run(client: &Client, options: &Options) -> Result<(), Failure> {
    if options.watch {
        let time = options.output.output == Format::Table;
        return watch::run(options.interval, time, || show(client, options));
    }
    terminal::print(&show(client, options)?)
}

/// JSON is one answer, unchanged; a table is as many as the limit takes.
fn show(client: &Client, options: &Options) -> Result<String, Failure> {
    if options.output.output == Format::Json {
        return Ok(client.get(&path(options, options.limit, None))?.text());
    }
    let mut connections = Vec::new();
    let mut cursor = None;
    let total = loop {
        let wanted = (options.limit - connections.len()).min(PAGE);
        let list: List = client.get(&path(options, wanted, cursor.as_deref()))?.json()?;
        connections.extend(list.items);
        cursor = list.next_cursor;
        if cursor.is_none() || connections.len() >= options.limit {
            break list.total;
        }
    };
    // A frame is cut to the screen, which knows nothing of colours.
    let mut text = table(&connections).render(terminal::color_on_stdout() && !options.watch);
    if total > connections.len() {
        text.push_str(&format!("{} of {total}; more with --limit\n", connections.len()));
    }
    Ok(text)
}

fn path(options: &Options, limit: usize, cursor: Option<&str>) -> String {
    let mut path = format!("/api/v1/connections?limit={limit}&sort={}", options.sort.order());
    let min_age = options.min_age.map(|age| age.get().as_secs_f64().to_string());
    let filters = [
        ("listener", options.listener.as_deref()),
        ("transport", options.transport.as_deref()),
        ("peer", options.peer.as_deref()),
        ("min_age_seconds", min_age.as_deref()),
        ("cursor", cursor),
    ];
    for (name, value) in filters {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", encode(value)));
        }
    }
    path
}

impl Sort {
    /// As the API has it.
    fn order(self) -> &'static str {
        match self {
            Sort::Id => "id",
            Sort::Age => "-age_seconds",
            Sort::Idle => "-idle_seconds",
            Sort::Received => "-received_bytes",
            Sort::Sent => "-sent_bytes",
        }
    }
}

fn table(connections: &[Connection]) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("ID", Right),
        ("LISTENER", Left),
        ("TRANSPORT", Left),
        ("HANDLER", Left),
        ("PEER", Left),
        ("STATE", Left),
        ("AGE", Right),
        ("IDLE", Right),
        ("RECEIVED", Right),
        ("SENT", Right),
        ("DETAILS", Left),
    ]);
    for conn in connections {
        let details: Vec<String> = conn.details.iter().map(|(key, value)| detail(key, value)).collect();
        table.row(vec![
            conn.id.to_string(),
            conn.listener.clone(),
            conn.transport.clone(),
            conn.handler.clone(),
            conn.peer.clone(),
            conn.state.clone(),
            duration(conn.age_seconds),
            duration(conn.idle_seconds),
            bytes(conn.received_bytes),
            bytes(conn.sent_bytes),
            details.join(" "),
        ]);
    }
    table
}

fn detail(key: &str, value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => format!("{key}={text}"),
        value => format!("{key}={value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_become_a_query() {
        let options = Options {
            listener: Some("echo".into()),
            transport: Some("tcp".into()),
            peer: Some("::1/128&x".into()),
            min_age: Some("1m 30s".parse().unwrap()),
            sort: Sort::Received,
            limit: 5,
            watch: false,
            interval: Duration::from_secs(1),
            output: Output { output: Format::Table },
        };
        assert_eq!(
            path(&options, 5, Some("id.0.7")),
            "/api/v1/connections?limit=5&sort=-received_bytes&listener=echo&transport=tcp\
             &peer=%3A%3A1%2F128%26x&min_age_seconds=90&cursor=id.0.7"
        );
    }

    #[test]
    fn a_peer_cannot_forge_a_row() {
        let list = r#"{"items": [{"id": 7, "listener": "echo", "transport": "unix", "handler": "echo",
            "peer": "x\n8  echo", "age_seconds": 61.0, "idle_seconds": 0.2, "received_bytes": 3,
            "sent_bytes": 4096, "state": "open", "details": {"user": "bob", "n": 2}}],
            "next_cursor": null, "total": 1}"#;
        let list: List = serde_json::from_str(list).unwrap();
        let shown = table(&list.items).render(false);
        assert_eq!(shown.lines().count(), 2);
        assert!(shown.contains("x\\n8  echo  open   1m 01s  0.2s"), "{shown}");
        assert!(shown.ends_with("4.0KiB  n=2 user=bob\n"), "{shown}");
    }
}
