//! One line of the log: what an event holds, written as text or as JSON.

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata};

use crate::cli::terminal::{is_unsafe, push_escaped};

/// What stands in every line; a field of that name gets an underscore.
const RESERVED: [&str; 4] = ["timestamp", "level", "target", "message"];

/// An event, taken apart.
pub(super) struct Line {
    time: Timestamp,
    level: Level,
    target: &'static str,
    fields: Fields,
}

/// The message and the fields of an event.
#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Line {
    pub(super) fn of(event: &Event<'_>, time: Timestamp) -> Line {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata: &'static Metadata<'static> = event.metadata();
        Line { time, level: *metadata.level(), target: metadata.target(), fields }
    }

    /// One flat object.
    pub(super) fn json(self) -> String {
        let mut object = Map::new();
        object.insert("timestamp".into(), format!("{:.6}", self.time).into());
        object.insert("level".into(), self.level.as_str().to_ascii_lowercase().into());
        object.insert("target".into(), self.target.into());
        object.insert("message".into(), self.fields.message.into());
        object.extend(self.fields.others);
        format!("{}\n", Value::Object(object))
    }

    /// Time, level, target, message, then `key=value`.
    pub(super) fn text(self, color: bool) -> String {
        let mut out = String::with_capacity(160);
        let (start, end) = if color { (style(self.level), "\x1b[0m") } else { ("", "") };
        let _ = write!(out, "{:.3} {start}{:>5}{end} {}: ", self.time, self.level.as_str(), self.target);
        self.fields.message.chars().for_each(|character| push_escaped(&mut out, character));
        for (name, value) in &self.fields.others {
            let _ = write!(out, " {name}=");
            push_value(&mut out, value);
        }
        out.push('\n');
        out
    }
}

fn style(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

/// A value such that it cannot be taken for two fields, nor do anything to a terminal.
fn push_value(out: &mut String, value: &Value) {
    let Value::String(text) = value else {
        let _ = write!(out, "{value}");
        return;
    };
    let plain = |c: char| !c.is_whitespace() && !is_unsafe(c) && !matches!(c, '"' | '\\');
    if !text.is_empty() && text.chars().all(plain) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        push_escaped(out, character);
    }
    out.push('"');
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        let name = field.name();
        match (name, value) {
            ("message", Value::String(message)) => self.message = message,
            ("message", other) => self.message = other.to_string(),
            (name, value) => {
                let name = if RESERVED.contains(&name) { format!("{name}_") } else { name.to_owned() };
                self.others.insert(name, value);
            }
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    /// Display-ed values come here as well.
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::Subscriber;
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::{Context, SubscriberExt as _};

    use super::*;

    struct Take(Arc<Mutex<Vec<Line>>>);

    impl<S: Subscriber> Layer<S> for Take {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.0.lock().unwrap().push(Line::of(event, Timestamp::from_second(1_700_000_000).unwrap()));
        }
    }

    fn line(log: impl FnOnce()) -> Line {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let subscriber = tracing_subscriber::registry().with(Take(lines.clone()));
        tracing::subscriber::with_default(subscriber, log);
        lines.lock().unwrap().pop().unwrap()
    }

    fn closed() {
        let peer = "10.0.0.1:5";
        tracing::info!(target: "polygate::conn", conn = 7u64, listener = "echo", %peer, reused = false,
            duration_seconds = 1.5, message_ = ?Some("a b"), "closed");
    }

    #[test]
    fn json_is_flat() {
        let expected = concat!(
            r#"{"timestamp":"2023-11-14T22:13:20.000000Z","level":"info","target":"polygate::conn","#,
            r#""message":"closed","conn":7,"listener":"echo","peer":"10.0.0.1:5","reused":false,"#,
            r#""duration_seconds":1.5,"message_":"Some(\"a b\")"}"#,
            "\n"
        );
        assert_eq!(line(closed).json(), expected);
    }

    #[test]
    fn text_is_one_line_of_pairs() {
        let expected = "2023-11-14T22:13:20.000Z  INFO polygate::conn: closed conn=7 listener=echo \
                        peer=10.0.0.1:5 reused=false duration_seconds=1.5 message_=\"Some(\\\"a b\\\")\"\n";
        assert_eq!(line(closed).text(false), expected);
        assert!(line(closed).text(true).contains("\x1b[32m INFO\x1b[0m"));
    }

    #[test]
    fn bytes_from_the_wire_are_escaped() {
        let log = || {
            let user = "x\r\n2023 ERROR forged\u{1b}[2J\u{9b}";
            tracing::warn!(target: "t", user, peer = %user, empty = "", "no such user {user}");
        };
        let shown = line(log).text(false);
        assert_eq!(shown.matches('\n').count(), 1);
        assert!(!shown.trim_end().contains(char::is_control), "{shown}");
        assert!(shown.contains(r#"user="x\r\n2023 ERROR forged\u{1b}[2J\u{9b}""#), "{shown}");
        assert!(shown.contains(r#" empty="""#), "{shown}");
        assert!(shown.contains(r"no such user x\r\n2023"), "{shown}");
        let shown = line(log).json();
        assert_eq!(shown.matches('\n').count(), 1);
        assert!(shown.contains(r#""user":"x\r\n2023 ERROR forged\u001b[2J"#), "{shown}");
    }

    #[test]
    fn a_value_cannot_pass_for_another_field() {
        let log = || tracing::info!(user = "bob conn=9", quote = "\" conn=9", "login");
        let shown = line(log).text(false);
        assert!(shown.trim_end().ends_with(r#"login user="bob conn=9" quote="\" conn=9""#), "{shown}");
    }

    #[test]
    fn a_field_cannot_hide_what_every_line_has() {
        let shown = line(|| tracing::info!(level = "x", timestamp = 1, "m")).json();
        assert!(shown.contains(r#""level":"info""#) && shown.contains(r#""level_":"x""#), "{shown}");
        assert!(shown.contains(r#""timestamp_":1"#), "{shown}");
    }

    #[test]
    fn a_number_that_json_has_not_is_null() {
        let shown = line(|| tracing::info!(rate = f64::NAN, "m")).json();
        assert!(shown.contains(r#""rate":null"#), "{shown}");
    }
}
