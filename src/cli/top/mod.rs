//! `polygate top`: listeners and connections as they are now, on a screen that is steered by keys, or printed once.

mod model;
mod screen;
mod snapshot;
mod source;
mod view;

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::client::Client;
use super::exit::Failure;
use super::table::{Align, Table, duration};
use super::{terminal, watch};
use model::{Model, Sort, Tab};
use snapshot::Snapshot;
use source::Source;
use view::Theme;
use view::columns::{Column, connection_columns, listener_columns};

/// Longer than a gateway takes that is there, short enough to tell that it is not.
const DEADLINE: Duration = Duration::from_secs(5);

/// How many connections are printed once.
const PRINTED: usize = 50;

/// Options of `top`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Print one plain screen and end; so it is where standard output is no terminal, too
    #[arg(long)]
    once: bool,
    /// How often the gateway is asked; with --once how long rates are measured
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = watch::interval)]
    interval: Duration,
    /// Whether there are colours; auto: on a terminal, unless $NO_COLOR is set
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    color: Color,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

pub(crate) fn run(client: Client, options: &Options) -> Result<(), Failure> {
    let color = match options.color {
        Color::Auto => terminal::color_on_stdout(),
        Color::Always => true,
        Color::Never => false,
    };
    let url = client.url();
    let mut source = Source::new(client.deadline(DEADLINE));
    // Before the screen is taken, so that a wrong address or token is said as every command says it.
    let first = source.take(Sort::Rate)?;
    if !options.once && io::stdout().is_terminal() {
        return screen::show(source, Model::new(url, first), options.interval, Theme { color });
    }
    watch::pause(options.interval);
    let mut snapshot = source.take(Sort::Rate)?;
    snapshot.compare(Some(&first));
    terminal::print(&plain(&snapshot, &url, color))
}

/// The screen for scripts: the header, then both tables in full width.
fn plain(snapshot: &Snapshot, url: &str, color: bool) -> String {
    let overview = &snapshot.overview;
    let mut text = format!(
        "polygate {}{}  up {}  version {}  generation {}  {}\n",
        terminal::escape(&overview.state),
        if overview.ready { "" } else { ", not ready" },
        duration(overview.uptime_seconds),
        terminal::escape(&snapshot.version),
        overview.generation,
        terminal::escape(url),
    );
    for line in view::totals(snapshot) {
        text.push_str(&format!("{line}\n"));
    }
    let mut model = Model::new(url.to_owned(), snapshot.clone());
    text.push_str(&format!("\n{}", table(&listener_columns(), &model.listeners()).render(color)));
    model.tab = Tab::Connections;
    let mut connections = model.connections();
    connections.truncate(PRINTED);
    text.push_str(&format!("\n{}", table(&connection_columns(), &connections).render(color)));
    if connections.len() < snapshot.total {
        text.push_str(&format!("{} of {}\n", connections.len(), snapshot.total));
    }
    text
}

fn table<T>(columns: &[Column<T>], rows: &[&T]) -> Table {
    let head: Vec<(&'static str, Align)> = columns
        .iter()
        .map(|column| (column.name, if column.number { Align::Right } else { Align::Left }))
        .collect();
    let mut table = Table::new(&head);
    for row in rows {
        table.row(columns.iter().map(|column| (column.text)(row)).collect());
    }
    table
}
