//! `polygate console`: the conversations of a listener in the terminal: listed, followed, answered line by line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::BufRead as _;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use clap::{Args, ValueEnum};
use hyper::Method;
use serde::Deserialize;
use serde_json::json;

use super::client::Client;
use super::exit::{Exit, Failure};
use super::table::{Align, Table, encode};
use super::terminal::{complain, escape};
use super::{Output, terminal};

/// Between two looks for news.
const LOOK: Duration = Duration::from_millis(300);

const HELP: &str = "\
A line answers the conversation that spoke last; `#ID text` answers that one and stays with it.
/list lists the conversations, /quit or the end of the input ends.
";

/// What to follow.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Follow the conversations of this listener and answer them; without it they are listed
    listener: Option<String>,
    /// What ends each answer: the client gets the line as it is typed, and this
    #[arg(long, value_enum, default_value_t = LineEnd::None, requires = "listener")]
    line_end: LineEnd,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LineEnd {
    None,
    Lf,
    Crlf,
}

impl LineEnd {
    fn text(self) -> &'static str {
        match self {
            LineEnd::None => "",
            LineEnd::Lf => "\n",
            LineEnd::Crlf => "\r\n",
        }
    }
}

#[derive(Debug, Deserialize)]
struct List {
    items: Vec<Conversation>,
}

#[derive(Debug, Deserialize)]
struct Conversation {
    id: u64,
    listener: String,
    transport: String,
    peer: String,
    started_at: String,
    open: bool,
    waiting: bool,
    entries_total: u64,
    #[serde(default)]
    entries: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    number: u64,
    from: String,
    text: String,
}

pub(crate) fn run(client: &Client, options: &Options) -> Result<(), Failure> {
    let Some(listener) = &options.listener else {
        let answer = client.get("/api/v1/consoles")?;
        if options.output.output == super::Format::Json {
            return terminal::print(&answer.text());
        }
        return terminal::print(&table(&answer.json::<List>()?.items));
    };
    // An unknown name would be followed for ever.
    client.get(&format!("/api/v1/listeners/{}", encode(listener)))?;
    complain(HELP);
    Console { client, listener, line_end: options.line_end.text(), known: BTreeMap::new(), current: None }
        .run(&lines()?)
}

fn table(conversations: &[Conversation]) -> String {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("ID", Right),
        ("LISTENER", Left),
        ("TRANSPORT", Left),
        ("PEER", Left),
        ("STARTED", Left),
        ("STATE", Left),
        ("ENTRIES", Right),
    ]);
    for conversation in conversations {
        let state = match (conversation.open, conversation.waiting) {
            (true, true) => "waits",
            (true, false) => "open",
            (false, _) => "ended",
        };
        table.row(vec![
            conversation.id.to_string(),
            conversation.listener.clone(),
            conversation.transport.clone(),
            conversation.peer.clone(),
            conversation.started_at.clone(),
            state.to_owned(),
            conversation.entries_total.to_string(),
        ]);
    }
    table.render(terminal::color_on_stdout())
}

/// Lines of standard input, read beside the rest.
fn lines() -> Result<Receiver<String>, Failure> {
    let (send, lines) = mpsc::channel();
    let read = move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if send.send(line).is_err() {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name("input".into()).spawn(read);
    thread.map_err(|error| Failure::new(Exit::Failure, format!("cannot read the input: {error}")))?;
    Ok(lines)
}

/// What has been shown of a conversation.
struct Known {
    entries: u64,
    open: bool,
}

struct Console<'a> {
    client: &'a Client,
    listener: &'a str,
    line_end: &'static str,
    known: BTreeMap<u64, Known>,
    /// Whom a line answers.
    current: Option<u64>,
}

/// What a typed line means.
#[derive(Debug, PartialEq, Eq)]
enum Typed<'a> {
    Nothing,
    List,
    Quit,
    /// Answers the conversation of that number, or the current one.
    Answer(Option<u64>, &'a str),
    Select(u64),
    Unknown,
}

impl<'a> Typed<'a> {
    fn of(line: &'a str) -> Self {
        match line.trim() {
            "" => return Typed::Nothing,
            "/list" => return Typed::List,
            "/quit" => return Typed::Quit,
            command if command.starts_with('/') => return Typed::Unknown,
            _ => {}
        }
        let Some(addressed) = line.trim_start().strip_prefix('#') else { return Typed::Answer(None, line) };
        let (id, text) = addressed.split_once(' ').unwrap_or((addressed, ""));
        match (id.parse(), text) {
            (Ok(id), "") => Typed::Select(id),
            (Ok(id), text) => Typed::Answer(Some(id), text),
            (Err(_), _) => Typed::Answer(None, line),
        }
    }
}

impl Console<'_> {
    fn run(mut self, lines: &Receiver<String>) -> Result<(), Failure> {
        loop {
            self.show_news()?;
            match lines.recv_timeout(LOOK) {
                Ok(line) => {
                    if !self.act(&Typed::of(&line))? {
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.show_news(),
            }
        }
    }

    fn list(&self) -> Result<Vec<Conversation>, Failure> {
        let path = format!("/api/v1/consoles?listener={}", encode(self.listener));
        Ok(self.client.get(&path)?.json::<List>()?.items)
    }

    /// Shows what has happened since the last look.
    fn show_news(&mut self) -> Result<(), Failure> {
        let all = self.list()?;
        for conversation in &all {
            let id = conversation.id;
            let is_new = !self.known.contains_key(&id);
            let seen = self.known.get(&id).map_or(0, |known| known.entries);
            let was_open = self.known.get(&id).is_none_or(|known| known.open);
            let mut out = String::new();
            if is_new {
                let (peer, transport) = (escape(&conversation.peer), &conversation.transport);
                let _ = writeln!(out, "#{id} {peer} ({transport}) since {}", conversation.started_at);
            }
            let mut entries = seen;
            if conversation.entries_total > seen {
                let path = format!("/api/v1/consoles/{id}?after={seen}");
                for entry in self.client.get(&path)?.json::<Conversation>()?.entries {
                    if entry.from == "client" && conversation.open {
                        self.current = Some(id);
                    }
                    out.push_str(&shown(id, &entry));
                    entries = entry.number;
                }
            }
            if !conversation.open && was_open {
                let _ = writeln!(out, "#{id} ended");
            }
            terminal::print(&out)?;
            self.known.insert(id, Known { entries, open: conversation.open });
        }
        self.known.retain(|id, _| all.iter().any(|conversation| conversation.id == *id));
        Ok(())
    }

    /// Does what was typed; false ends.
    fn act(&mut self, typed: &Typed<'_>) -> Result<bool, Failure> {
        match typed {
            Typed::Nothing => {}
            Typed::Quit => return Ok(false),
            Typed::Unknown => complain(HELP),
            Typed::List => terminal::print(&table(&self.list()?))?,
            Typed::Select(id) => self.current = Some(*id),
            Typed::Answer(id, text) => match id.or(self.current) {
                None => complain("nobody has spoken yet: `#ID text` answers a conversation\n"),
                Some(id) => self.answer(id, text)?,
            },
        }
        Ok(true)
    }

    /// Sends an answer. One that cannot be sent is no reason to end.
    fn answer(&mut self, id: u64, text: &str) -> Result<(), Failure> {
        self.current = Some(id);
        let body = json!({ "text": format!("{text}{}", self.line_end) });
        let path = format!("/api/v1/consoles/{id}/reply");
        match self.client.send(Method::POST, &path, &body)?.successful() {
            Ok(_) => Ok(()),
            Err(failure) if failure.exit == Exit::NoPermission => Err(failure),
            Err(failure) => {
                complain(&format!("#{id} was not answered: {}\n", failure.message));
                Ok(())
            }
        }
    }
}

/// An entry, each line of it by itself.
fn shown(id: u64, entry: &Entry) -> String {
    let mark = match entry.from.as_str() {
        "client" => "<",
        "operator" => ">",
        _ => "*",
    };
    let text = entry.text.strip_suffix('\n').unwrap_or(&entry.text);
    let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    lines.map(|line| format!("#{id} {mark} {}\n", escape(line))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typed_line_answers_or_steers() {
        for (line, expected) in [
            ("", Typed::Nothing),
            ("  ", Typed::Nothing),
            ("/list", Typed::List),
            ("/quit", Typed::Quit),
            ("/dance", Typed::Unknown),
            ("hello ", Typed::Answer(None, "hello ")),
            ("#7", Typed::Select(7)),
            ("#7 yes, please", Typed::Answer(Some(7), "yes, please")),
            ("#hash tag", Typed::Answer(None, "#hash tag")),
        ] {
            assert_eq!(Typed::of(line), expected, "{line:?}");
        }
    }

    #[test]
    fn what_a_client_says_cannot_write_to_the_terminal() {
        let entry = Entry { number: 1, from: "client".into(), text: "a\r\n\u{1b}[2Jb\n".into() };
        assert_eq!(shown(3, &entry), "#3 < a\n#3 < \\u{1b}[2Jb\n");
    }
}
