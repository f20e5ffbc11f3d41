//! Numbers that every worker thread adds to at high rates, each on a cache line of its own.
//!
//! Two threads that add to one number pass its cache line back and forth, which costs several times the
//! addition. Here a thread adds to its own lane, and whoever reads sums the lanes.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Lanes; with more threads than that some share one, which is right all the same.
const LANES: usize = 8;

/// Numbers on a cache line.
const IN_LINE: usize = 8;

#[derive(Debug, Default)]
#[repr(align(64))]
struct Line([AtomicU64; IN_LINE]);

/// A row of numbers, all 0 at first. Sums wrap, so that a gauge may go up on one thread and down on another.
#[derive(Debug)]
pub(super) struct Spread {
    lanes: [Box<[Line]>; LANES],
}

thread_local! {
    static LANE: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// The thread's lane.
fn lane() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    LANE.with(|lane| {
        if lane.get() == usize::MAX {
            lane.set(NEXT.fetch_add(1, Relaxed) % LANES);
        }
        lane.get()
    })
}

impl Spread {
    /// So many numbers.
    pub(super) fn new(len: usize) -> Self {
        let row = |_| (0..len.div_ceil(IN_LINE)).map(|_| Line::default()).collect();
        Spread { lanes: std::array::from_fn(row) }
    }

    /// Adds to one.
    pub(super) fn add(&self, index: usize, n: u64) {
        self.lanes[lane()][index / IN_LINE].0[index % IN_LINE].fetch_add(n, Relaxed);
    }

    /// Takes from one.
    pub(super) fn sub(&self, index: usize, n: u64) {
        self.add(index, n.wrapping_neg());
    }

    /// What was added to one, less what was taken.
    pub(super) fn read(&self, index: usize) -> u64 {
        let of_lane = |lane: &[Line]| lane[index / IN_LINE].0[index % IN_LINE].load(Relaxed);
        self.lanes.iter().fold(0, |sum, lane| sum.wrapping_add(of_lane(lane)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_thread_added_is_there_and_what_another_took_is_not() {
        let numbers = Spread::new(20);
        std::thread::scope(|scope| {
            for _ in 0..2 * LANES {
                scope.spawn(|| {
                    for _ in 0..100 {
                        numbers.add(19, 3);
                    }
                });
            }
        });
        std::thread::scope(|scope| {
            scope.spawn(|| numbers.sub(19, 800));
        });
        assert_eq!(numbers.read(19), 2 * LANES as u64 * 300 - 800);
        assert_eq!(numbers.read(18), 0);
    }
}
