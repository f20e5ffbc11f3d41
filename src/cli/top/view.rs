//! The screen. Pure: a model goes in, cells come out; whatever came from others is escaped here.

pub(super) mod columns;

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Clear, Paragraph, Row, Table, TableState};

use super::model::{Mode, Model, Tab};
use super::snapshot::Snapshot;
use crate::cli::table::{bytes, duration};
use crate::cli::terminal::escape;
use columns::{Column, connection_columns, fit, listener_columns};

/// A screen with less lines than this has a header of one line.
const LOW: u16 = 10;

const HELP: &[(&str, &str)] = &[
    ("Tab, 1, 2", "listeners, connections"),
    ("Up, Down, PgUp, PgDn", "choose"),
    ("Home, End", "the first, the last"),
    ("Enter", "the listener's connections"),
    ("/", "filter; Esc takes it back"),
    ("s, S", "sort by the next, reverse"),
    ("k", "kill"),
    ("p, r, d", "pause, resume, drain"),
    ("Ctrl-L, Ctrl-Z", "draw anew, suspend"),
    ("q, Ctrl-C", "quit"),
];

/// How things look: with colours, or by weight alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Theme {
    pub(super) color: bool,
}

/// How far both tables are scrolled, which only the screen knows.
#[derive(Debug, Default)]
pub(super) struct Scroll {
    listeners: TableState,
    connections: TableState,
}

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model, scroll: &mut Scroll, theme: Theme) {
    let area = frame.area();
    let mut header = header(&model.snapshot, &model.url, theme);
    if area.height < LOW {
        header.truncate(1);
    }
    if let Some(why) = &model.gone {
        header.push(Line::styled(escape(why), theme.alarm()));
    }
    let heights = [
        Constraint::Length(u16::try_from(header.len()).unwrap_or(1)),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
    ];
    let [top, tabs, table, bottom] = Layout::vertical(heights).areas(area);
    frame.render_widget(Paragraph::new(header), top);
    frame.render_widget(Paragraph::new(tab_line(model, theme)), tabs);
    draw_table(frame, table, model, scroll, theme);
    frame.render_widget(Paragraph::new(footer(model, theme)), bottom);
    if model.mode == Mode::Help {
        help(frame, area);
    }
}

/// The gateway at a glance: three lines.
fn header(snapshot: &Snapshot, url: &str, theme: Theme) -> Vec<Line<'static>> {
    let overview = &snapshot.overview;
    let running = overview.state == "running" && overview.ready;
    let state = if running { theme.good() } else { theme.warn() };
    let mut first = vec![
        Span::styled("polygate ", theme.strong()),
        Span::styled(escape(&overview.state), state),
        Span::raw(if overview.ready { "" } else { ", not ready" }),
    ];
    let rest = format!(
        "  up {}  version {}  generation {}  {}",
        duration(overview.uptime_seconds),
        escape(&snapshot.version),
        overview.generation,
        escape(url)
    );
    first.push(Span::raw(rest));
    let [second, third] = totals(snapshot);
    vec![Line::from(first), Line::raw(second), Line::raw(third)]
}

/// What it all comes to, and how much a second.
pub(super) fn totals(snapshot: &Snapshot) -> [String; 2] {
    let (totals, rates) = (&snapshot.overview.totals, snapshot.rates());
    let second = format!(
        "connections {} open, {} accepted ({:.1}/s), {} turned away  datagrams {} ({:.1}/s)",
        totals.connections_active,
        totals.connections_accepted_total,
        rates.connections_accepted_per_second,
        totals.connections_rejected_total,
        totals.datagrams_received_total,
        rates.datagrams_received_per_second,
    );
    let third = format!(
        "bytes {} received ({}/s), {} sent ({}/s)  listeners {} of {} accept",
        bytes(totals.received_bytes),
        bytes(rates.received_bytes_per_second as u64),
        bytes(totals.sent_bytes),
        bytes(rates.sent_bytes_per_second as u64),
        snapshot.overview.listeners_running,
        snapshot.overview.listeners,
    );
    [second, third]
}

fn tab_line(model: &Model, theme: Theme) -> Line<'static> {
    let tab = |tab: Tab, text: String| {
        let style = if model.tab == tab { theme.chosen() } else { Style::new() };
        Span::styled(text, style)
    };
    let mut spans = vec![
        tab(Tab::Listeners, format!(" Listeners {} ", model.snapshot.listeners.len())),
        Span::raw(" "),
        tab(Tab::Connections, format!(" Connections {} ", model.snapshot.total)),
    ];
    let listed = model.snapshot.connections.len();
    if model.tab == Tab::Connections {
        let way = if model.reversed { ", reversed" } else { "" };
        spans.push(Span::raw(format!("  by {}{way}", model.sort.name())));
        if listed < model.snapshot.total {
            spans.push(Span::raw(format!("  {listed} listed")));
        }
    }
    if !model.filter.is_empty() && model.mode != Mode::Filter {
        spans.push(Span::styled(format!("  /{}", escape(&model.filter)), theme.strong()));
    }
    Line::from(spans)
}

fn draw_table(frame: &mut Frame<'_>, area: Rect, model: &Model, scroll: &mut Scroll, theme: Theme) {
    match model.tab {
        Tab::Listeners => {
            let (columns, rows) = (listener_columns(), model.listeners());
            rows_of(frame, area, &columns, &rows, (model.selected(), &mut scroll.listeners), theme);
        }
        Tab::Connections => {
            let (columns, rows) = (connection_columns(), model.connections());
            rows_of(frame, area, &columns, &rows, (model.selected(), &mut scroll.connections), theme);
        }
    }
}

fn rows_of<T>(
    frame: &mut Frame<'_>,
    area: Rect,
    columns: &[Column<T>],
    rows: &[&T],
    (selected, state): (Option<usize>, &mut TableState),
    theme: Theme,
) {
    let shown = fit(columns, area.width);
    let align = |column: &Column<T>| if column.number { Alignment::Right } else { Alignment::Left };
    let head = shown.iter().map(|column| Line::raw(column.name).alignment(align(column)));
    let body = rows.iter().map(|item| {
        Row::new(shown.iter().map(|column| {
            let text = escape(&(column.text)(item));
            let style = if column.name == "STATE" { theme.of_state(&text) } else { Style::new() };
            Cell::from(Line::styled(text, style).alignment(align(column)))
        }))
    });
    let widths = shown.iter().map(|column| match column.number {
        true => Constraint::Length(column.width),
        false => Constraint::Fill(column.width),
    });
    let table = Table::new(body, widths)
        .header(Row::new(head).style(theme.strong()))
        .row_highlight_style(theme.chosen());
    state.select(selected);
    frame.render_stateful_widget(table, area, state);
}

fn footer(model: &Model, theme: Theme) -> Line<'static> {
    match (&model.mode, &model.message) {
        (Mode::Filter, _) => Line::styled(format!("/{}_", escape(&model.filter)), theme.strong()),
        (Mode::Confirm(question, _), _) => Line::styled(format!("{} y/n", escape(question)), theme.alarm()),
        (_, Some(message)) => Line::styled(escape(message), theme.strong()),
        _ => Line::raw(match model.tab {
            Tab::Listeners => "? help  q quit  Tab  / filter  k kill  p pause  r resume  d drain",
            Tab::Connections => "? help  q quit  Tab  / filter  k kill  s sort  S reverse",
        }),
    }
}

fn help(frame: &mut Frame<'_>, area: Rect) {
    let lines: Vec<Line<'_>> =
        HELP.iter().map(|(keys, what)| Line::raw(format!(" {keys:<21} {what}"))).collect();
    let (width, height) = (53.min(area.width), (HELP.len() as u16 + 2).min(area.height));
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" Keys ")), place);
}

// === impl Theme ===

impl Theme {
    fn with(self, color: Color, style: Style) -> Style {
        if self.color { style.fg(color) } else { style }
    }

    fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    fn good(self) -> Style {
        self.with(Color::Green, Style::new())
    }

    fn warn(self) -> Style {
        self.with(Color::Yellow, self.strong())
    }

    fn alarm(self) -> Style {
        self.with(Color::Red, self.strong())
    }

    fn of_state(self, state: &str) -> Style {
        match state {
            "running" | "open" => Style::new(),
            _ => self.warn(),
        }
    }
}

#[cfg(test)]
mod tests;
