//! What the screen shows and what a key does. Pure: nothing in here knows a terminal or a gateway.

use std::cmp::Ordering;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::snapshot::{Connection, Listener, Snapshot};
use crate::cli::table::plural;

/// How far Page Up and Page Down go.
const PAGE: usize = 10;

/// The longest filter.
const LONGEST_FILTER: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    Listeners,
    Connections,
}

/// What the keys mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mode {
    Look,
    /// A filter is typed.
    Filter,
    /// The question is asked; `y` does it.
    Confirm(String, Action),
    Help,
}

/// By what connections are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Rate,
    Bytes,
    Age,
    Idle,
    Peer,
    Listener,
    Id,
}

/// What is to be done outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    Quit,
    /// Ctrl-Z.
    Suspend,
    /// Ctrl-L.
    Redraw,
    Ask(Request),
}

/// What the gateway is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    Kill(u64),
    KillAll(String),
    Pause(String),
    Resume(String),
    Drain(String),
}

/// The state of the screen.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) url: String,
    pub(super) snapshot: Snapshot,
    pub(super) tab: Tab,
    pub(super) mode: Mode,
    pub(super) sort: Sort,
    /// The other way round.
    pub(super) reversed: bool,
    pub(super) filter: String,
    /// Why the gateway does not answer.
    pub(super) gone: Option<String>,
    /// What came of the last request.
    pub(super) message: Option<String>,
    /// The chosen listener and connection: by name and number, since rows move.
    listener: Option<String>,
    connection: Option<u64>,
}

// === impl Sort ===

impl Sort {
    pub(super) const ALL: [Sort; 7] =
        [Sort::Rate, Sort::Bytes, Sort::Age, Sort::Idle, Sort::Peer, Sort::Listener, Sort::Id];

    pub(super) fn name(self) -> &'static str {
        match self {
            Sort::Rate => "rate",
            Sort::Bytes => "bytes",
            Sort::Age => "age",
            Sort::Idle => "idle",
            Sort::Peer => "peer",
            Sort::Listener => "listener",
            Sort::Id => "id",
        }
    }

    /// As the API has it. What it cannot sort by it sends by what moved last, so that of very many connections those
    /// that count are among the ones listed.
    pub(super) fn order(self) -> &'static str {
        match self {
            Sort::Rate => "idle_seconds",
            Sort::Bytes => "-received_bytes",
            Sort::Age => "-age_seconds",
            Sort::Idle => "-idle_seconds",
            Sort::Peer | Sort::Listener | Sort::Id => "id",
        }
    }

    fn next(self) -> Sort {
        let at = Sort::ALL.iter().position(|sort| *sort == self).unwrap_or(0);
        Sort::ALL[(at + 1) % Sort::ALL.len()]
    }

    /// Numbers from the largest on, names and ids from the smallest; the id decides between equals.
    fn compare(self, a: &Connection, b: &Connection) -> Ordering {
        let order = match self {
            Sort::Rate => (b.rate.received + b.rate.sent).total_cmp(&(a.rate.received + a.rate.sent)),
            Sort::Bytes => {
                let bytes = |conn: &Connection| conn.received_bytes.saturating_add(conn.sent_bytes);
                bytes(b).cmp(&bytes(a))
            }
            Sort::Age => b.age_seconds.total_cmp(&a.age_seconds),
            Sort::Idle => b.idle_seconds.total_cmp(&a.idle_seconds),
            Sort::Peer => a.peer.cmp(&b.peer),
            Sort::Listener => a.listener.cmp(&b.listener),
            Sort::Id => Ordering::Equal,
        };
        order.then(a.id.cmp(&b.id))
    }
}

// === impl Model ===

impl Model {
    pub(super) fn new(url: String, snapshot: Snapshot) -> Self {
        Model {
            url,
            snapshot,
            tab: Tab::Listeners,
            mode: Mode::Look,
            sort: Sort::Rate,
            reversed: false,
            filter: String::new(),
            gone: None,
            message: None,
            listener: None,
            connection: None,
        }
    }

    /// News of the gateway.
    pub(super) fn take(&mut self, mut snapshot: Snapshot) {
        snapshot.compare(Some(&self.snapshot));
        self.snapshot = snapshot;
        self.gone = None;
    }

    /// The gateway does not answer; what was last known stays on the screen.
    pub(super) fn lose(&mut self, why: String) {
        self.gone = Some(why);
    }

    /// The listeners that the filter lets pass, in the order of the configuration.
    pub(super) fn listeners(&self) -> Vec<&Listener> {
        let passes = |listener: &&Listener| {
            self.passes([&listener.name, &listener.state, &listener.kind])
                || listener.endpoints.iter().any(|endpoint| self.passes([&endpoint.address]))
        };
        self.snapshot.listeners.iter().filter(passes).collect()
    }

    /// The connections that the filter lets pass, sorted.
    pub(super) fn connections(&self) -> Vec<&Connection> {
        let passes = |conn: &&Connection| {
            self.passes([&conn.listener, &conn.peer, &conn.handler, &conn.transport, &conn.state])
        };
        let mut found: Vec<&Connection> = self.snapshot.connections.iter().filter(passes).collect();
        found.sort_by(|a, b| self.sort.compare(a, b));
        if self.reversed {
            found.reverse();
        }
        found
    }

    fn passes<'a>(&self, fields: impl IntoIterator<Item = &'a String>) -> bool {
        let wanted = self.filter.to_lowercase();
        fields.into_iter().any(|field| field.to_lowercase().contains(&wanted))
    }

    /// The row that is chosen; the first one where the chosen one has gone.
    pub(super) fn selected(&self) -> Option<usize> {
        let (at, rows) = match self.tab {
            Tab::Listeners => {
                let listeners = self.listeners();
                (listeners.iter().position(|l| Some(&l.name) == self.listener.as_ref()), listeners.len())
            }
            Tab::Connections => {
                let connections = self.connections();
                (connections.iter().position(|c| Some(c.id) == self.connection), connections.len())
            }
        };
        at.or((rows > 0).then_some(0))
    }

    fn select(&mut self, row: usize) {
        match self.tab {
            Tab::Listeners => self.listener = self.listeners().get(row).map(|listener| listener.name.clone()),
            Tab::Connections => self.connection = self.connections().get(row).map(|conn| conn.id),
        }
    }

    fn go(&mut self, to: impl FnOnce(usize, usize) -> usize) {
        let rows = match self.tab {
            Tab::Listeners => self.listeners().len(),
            Tab::Connections => self.connections().len(),
        };
        if let (Some(at), Some(last)) = (self.selected(), rows.checked_sub(1)) {
            self.select(to(at, last).min(last));
        }
    }

    /// What a key does.
    pub(super) fn key(&mut self, key: KeyEvent) -> Option<Action> {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Some(Action::Quit),
                KeyCode::Char('z') => Some(Action::Suspend),
                KeyCode::Char('l') => Some(Action::Redraw),
                _ => None,
            };
        }
        match std::mem::replace(&mut self.mode, Mode::Look) {
            Mode::Look => self.look(key.code),
            Mode::Help => None,
            Mode::Filter => {
                self.edit(key.code);
                None
            }
            Mode::Confirm(_, action) => match key.code {
                KeyCode::Char('y' | 'Y') => Some(action),
                _ => {
                    self.message = Some("nothing is done".into());
                    None
                }
            },
        }
    }

    fn look(&mut self, code: KeyCode) -> Option<Action> {
        self.message = None;
        match code {
            KeyCode::Char('q') => return Some(Action::Quit),
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.mode = Mode::Help,
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Tab | KeyCode::BackTab => self.tab = self.tab.other(),
            KeyCode::Char('1') => self.tab = Tab::Listeners,
            KeyCode::Char('2') => self.tab = Tab::Connections,
            KeyCode::Up => self.go(|at, _| at.saturating_sub(1)),
            KeyCode::Down => self.go(|at, _| at + 1),
            KeyCode::PageUp => self.go(|at, _| at.saturating_sub(PAGE)),
            KeyCode::PageDown => self.go(|at, _| at + PAGE),
            KeyCode::Home => self.go(|_, _| 0),
            KeyCode::End => self.go(|_, last| last),
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Char('S') => self.reversed = !self.reversed,
            KeyCode::Enter => self.open(),
            KeyCode::Char('k') => self.kill(),
            KeyCode::Char(verb @ ('p' | 'r' | 'd')) => return self.steer(verb),
            _ => {}
        }
        None
    }

    fn edit(&mut self, code: KeyCode) {
        self.mode = Mode::Filter;
        match code {
            KeyCode::Enter => self.mode = Mode::Look,
            KeyCode::Esc => {
                self.filter.clear();
                self.mode = Mode::Look;
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(typed) if self.filter.chars().count() < LONGEST_FILTER => self.filter.push(typed),
            _ => {}
        }
    }

    /// From a listener to its connections.
    fn open(&mut self) {
        if self.tab == Tab::Listeners
            && let Some(listener) = self.chosen_listener()
        {
            self.filter = listener.name.clone();
            self.tab = Tab::Connections;
        }
    }

    fn chosen_listener(&self) -> Option<&Listener> {
        self.listeners().get(self.selected()?).copied()
    }

    fn kill(&mut self) {
        let asked = match self.tab {
            Tab::Listeners => self.chosen_listener().map(|listener| {
                let count =
                    plural(usize::try_from(listener.connections_active).unwrap_or(usize::MAX), "connection");
                (format!("kill the {count} of {}?", listener.name), Request::KillAll(listener.name.clone()))
            }),
            Tab::Connections => self.selected().and_then(|row| {
                let connections = self.connections();
                let conn = connections.get(row)?;
                let question = format!("kill connection {} of {} ({})?", conn.id, conn.peer, conn.listener);
                Some((question, Request::Kill(conn.id)))
            }),
        };
        match asked {
            Some((question, request)) => self.mode = Mode::Confirm(question, Action::Ask(request)),
            None => self.message = Some("there is nothing to kill".into()),
        }
    }

    fn steer(&mut self, verb: char) -> Option<Action> {
        if self.tab != Tab::Listeners {
            self.message = Some("p, r and d are for listeners: Tab leads there".into());
            return None;
        }
        let name = self.chosen_listener()?.name.clone();
        match verb {
            'p' => Some(Action::Ask(Request::Pause(name))),
            'r' => Some(Action::Ask(Request::Resume(name))),
            _ => {
                let question = format!("drain {name}: pause it and ask its connections to finish?");
                self.mode = Mode::Confirm(question, Action::Ask(Request::Drain(name)));
                None
            }
        }
    }
}

impl Tab {
    fn other(self) -> Tab {
        match self {
            Tab::Listeners => Tab::Connections,
            Tab::Connections => Tab::Listeners,
        }
    }
}

#[cfg(test)]
mod tests;
