//! The gateway behind the screen: a thread of its own asks it, so that keys are heard while an answer is awaited.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use hyper::Method;

use super::model::{Request, Sort};
use super::snapshot::{Connections, Info, Listeners, Snapshot};
use crate::cli::client::Client;
use crate::cli::exit::{Exit, Failure};
use crate::cli::steer::steer;
use crate::cli::table::{encode, plural};

/// How many connections are listed: the most that the API gives in one answer.
const MOST: usize = 1000;

/// A gateway that is asked again and again.
pub(super) struct Source {
    client: Client,
    since: Instant,
    /// Of the program; asked for anew whenever the gateway may be another.
    version: Option<String>,
}

/// What the screen wants of the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    /// Connections are to be listed by this.
    Sort(Sort),
    Do(Request),
}

/// What the screen hears of the gateway.
#[derive(Debug)]
pub(super) enum News {
    Taken(Box<Snapshot>),
    Lost(String),
    Said(String),
}

impl Source {
    pub(super) fn new(client: Client) -> Self {
        Source { client, since: Instant::now(), version: None }
    }

    /// Asks for all that the screen shows.
    pub(super) fn take(&mut self, sort: Sort) -> Result<Snapshot, Failure> {
        let taken = self.ask(sort);
        if taken.is_err() {
            self.version = None;
        }
        taken
    }

    fn ask(&mut self, sort: Sort) -> Result<Snapshot, Failure> {
        let version = match &self.version {
            Some(version) => version.clone(),
            None => self.client.get("/api/v1/info")?.json::<Info>()?.version,
        };
        let overview = self.client.get("/api/v1/overview")?.json()?;
        let at = self.since.elapsed();
        let Listeners { items: listeners } = self.client.get("/api/v1/listeners")?.json()?;
        let path = format!("/api/v1/connections?limit={MOST}&sort={}", sort.order());
        let Connections { items: connections, total } = self.client.get(&path)?.json()?;
        self.version = Some(version.clone());
        Ok(Snapshot { at, version, overview, listeners, connections, total })
    }

    /// Asks each `interval`, and does what is ordered, until nobody listens.
    pub(super) fn run(
        mut self,
        interval: Duration,
        mut sort: Sort,
        orders: &Receiver<Order>,
        mut tell: impl FnMut(News) -> bool,
    ) {
        loop {
            match orders.recv_timeout(interval) {
                Ok(Order::Sort(by)) => sort = by,
                Ok(Order::Do(request)) => {
                    let said = self.obey(&request).unwrap_or_else(|failure| failure.message);
                    if !tell(News::Said(said)) {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let news = match self.take(sort) {
                Ok(snapshot) => News::Taken(Box::new(snapshot)),
                Err(failure) => News::Lost(short(failure)),
            };
            if !tell(news) {
                return;
            }
        }
    }

    fn obey(&self, request: &Request) -> Result<String, Failure> {
        let delete = |path: &str| self.client.request(Method::DELETE, path, "application/json")?.successful();
        match request {
            Request::Kill(id) => {
                delete(&format!("/api/v1/connections/{id}"))?;
                Ok(format!("connection {id} is closed"))
            }
            Request::KillAll(name) => {
                let answer = delete(&format!("/api/v1/connections?listener={}", encode(name)))?;
                let closed = answer.json::<serde_json::Value>()?["closed"].as_u64().unwrap_or(0);
                Ok(format!(
                    "{} of {name} closed",
                    plural(usize::try_from(closed).unwrap_or(usize::MAX), "connection")
                ))
            }
            Request::Pause(name) => self.steer(name, "pause"),
            Request::Resume(name) => self.steer(name, "resume"),
            Request::Drain(name) => self.steer(name, "drain"),
        }
    }

    fn steer(&self, name: &str, verb: &str) -> Result<String, Failure> {
        let answer: serde_json::Value = steer(&self.client, name, verb, None)?.json()?;
        Ok(format!("{name} is {}", answer["state"].as_str().unwrap_or("told")))
    }
}

/// Why, without the advice that a command gives at its end.
fn short(failure: Failure) -> String {
    let why = match failure.exit {
        Exit::Unavailable => "the gateway has gone: ",
        _ => "the gateway refuses: ",
    };
    let end = failure.message.find("; is the gateway running").unwrap_or(failure.message.len());
    format!("{why}{}; trying again", &failure.message[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_banner_says_why_and_gives_no_advice() {
        let gone = Failure::new(
            Exit::Unavailable,
            "cannot reach the admin API at unix:///x: No such file; is the gateway running, and …?",
        );
        assert_eq!(
            short(gone),
            "the gateway has gone: cannot reach the admin API at unix:///x: No such file; trying again"
        );
        let refused = Failure::new(Exit::NoPermission, "Unauthorized: a token is needed");
        assert_eq!(short(refused), "the gateway refuses: Unauthorized: a token is needed; trying again");
    }
}
