//! What the answers came to.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::table::{Align, Table};

/// How many came back, and how long each took.
#[derive(Debug, Default)]
pub(super) struct Summary {
    sent: u32,
    took: Vec<Duration>,
}

/// Seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Times {
    min: f64,
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

impl Summary {
    pub(super) fn answered(&mut self, took: Duration) {
        self.sent += 1;
        self.took.push(took);
    }

    pub(super) fn lost(&mut self) {
        self.sent += 1;
    }

    pub(super) fn received(&self) -> usize {
        self.took.len()
    }

    /// From 0 to 1.
    fn loss(&self) -> f64 {
        match self.sent {
            0 => 0.0,
            sent => 1.0 - self.took.len() as f64 / f64::from(sent),
        }
    }

    fn times(&self) -> Option<Times> {
        let mut sorted: Vec<f64> = self.took.iter().map(Duration::as_secs_f64).collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        // The nearest rank: the least that so many of a hundred are not above.
        let percentile = |of_100: usize| sorted[(sorted.len() * of_100).div_ceil(100) - 1];
        let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
        Some(Times { min, mean, p50: percentile(50), p90: percentile(90), p99: percentile(99), max })
    }

    pub(super) fn table(&self, endpoint: &str) -> Table {
        use Align::{Left, Right};
        let mut table = Table::new(&[
            ("ENDPOINT", Left),
            ("SENT", Right),
            ("RECEIVED", Right),
            ("LOSS", Right),
            ("MIN", Right),
            ("MEAN", Right),
            ("P50", Right),
            ("P90", Right),
            ("P99", Right),
            ("MAX", Right),
        ]);
        let mut row = vec![endpoint.to_owned(), self.sent.to_string(), self.received().to_string()];
        row.push(format!("{:.1}%", self.loss() * 100.0));
        match self.times() {
            Some(at) => row.extend([at.min, at.mean, at.p50, at.p90, at.p99, at.max].map(time)),
            None => row.extend(std::iter::repeat_n("-".to_owned(), 6)),
        }
        table.row(row);
        table
    }

    pub(super) fn json(&self, endpoint: &str, size: u32) -> Value {
        let times = self.times().map(|at| {
            json!({ "min": at.min, "mean": at.mean, "p50": at.p50, "p90": at.p90, "p99": at.p99, "max": at.max })
        });
        json!({
            "endpoint": endpoint,
            "size_bytes": size,
            "sent": self.sent,
            "received": self.received(),
            "loss_ratio": self.loss(),
            "round_trip_seconds": times,
        })
    }
}

/// Three figures: `84.2µs`, `1.25ms`, `120ms`, `1.20s`.
pub(super) fn time(seconds: f64) -> String {
    let (scaled, unit) = match seconds {
        s if s < 1e-3 => (s * 1e6, "µs"),
        s if s < 1.0 => (s * 1e3, "ms"),
        s => (s, "s"),
    };
    match scaled {
        v if v < 9.995 => format!("{v:.2}{unit}"),
        v if v < 99.95 => format!("{v:.1}{unit}"),
        v => format!("{v:.0}{unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_answers_that_came() {
        let mut summary = Summary::default();
        assert_eq!((summary.times(), summary.loss()), (None, 0.0));
        for milliseconds in (1..=100).rev() {
            summary.answered(Duration::from_millis(milliseconds));
        }
        let at = summary.times().unwrap();
        assert_eq!([at.min, at.p50, at.p90, at.p99, at.max], [0.001, 0.05, 0.09, 0.099, 0.1]);
        assert!((at.mean - 0.0505).abs() < 1e-9);
        summary.lost();
        assert!((summary.loss() - 1.0 / 101.0).abs() < 1e-9);
        let mut one = Summary::default();
        one.answered(Duration::from_millis(7));
        let at = one.times().unwrap();
        assert_eq!([at.min, at.mean, at.p50, at.p99, at.max], [0.007; 5]);
    }

    #[test]
    fn times_have_three_figures() {
        let shown = [0.0000842, 0.00125, 0.0125, 0.12, 1.2].map(time);
        assert_eq!(shown, ["84.2µs", "1.25ms", "12.5ms", "120ms", "1.20s"]);
    }
}
