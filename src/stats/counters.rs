//! Shared counters: those of the datagram loops, and those that handlers declare.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::histogram::{Histogram, LIFETIME_SECONDS};
use super::labels::DatagramDrop;
use super::locked;
use super::spread::Spread;

/// Counters of datagrams; the receive loops add once a batch.
#[derive(Debug)]
pub struct Datagrams {
    /// Received, dropped ones included.
    pub received: AtomicU64,
    /// Sent.
    pub sent: AtomicU64,
    /// Bytes received.
    pub received_bytes: AtomicU64,
    /// Bytes sent.
    pub sent_bytes: AtomicU64,
    /// Cut by the kernel because they were longer than `max_size`.
    pub truncated: AtomicU64,
    dropped: [AtomicU64; DatagramDrop::COUNT],
    told: [Told; DatagramDrop::COUNT],
    told_panic: Told,
    batches: Mutex<Histogram>,
}

/// When the bus was last told of something that happens often: the time plus one in milliseconds since the gateway's
/// start, 0 for never.
#[derive(Debug, Default)]
pub(super) struct Told(AtomicU64);

/// How often it is told.
const TELL_EVERY_MS: u64 = 10_000;

impl Told {
    /// Whether it is time: at first, and then once in a while. Says yes to one only.
    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        let last = self.0.load(Relaxed);
        let is_due = last == 0 || now_ms + 1 >= last + TELL_EVERY_MS;
        is_due && self.0.compare_exchange(last, now_ms + 1, Relaxed, Relaxed).is_ok()
    }
}

/// Bucket bounds for datagrams in one receive call.
const BATCH_SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

impl Datagrams {
    pub(super) fn new() -> Self {
        Datagrams {
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            received_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            truncated: AtomicU64::new(0),
            dropped: Default::default(),
            told: Default::default(),
            told_panic: Told::default(),
            batches: Mutex::new(Histogram::new(BATCH_SIZES)),
        }
    }

    /// Counts one that was not answered.
    pub fn drop_one(&self, reason: DatagramDrop) {
        self.dropped[reason as usize].fetch_add(1, Relaxed);
    }

    /// Whether the bus should be told that datagrams are dropped for that reason: at first, and then once in a while.
    pub fn should_tell(&self, reason: DatagramDrop, now_ms: u64) -> bool {
        self.told[reason as usize].is_due(now_ms)
    }

    /// Whether it should be told that the handler panicked over one.
    pub fn should_tell_panic(&self, now_ms: u64) -> bool {
        self.told_panic.is_due(now_ms)
    }

    /// How many were dropped for that reason.
    pub fn dropped(&self, reason: DatagramDrop) -> u64 {
        self.dropped[reason as usize].load(Relaxed)
    }

    /// Counts a receive call that gave `size` datagrams.
    pub fn observe_batch(&self, size: usize) {
        locked(&self.batches).observe(size as f64);
    }

    /// The sizes of the receive calls.
    pub fn batches(&self) -> Histogram {
        locked(&self.batches).clone()
    }
}

/// Whether a handler's own number only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CounterKind {
    /// It does; its name ends in `_total`.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Durations in the buckets for lifetimes; its name ends in `_seconds`.
    Lifetimes,
}

impl CounterKind {
    /// Numbers that one combination of label values takes: of durations one a bucket, and their sum in nanoseconds.
    const fn width(self) -> usize {
        match self {
            CounterKind::Counter | CounterKind::Gauge => 1,
            CounterKind::Lifetimes => LIFETIME_SECONDS.len() + 2,
        }
    }
}

/// What is in a cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Of a counter or gauge.
    Number(u64),
    /// Of durations.
    Durations(Histogram),
}

impl Cell {
    /// The number, or how many durations there are.
    pub fn count(&self) -> u64 {
        match self {
            Cell::Number(number) => *number,
            Cell::Durations(durations) => durations.count(),
        }
    }
}

/// A number that a handler declares: exported under this name with the labels `listener` and
/// `transport`, and one more for each entry of `labels` (name and closed set of values). A name may be
/// declared several times with different sets; a scrape shows the cells of all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter {
    /// The metric's name.
    pub name: &'static str,
    /// Its help text.
    pub help: &'static str,
    /// Counter or gauge.
    pub kind: CounterKind,
    /// Further labels with their values.
    pub labels: &'static [(&'static str, &'static [&'static str])],
}

/// The cells of one declared [`Counter`], one for each combination of label values. Adding is cheap enough
/// for every request: no two workers share a cache line.
#[derive(Debug)]
pub struct Counters {
    /// What was declared.
    pub counter: Counter,
    len: usize,
    cells: Spread,
}

impl Counters {
    pub(super) fn new(counter: Counter) -> Self {
        let len = counter.labels.iter().map(|(_, values)| values.len()).product();
        Counters { counter, len, cells: Spread::new(len * counter.kind.width()) }
    }

    /// Adds to the cell of those label positions (in the order of the declaration; empty without labels).
    pub fn add(&self, positions: &[usize], n: u64) {
        self.cells.add(self.index(positions), n);
    }

    /// Takes from a gauge.
    pub fn sub(&self, positions: &[usize], n: u64) {
        self.cells.sub(self.index(positions), n);
    }

    /// Makes a gauge show that; for numbers that nobody adds to meanwhile.
    pub fn set(&self, positions: &[usize], n: u64) {
        let index = self.index(positions);
        self.cells.add(index, n.wrapping_sub(self.cells.read(index)));
    }

    /// Counts a duration; only where those are declared.
    pub fn observe(&self, positions: &[usize], duration: Duration) {
        debug_assert_eq!(self.counter.kind, CounterKind::Lifetimes);
        let first = self.index(positions) * self.counter.kind.width();
        let seconds = duration.as_secs_f64();
        self.cells.add(first + LIFETIME_SECONDS.partition_point(|bound| *bound < seconds), 1);
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.cells.add(first + LIFETIME_SECONDS.len() + 1, nanos);
    }

    fn cell(&self, index: usize) -> Cell {
        let (width, bounds) = (self.counter.kind.width(), LIFETIME_SECONDS);
        let read = |at: usize| self.cells.read(index * width + at);
        match self.counter.kind {
            CounterKind::Counter | CounterKind::Gauge => Cell::Number(read(0)),
            CounterKind::Lifetimes => {
                let counts = (0..=bounds.len()).map(read).collect();
                Cell::Durations(Histogram::of(bounds, counts, read(bounds.len() + 1) as f64 / 1e9))
            }
        }
    }

    fn index(&self, positions: &[usize]) -> usize {
        debug_assert_eq!(positions.len(), self.counter.labels.len());
        self.counter.labels.iter().zip(positions).fold(0, |at, ((_, values), p)| at * values.len() + p)
    }

    /// Every cell with its label values.
    pub(super) fn read(&self) -> Vec<(Vec<&'static str>, Cell)> {
        let mut cells = Vec::with_capacity(self.len);
        for index in 0..self.len {
            let mut rest = index;
            let mut values: Vec<_> = (self.counter.labels.iter().rev())
                .map(|(_, set)| {
                    let value = set[rest % set.len()];
                    rest /= set.len();
                    value
                })
                .collect();
            values.reverse();
            cells.push((values, self.cell(index)));
        }
        cells
    }
}
