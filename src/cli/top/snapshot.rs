//! What the gateway says at one time, and how fast it goes between two of them.

use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;

/// All that the screen shows, as the admin API has it.
#[derive(Debug, Clone, Default)]
pub(super) struct Snapshot {
    /// When it was taken, on a clock of ours that never goes back.
    pub(super) at: Duration,
    pub(super) version: String,
    pub(super) overview: Overview,
    pub(super) listeners: Vec<Listener>,
    pub(super) connections: Vec<Connection>,
    /// Connections that there are; more than are listed where there are very many.
    pub(super) total: usize,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Info {
    pub(super) version: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Overview {
    pub(super) state: String,
    pub(super) ready: bool,
    pub(super) generation: u64,
    pub(super) uptime_seconds: f64,
    pub(super) listeners: u64,
    pub(super) listeners_running: u64,
    pub(super) totals: Totals,
    #[serde(default)]
    pub(super) rates: Vec<Rates>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(super) struct Totals {
    pub(super) connections_active: u64,
    pub(super) connections_accepted_total: u64,
    pub(super) connections_rejected_total: u64,
    pub(super) datagrams_received_total: u64,
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(super) struct Rates {
    pub(super) connections_accepted_per_second: f64,
    pub(super) datagrams_received_per_second: f64,
    pub(super) received_bytes_per_second: f64,
    pub(super) sent_bytes_per_second: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Listeners {
    pub(super) items: Vec<Listener>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Listener {
    pub(super) name: String,
    pub(super) state: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) connections_active: u64,
    pub(super) connections_accepted_total: u64,
    pub(super) connections_rejected_total: u64,
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
    /// Since the snapshot before.
    #[serde(skip)]
    pub(super) rate: Rate,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Endpoint {
    pub(super) address: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Connections {
    pub(super) items: Vec<Connection>,
    pub(super) total: usize,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Connection {
    pub(super) id: u64,
    pub(super) listener: String,
    pub(super) transport: String,
    pub(super) handler: String,
    pub(super) peer: String,
    pub(super) age_seconds: f64,
    pub(super) idle_seconds: f64,
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
    pub(super) state: String,
    /// Since the snapshot before, or since it was accepted.
    #[serde(skip)]
    pub(super) rate: Rate,
}

/// How much a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Rate {
    pub(super) accepted: f64,
    pub(super) received: f64,
    pub(super) sent: f64,
}

// === impl Snapshot ===

impl Snapshot {
    /// Reckons the rates against the snapshot before. Where the gateway has been started anew in between there is
    /// nothing to compare with, and what is unknown is 0.
    pub(super) fn compare(&mut self, before: Option<&Snapshot>) {
        let Some(before) = before else { return };
        let seconds = self.at.saturating_sub(before.at).as_secs_f64();
        if seconds <= 0.0 || self.overview.uptime_seconds < before.overview.uptime_seconds {
            return;
        }
        let rate = |now: u64, then: u64, seconds: f64| now.saturating_sub(then) as f64 / seconds;
        let known: HashMap<&str, &Listener> =
            before.listeners.iter().map(|listener| (listener.name.as_str(), listener)).collect();
        for listener in &mut self.listeners {
            let Some(then) = known.get(listener.name.as_str()) else { continue };
            listener.rate = Rate {
                accepted: rate(listener.connections_accepted_total, then.connections_accepted_total, seconds),
                received: rate(listener.received_bytes, then.received_bytes, seconds),
                sent: rate(listener.sent_bytes, then.sent_bytes, seconds),
            };
        }
        let known: HashMap<u64, &Connection> =
            before.connections.iter().map(|conn| (conn.id, conn)).collect();
        for conn in &mut self.connections {
            let (received, sent, seconds) = match known.get(&conn.id) {
                Some(then) => (then.received_bytes, then.sent_bytes, seconds),
                // It came in between, or was not among those listed: over its whole life.
                None => (0, 0, conn.age_seconds.max(seconds)),
            };
            conn.rate = Rate {
                accepted: 0.0,
                received: rate(conn.received_bytes, received, seconds),
                sent: rate(conn.sent_bytes, sent, seconds),
            };
        }
    }

    /// Rates of the whole gateway over the last second, which it reckons itself.
    pub(super) fn rates(&self) -> Rates {
        self.overview.rates.first().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(at: u64, uptime: f64, bytes: u64) -> Snapshot {
        let listener = Listener {
            name: "echo".into(),
            connections_accepted_total: bytes / 10,
            received_bytes: bytes,
            sent_bytes: 2 * bytes,
            ..Listener::default()
        };
        let conn = Connection { id: 7, age_seconds: 5.0, received_bytes: bytes, ..Connection::default() };
        Snapshot {
            at: Duration::from_secs(at),
            overview: Overview { uptime_seconds: uptime, ..Overview::default() },
            listeners: vec![listener],
            connections: vec![conn],
            ..Snapshot::default()
        }
    }

    #[test]
    fn rates_are_differences_by_time() {
        let mut now = snapshot(12, 32.0, 300);
        now.connections.push(Connection { id: 8, age_seconds: 1.0, sent_bytes: 50, ..Connection::default() });
        now.compare(Some(&snapshot(10, 30.0, 100)));
        assert_eq!(now.listeners[0].rate, Rate { accepted: 10.0, received: 100.0, sent: 200.0 });
        assert_eq!(now.connections[0].rate, Rate { accepted: 0.0, received: 100.0, sent: 0.0 });
        assert_eq!(now.connections[1].rate.sent, 25.0, "a new one");
    }

    #[test]
    fn a_gateway_that_was_started_anew_has_no_rates_yet() {
        let mut now = snapshot(12, 1.0, 300);
        now.compare(Some(&snapshot(10, 30.0, 100)));
        assert_eq!(now.listeners[0].rate, Rate::default());
        let mut backwards = snapshot(12, 32.0, 50);
        backwards.compare(Some(&snapshot(10, 30.0, 100)));
        assert_eq!(backwards.listeners[0].rate, Rate::default(), "counters do not go back");
        let mut alone = snapshot(12, 32.0, 50);
        alone.compare(None);
        assert_eq!(alone.connections[0].rate, Rate::default());
    }
}
