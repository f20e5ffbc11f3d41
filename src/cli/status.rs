//! `polygate status` and `polygate talkers`: the gateway at a glance, and who uses it most.

use clap::{Args, ValueEnum};
use serde::Deserialize;

use super::client::{Client, Finding};
use super::exit::Failure;
use super::table::{Align, Table, bytes, duration, plural};
use super::{Format, Output, terminal};

#[derive(Debug, Deserialize)]
struct Overview {
    state: String,
    ready: bool,
    generation: u64,
    uptime_seconds: f64,
    listeners: u64,
    listeners_running: u64,
    totals: Totals,
    rates: Vec<Rates>,
    warnings: Vec<Finding>,
    last_reload: Reload,
}

#[derive(Debug, Deserialize)]
struct Totals {
    connections_active: u64,
    connections_accepted_total: u64,
    connections_rejected_total: u64,
    datagrams_received_total: u64,
    received_bytes: u64,
    sent_bytes: u64,
}

#[derive(Debug, Deserialize)]
struct Rates {
    window_seconds: u64,
    connections_accepted_per_second: f64,
    datagrams_received_per_second: f64,
    received_bytes_per_second: f64,
    sent_bytes_per_second: f64,
}

#[derive(Debug, Deserialize)]
struct Reload {
    successful: bool,
    success_at: String,
}

pub(crate) fn run(client: &Client, output: Output) -> Result<(), Failure> {
    let answer = client.get("/api/v1/overview")?;
    if output.output == Format::Json {
        return terminal::print(&answer.text());
    }
    let overview: Overview = answer.json()?;
    let totals = &overview.totals;
    let ready = if overview.ready { "ready" } else { "not ready" };
    let reload = if overview.last_reload.successful { "succeeded" } else { "failed" };
    let mut text = format!(
        "{}, {ready}, up {}\nlisteners    {} of {} accept\nconnections  {} open, {} accepted, {} turned away\n\
         datagrams    {} received\nbytes        {} received, {} sent\nconfig       generation {}; the last reload {reload}, \
         taken over {}\n",
        overview.state,
        duration(overview.uptime_seconds),
        overview.listeners_running,
        overview.listeners,
        totals.connections_active,
        totals.connections_accepted_total,
        totals.connections_rejected_total,
        totals.datagrams_received_total,
        bytes(totals.received_bytes),
        bytes(totals.sent_bytes),
        overview.generation,
        overview.last_reload.success_at,
    );
    text.push_str(&rates(&overview.rates).render(terminal::color_on_stdout()));
    if !overview.warnings.is_empty() {
        text.push_str(&format!("{}; see `polygate check`\n", plural(overview.warnings.len(), "warning")));
    }
    terminal::print(&text)
}

fn rates(rates: &[Rates]) -> Table {
    use Align::Right;
    let mut table = Table::new(&[
        ("OVER", Right),
        ("CONNECTIONS/s", Right),
        ("DATAGRAMS/s", Right),
        ("RECEIVED/s", Right),
        ("SENT/s", Right),
    ]);
    for rate in rates {
        table.row(vec![
            format!("{} s", rate.window_seconds),
            format!("{:.1}", rate.connections_accepted_per_second),
            format!("{:.1}", rate.datagrams_received_per_second),
            bytes(rate.received_bytes_per_second as u64),
            bytes(rate.sent_bytes_per_second as u64),
        ]);
    }
    table
}

/// Options of `talkers`.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Talkers {
    /// What counts
    #[arg(long, value_enum, default_value_t = By::Bytes)]
    by: By,
    /// What is summed
    #[arg(long, value_enum, default_value_t = Group::Peer)]
    group: Group,
    /// How many to list
    #[arg(long, value_name = "N", default_value_t = 10)]
    limit: usize,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    Bytes,
    Connections,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Group {
    Peer,
    Listener,
}

#[derive(Debug, Deserialize)]
struct List {
    items: Vec<Talker>,
}

#[derive(Debug, Deserialize)]
struct Talker {
    name: String,
    connections: u64,
    received_bytes: u64,
    sent_bytes: u64,
}

pub(crate) fn talkers(client: &Client, options: Talkers) -> Result<(), Failure> {
    let by = if options.by == By::Bytes { "bytes" } else { "connections" };
    let (group, title) = match options.group {
        Group::Peer => ("peer", "PEER"),
        Group::Listener => ("listener", "LISTENER"),
    };
    let path = format!("/api/v1/connections/top?by={by}&group={group}&limit={}", options.limit);
    let answer = client.get(&path)?;
    if options.output.output == Format::Json {
        return terminal::print(&answer.text());
    }
    use Align::{Left, Right};
    let mut table =
        Table::new(&[(title, Left), ("CONNECTIONS", Right), ("RECEIVED", Right), ("SENT", Right)]);
    for talker in answer.json::<List>()?.items {
        table.row(vec![
            talker.name,
            talker.connections.to_string(),
            bytes(talker.received_bytes),
            bytes(talker.sent_bytes),
        ]);
    }
    terminal::print(&table.render(terminal::color_on_stdout()))
}
