//! A small catalog for tests: the two handlers that the shipped configuration uses, without behaviour.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Catalog, Diagnostic, Finding, Findings, HandlerType, Loaded, Origin, Size, Timeouts, Transports,
    load_with,
};

/// Echo, upper, one that serves streams only, and one that needs an option.
pub(super) struct TestCatalog;

struct Echo;
struct Upper;
struct Lines;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct EchoOptions {
    /// Sent when a stream is accepted.
    greeting: String,
    /// Put before every chunk.
    prefix: String,
    /// The most that is read at once.
    chunk: Size,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct UpperOptions {
    /// Which letters.
    charset: Charset,
    /// Whether white space goes.
    strip: bool,
    /// The most that is read at once.
    chunk: Size,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Charset {
    /// ASCII letters.
    Ascii,
    /// Unicode.
    #[serde(rename = "utf-8")]
    Utf8,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LinesOptions {
    /// The lines by name.
    commands: std::collections::BTreeMap<String, Command>,
    /// How many at once.
    #[serde(default)]
    #[schemars(range(min = 1, max = 10))]
    most: Option<u32>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Command {
    /// What runs.
    #[schemars(length(min = 1))]
    argv: Vec<String>,
    /// Whether arguments may follow.
    #[serde(default)]
    args: bool,
}

impl Default for EchoOptions {
    fn default() -> Self {
        EchoOptions { greeting: String::new(), prefix: String::new(), chunk: Size::kib(16) }
    }
}

impl Default for UpperOptions {
    fn default() -> Self {
        UpperOptions { charset: Charset::Ascii, strip: false, chunk: Size::kib(16) }
    }
}

impl Catalog for TestCatalog {
    fn check_pem(&self, _: &super::Pem) -> Result<super::Validity, super::PemError> {
        let (from, until) = (std::time::SystemTime::UNIX_EPOCH, std::time::SystemTime::now());
        Ok(super::Validity { from, until: until + std::time::Duration::from_secs(365 * 86_400) })
    }

    fn types(&self) -> Vec<&dyn HandlerType> {
        vec![&Echo, &Lines, &Upper]
    }
}

fn effective<T: Serialize + serde::de::DeserializeOwned>(options: &Value) -> Result<Value, String> {
    let typed: T = serde_json::from_value(options.clone()).map_err(|error| error.to_string())?;
    serde_json::to_value(typed).map_err(|error| error.to_string())
}

fn chunk(size: Size) -> Findings {
    match size.bytes() > 64 << 10 {
        true => vec![Finding::error(&["chunk"], "expected a size from \"1B\" to \"64KiB\"")],
        false => Vec::new(),
    }
}

impl HandlerType for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }
    fn transports(&self) -> Transports {
        Transports::ALL
    }
    fn schema(&self) -> Value {
        schemars::schema_for!(EchoOptions).to_value()
    }
    fn check(&self, options: &Value, transports: Transports) -> Findings {
        let options: EchoOptions = serde_json::from_value(options.clone()).expect("options fit the schema");
        let mut findings = chunk(options.chunk);
        if !options.greeting.is_empty() && !transports.intersects(Transports::STREAMS) {
            let message =
                "a greeting is for streams, and a listener with this handler has datagram endpoints only";
            findings.push(Finding::error(&["greeting"], message).help("remove it, or use prefix"));
        }
        findings
    }
    fn effective(&self, options: &Value) -> Result<Value, String> {
        effective::<EchoOptions>(options)
    }
    fn amplifies(&self, options: &Value) -> bool {
        options.get("prefix").and_then(Value::as_str).is_some_and(|prefix| !prefix.is_empty())
    }
    fn default_timeouts(&self) -> Timeouts {
        Timeouts::RAW
    }
}

impl HandlerType for Upper {
    fn name(&self) -> &'static str {
        "upper"
    }
    fn transports(&self) -> Transports {
        Transports::ALL
    }
    fn schema(&self) -> Value {
        schemars::schema_for!(UpperOptions).to_value()
    }
    fn check(&self, options: &Value, _: Transports) -> Findings {
        let options: UpperOptions = serde_json::from_value(options.clone()).expect("options fit the schema");
        chunk(options.chunk)
    }
    fn effective(&self, options: &Value) -> Result<Value, String> {
        effective::<UpperOptions>(options)
    }
    fn amplifies(&self, options: &Value) -> bool {
        options.get("charset").and_then(Value::as_str) == Some("utf-8")
    }
    fn default_timeouts(&self) -> Timeouts {
        Timeouts::RAW
    }
}

impl HandlerType for Lines {
    fn name(&self) -> &'static str {
        "lines"
    }
    fn transports(&self) -> Transports {
        Transports::STREAMS
    }
    fn schema(&self) -> Value {
        schemars::schema_for!(LinesOptions).to_value()
    }
    fn check(&self, options: &Value, _: Transports) -> Findings {
        let options: LinesOptions = serde_json::from_value(options.clone()).expect("options fit the schema");
        let relative = |(_, command): &(&String, &Command)| !command.argv[0].starts_with('/');
        options
            .commands
            .iter()
            .filter(relative)
            .map(|(name, _)| {
                Finding::error(&["commands", name, "argv", "0"], "the program is not an absolute path")
            })
            .collect()
    }
    fn effective(&self, options: &Value) -> Result<Value, String> {
        effective::<LinesOptions>(options)
    }
    fn amplifies(&self, _: &Value) -> bool {
        false
    }
    fn default_timeouts(&self) -> Timeouts {
        Timeouts::RAW
    }
}

/// An origin in which nothing exists.
pub(super) fn origin() -> Origin {
    Origin {
        file: Some(PathBuf::from("test.toml")),
        folder: PathBuf::from("/nonexistent/config"),
        working_directory: PathBuf::from("/srv"),
    }
}

/// Loads with the test catalog and an empty environment.
pub(super) fn load(text: &str) -> Result<Loaded, Vec<Diagnostic>> {
    load_with(text, &origin(), &TestCatalog, &|_| None)
}

/// Loads what must be valid.
#[track_caller]
pub(super) fn valid(text: &str) -> Loaded {
    match load(text) {
        Ok(loaded) => loaded,
        Err(findings) => panic!("{findings:#?}"),
    }
}
