//! `polygate events`: what happens, as it happens, a line an event; until the gateway ends or nobody reads.

use clap::Args;

use super::client::Client;
use super::exit::Failure;
use super::table::encode;
use super::{Format, Output, terminal};

/// Options of `events`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only these kinds, separated by commas: config, listener, lifecycle, connection, login, transfer, limit, panic,
    /// upstream, stats; all but connection and stats without it
    #[arg(long, value_name = "KINDS")]
    kind: Option<String>,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(client: &Client, options: &Options) -> Result<(), Failure> {
    let mut path = "/api/v1/events".to_owned();
    if let Some(kind) = &options.kind {
        path.push_str(&format!("?kind={}", encode(kind)));
    }
    let (mut rest, mut kind) = (Vec::new(), String::new());
    client.follow(&path, |bytes| {
        // By lines: a piece may end within a character.
        rest.extend_from_slice(bytes);
        let mut lines = String::new();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            if let Some(name) = line.strip_prefix("event: ") {
                name.trim_end().clone_into(&mut kind);
            } else if let Some(data) = line.strip_prefix("data: ") {
                lines.push_str(&show(&kind, data.trim_end(), options.output.output));
            }
        }
        terminal::write(&lines)
    })
}

/// `2026-11-27T05:00:00Z lifecycle state=draining connections_active=3`, or the JSON with its kind.
fn show(kind: &str, data: &str, format: Format) -> String {
    let Ok(serde_json::Value::Object(mut fields)) = serde_json::from_str(data) else { return String::new() };
    if format == Format::Json {
        fields.insert("kind".into(), kind.into());
        return format!("{}\n", serde_json::Value::Object(fields));
    }
    let text = |value: &serde_json::Value| match value.as_str() {
        Some(text) => terminal::escape(text),
        None => value.to_string(),
    };
    let time = fields.remove("time").map(|time| text(&time)).unwrap_or_default();
    let fields = fields.iter().map(|(name, value)| format!(" {name}={}", text(value)));
    format!("{time} {kind}{}\n", fields.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_a_line() {
        let data = r#"{"state":"draining","connections_active":3,"time":"2026-11-27T05:00:00Z"}"#;
        assert_eq!(
            show("lifecycle", data, Format::Table),
            "2026-11-27T05:00:00Z lifecycle state=draining connections_active=3\n"
        );
        assert!(show("lifecycle", data, Format::Json).ends_with("\"kind\":\"lifecycle\"}\n"));
    }
}
