//! A client of HTTP/1.1 in a few lines: one request on a connection of its own.

use std::io::Write;

use serde_json::Value;

use crate::client::Stream;

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// Asks the admin API at a URL as the gateway prints it: `http://H:P`, `unix:///PATH`. A `Host` among the headers
/// replaces the own one.
#[track_caller]
pub(crate) fn ask(url: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut head =
        format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head.push_str("Host: localhost\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    exchange(url, &format!("{head}\r\n{body}"))
}

/// Sends bytes as they are and reads to the end.
#[track_caller]
pub(crate) fn exchange(url: &str, request: &str) -> Answer {
    let mut stream = connect(url);
    stream.write_all(request.as_bytes()).unwrap();
    Answer::parse(stream.rest())
}

/// A connection to the admin API.
#[track_caller]
pub(crate) fn connect(url: &str) -> Stream {
    Stream::to(&url.replacen("http://", "tcp://", 1))
}

impl Answer {
    #[track_caller]
    fn parse(bytes: Vec<u8>) -> Self {
        let text = String::from_utf8(bytes).expect("UTF-8");
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
        let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.into(), value.into()));
        let answer = Answer { status, headers: lines.filter_map(header).collect(), body: body.to_owned() };
        // What is read here is read to the end: its length is known beforehand.
        assert_eq!(answer.header("transfer-encoding"), None);
        answer
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let found = all.next().map(|(_, value)| value.as_str());
        assert!(all.next().is_none(), "{name} is there twice");
        found
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// An error as all of them are (RFC 9457).
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["type"], "about:blank");
        assert_eq!(problem["status"], status);
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        problem
    }
}
