//! The handler's options, and what may be wrong with them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::head::is_token;
use super::page::is_empty;
use crate::config::{Finding, Findings, Timeout};

const DEFAULT_BODY: &str = "Hello, World\n";

/// The largest body of an answer, in bytes.
const MAX_BODY: usize = 1024 * 1024;

/// The longest field value, and the most fields.
const MAX_VALUE: usize = 8 * 1024;
const MAX_FIELDS: usize = 64;

/// The longest delay, in seconds.
const MAX_DELAY_S: u64 = 3600;

/// Fields that say where a message ends and what becomes of the connection (RFC 9110, 7.6.1), or that the
/// handler sends itself; with what to do instead.
const OWN: &[(&str, &str)] = &[
    ("connection", "it belongs to the connection, which the handler keeps or closes itself"),
    ("content-length", "the length of the body is sent with every answer"),
    ("content-type", "use the option `content_type`"),
    ("date", "the time is sent with every answer"),
    ("keep-alive", "use the listener's `timeouts.idle`"),
    ("proxy-connection", "it belongs to the connection, which the handler keeps or closes itself"),
    ("server", "every answer says `polygate`"),
    ("te", "it is for requests"),
    ("trailer", "no answer has trailer fields"),
    ("transfer-encoding", "the body is sent as it is, with its length"),
    ("upgrade", "the connection cannot be upgraded"),
];

/// Options of `http`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "http")]
pub struct Options {
    /// The status code of the answer: 200 to 599. 204, 205 and 304 have no body.
    #[schemars(range(min = 200, max = 599))]
    pub status: u16,
    /// The body of the answer, at most 1 MiB.
    pub body: String,
    /// Its `Content-Type`; an empty string sends none.
    pub content_type: String,
    /// Further header fields. Those that frame the message, and those that every answer has, are refused.
    pub headers: BTreeMap<String, String>,
    /// How long each request waits before its answer: a duration of at most "1h", or "off".
    pub delay: Timeout,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            status: 200,
            body: DEFAULT_BODY.into(),
            content_type: "text/plain; charset=utf-8".into(),
            headers: BTreeMap::new(),
            delay: Timeout::OFF,
        }
    }
}

impl Options {
    pub(super) fn check(&self) -> Findings {
        let mut findings = Vec::new();
        if is_empty(self.status) && !self.body.is_empty() && self.body != DEFAULT_BODY {
            let message = format!("an answer of status {} has no body", self.status);
            findings.push(Finding::error(&["body"], message).help("remove it, or choose another status"));
        }
        if self.body.len() > MAX_BODY {
            findings.push(Finding::error(&["body"], "expected at most 1 MiB"));
        }
        if let Err(wrong) = check_value(&self.content_type) {
            findings.push(Finding::error(&["content_type"], wrong));
        }
        if self.delay.get().is_some_and(|delay| delay.as_secs() > MAX_DELAY_S) {
            findings.push(Finding::error(&["delay"], "expected a duration of at most \"1h\", or \"off\""));
        }
        if self.headers.len() > MAX_FIELDS {
            findings.push(Finding::error(&["headers"], format!("expected at most {MAX_FIELDS} fields")));
        }
        let mut before: Option<&str> = None;
        let mut names: Vec<_> = self.headers.keys().map(String::as_str).collect();
        names.sort_by_key(|name| name.to_ascii_lowercase());
        for name in names {
            findings.extend(self.check_field(name, before));
            before = Some(name);
        }
        findings
    }

    fn check_field(&self, name: &str, before: Option<&str>) -> Option<Finding> {
        let path = ["headers", name];
        if name.is_empty() || !name.bytes().all(is_token) {
            let message = "a header field's name is made of letters, digits and !#$%&'*+-.^_`|~";
            return Some(Finding::error(&path, message));
        }
        if before.is_some_and(|before| before.eq_ignore_ascii_case(name)) {
            let message = format!("the field `{name}` is there twice: upper and lower case are the same");
            return Some(Finding::error(&path, message));
        }
        if let Some((_, why)) = OWN.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)) {
            return Some(Finding::error(&path, format!("the field `{name}` cannot be set")).help(*why));
        }
        let value = self.headers.get(name).map_or("", String::as_str);
        check_value(value).err().map(|wrong| Finding::error(&path, wrong))
    }
}

/// RFC 9110, 5.5: visible characters, and spaces and tabs between them.
fn check_value(value: &str) -> Result<(), &'static str> {
    if value.len() > MAX_VALUE {
        Err("expected at most 8 KiB")
    } else if value.bytes().any(|byte| byte != b'\t' && byte.is_ascii_control()) {
        Err("a header field's value has no line end and no other control character")
    } else if value.trim_ascii() != value {
        Err("a header field's value has no white space at its ends")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(change: impl Fn(&mut Options), expected: &[&[&str]]) {
        let mut options = Options::default();
        change(&mut options);
        let found: Vec<_> = options.check().into_iter().map(|finding| finding.path).collect();
        assert_eq!(found, expected);
    }

    fn field(name: &str, value: &str) -> impl Fn(&mut Options) {
        move |options| drop(options.headers.insert(name.into(), value.into()))
    }

    #[test]
    fn what_an_answer_cannot_have_is_an_error() {
        check(|_| {}, &[]);
        check(|o| o.status = 204, &[]);
        check(|o| (o.status, o.body) = (304, "x".into()), &[&["body"]]);
        check(|o| o.body = "x".repeat(MAX_BODY + 1), &[&["body"]]);
        check(|o| o.content_type = "text/plain\r\nX: y".into(), &[&["content_type"]]);
        check(|o| o.content_type = String::new(), &[]);
        check(|o| o.delay = Timeout::after_secs(MAX_DELAY_S + 1), &[&["delay"]]);
        check(field("X-Good", "yes, \tgrüße"), &[]);
        for name in ["", "a b", "a:", "ä", "a\r\n"] {
            check(field(name, "x"), &[&["headers", name]]);
        }
        for value in ["a\r\nb", "a\nb", "a\rb", "\0", " a", "a\t", "\u{7f}"] {
            check(field("X-Bad", value), &[&["headers", "X-Bad"]]);
        }
        for (name, _) in OWN {
            check(field(&name.to_ascii_uppercase(), "x"), &[&["headers", &*name.to_ascii_uppercase()]]);
        }
        let twice = |o: &mut Options| {
            field("X-One", "1")(o);
            field("x-one", "2")(o);
        };
        check(twice, &[&["headers", "x-one"]]);
    }
}
