//! `polygate listeners`: what listens where, and what it has done.

use serde::Deserialize;

use super::client::Client;
use super::exit::Failure;
use super::table::{Align, Table, bytes};
use super::{Format, Output, terminal};

#[derive(Debug, Deserialize)]
struct List {
    items: Vec<Listener>,
}

#[derive(Debug, Deserialize)]
struct Listener {
    name: String,
    state: String,
    handler: String,
    #[serde(rename = "type")]
    kind: String,
    endpoints: Vec<Endpoint>,
    connections_active: u64,
    connections_accepted_total: u64,
    connections_rejected_total: u64,
    datagrams_received_total: u64,
    received_bytes: u64,
    sent_bytes: u64,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    address: String,
}

pub(crate) fn run(client: &Client, output: Output) -> Result<(), Failure> {
    let answer = client.get("/api/v1/listeners")?;
    match output.output {
        Format::Json => terminal::print(&answer.text()),
        Format::Table => {
            let list: List = answer.json()?;
            terminal::print(&table(&list.items).render(terminal::color_on_stdout()))
        }
    }
}

/// A listener's further endpoints stand in rows of their own below its first.
fn table(listeners: &[Listener]) -> Table {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("NAME", Left),
        ("STATE", Left),
        ("HANDLER", Left),
        ("ACTIVE", Right),
        ("ACCEPTED", Right),
        ("REJECTED", Right),
        ("DATAGRAMS", Right),
        ("RECEIVED", Right),
        ("SENT", Right),
        ("ENDPOINT", Left),
    ]);
    for listener in listeners {
        let mut endpoints = listener.endpoints.iter().map(|endpoint| endpoint.address.clone());
        table.row(vec![
            listener.name.clone(),
            listener.state.clone(),
            handler(&listener.handler, &listener.kind),
            listener.connections_active.to_string(),
            listener.connections_accepted_total.to_string(),
            listener.connections_rejected_total.to_string(),
            listener.datagrams_received_total.to_string(),
            bytes(listener.received_bytes),
            bytes(listener.sent_bytes),
            endpoints.next().unwrap_or_default(),
        ]);
        for endpoint in endpoints {
            let mut cells = vec![String::new(); 9];
            cells.push(endpoint);
            table.row(cells);
        }
    }
    table
}

/// A handler by its name, with its type where that is another.
fn handler(name: &str, kind: &str) -> String {
    match name == kind {
        true => name.to_owned(),
        false => format!("{name} ({kind})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_endpoint_has_its_row() {
        let list = r#"{"items": [{"name": "welcome", "state": "running", "handler": "greeter", "type": "echo",
            "endpoints": [{"address": "tcp://127.0.0.1:7007"}, {"address": "udp://127.0.0.1:7007"}],
            "connections_active": 1, "connections_accepted_total": 20, "connections_rejected_total": 3,
            "datagrams_received_total": 4, "received_bytes": 2048, "sent_bytes": 10, "new_field": 1}],
            "next_cursor": null, "total": 1}"#;
        let list: List = serde_json::from_str(list).unwrap();
        let shown = table(&list.items).render(false);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].starts_with("welcome  running  greeter (echo)"), "{shown}");
        assert!(lines[1].ends_with("2.0KiB   10B  tcp://127.0.0.1:7007"), "{shown}");
        assert_eq!(lines[2].trim_start(), "udp://127.0.0.1:7007");
        assert_eq!(lines[1].len(), lines[2].len());
    }
}
