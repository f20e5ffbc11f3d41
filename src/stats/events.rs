//! What happens, as it happens: a bus that anything may publish on and that the admin API reads.
//!
//! Publishing never waits. What is worth knowing later stays in a ring for those who come back; a
//! connection's beginning and end, and the statistics of each second, exist only while somebody asks for
//! them, and cost one load of an atomic otherwise. A subscriber that does not keep up loses events, which are
//! counted and told to it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tokio::sync::mpsc;

use super::locked;

/// Events that are kept for those who come back.
pub const REPLAY: usize = 1_024;

/// Events that wait for one subscriber.
const QUEUE: usize = 1_024;

/// Subscribers at once.
pub const MAX_SUBSCRIBERS: usize = 32;

label! {
    /// What an event is about.
    EventKind {
        /// A configuration was taken over, or was not.
        Config = "config",
        /// A listener was added, removed, changed, paused and so on.
        Listener = "listener",
        /// The gateway runs, drains, has drained, stops.
        Lifecycle = "lifecycle",
        /// A connection was opened or closed.
        Connection = "connection",
        /// Somebody logged in, or was refused.
        Login = "login",
        /// A file was moved.
        Transfer = "transfer",
        /// A limit begins or ceases to turn connections away.
        Limit = "limit",
        /// A handler panicked.
        Panic = "panic",
        /// The other side of a forwarder came or went.
        Upstream = "upstream",
        /// Totals and rates, each second.
        Stats = "stats",
    }
}

impl EventKind {
    /// Whether events of this kind exist only while somebody asks for them by name, and are not replayed.
    pub const fn is_on_demand(self) -> bool {
        matches!(self, EventKind::Connection | EventKind::Stats)
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// A set of kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventKinds(u32);

impl Default for EventKinds {
    /// All but those that exist on demand only.
    fn default() -> Self {
        EventKind::ALL.iter().copied().filter(|kind| !kind.is_on_demand()).collect()
    }
}

impl FromIterator<EventKind> for EventKinds {
    fn from_iter<I: IntoIterator<Item = EventKind>>(kinds: I) -> Self {
        EventKinds(kinds.into_iter().fold(0, |all, kind| all | kind.bit()))
    }
}

impl EventKinds {
    /// Whether a kind is in the set.
    pub const fn contains(self, kind: EventKind) -> bool {
        self.0 & kind.bit() != 0
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Grows from event to event, over a restart of the program too.
    pub id: u64,
    /// When it happened.
    pub at: SystemTime,
    /// What it is about.
    pub kind: EventKind,
    /// A small JSON object.
    pub data: Value,
}

/// The bus.
#[derive(Debug)]
pub struct Events {
    /// Kinds that some subscriber asks for, as bits.
    wanted: AtomicU32,
    dropped: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last: u64,
    /// The newest event that is no longer in the ring, or what was last before the first one.
    forgotten: u64,
    ring: VecDeque<Arc<Event>>,
    subscribers: Vec<Sender>,
    closed: bool,
}

#[derive(Debug)]
struct Sender {
    kinds: EventKinds,
    queue: mpsc::Sender<Arc<Event>>,
    lost: Arc<AtomicU64>,
}

/// Who listens. Dropping it ends that.
#[derive(Debug)]
pub struct Subscription {
    queue: mpsc::Receiver<Arc<Event>>,
    lost: Arc<AtomicU64>,
}

impl Default for Events {
    fn default() -> Self {
        // Numbers begin at the time of the start, so that those of an earlier start are smaller.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Events::after(u64::try_from(since.as_millis()).unwrap_or_default() * 1_000)
    }
}

impl Events {
    fn after(last: u64) -> Self {
        let state =
            State { last, forgotten: last, ring: VecDeque::new(), subscribers: Vec::new(), closed: false };
        Events { wanted: AtomicU32::new(0), dropped: AtomicU64::new(0), state: Mutex::new(state) }
    }

    /// Says that something happened; `data` gives a JSON object and is called only where the event exists.
    pub fn publish(&self, kind: EventKind, data: impl FnOnce() -> Value) {
        if kind.is_on_demand() && !EventKinds(self.wanted.load(Relaxed)).contains(kind) {
            return;
        }
        let data = data();
        let mut state = locked(&self.state);
        state.last += 1;
        let event = Arc::new(Event { id: state.last, at: SystemTime::now(), kind, data });
        let before = state.subscribers.len();
        state.subscribers.retain(|to| {
            if !to.kinds.contains(kind) {
                return !to.queue.is_closed();
            }
            match to.queue.try_send(event.clone()) {
                Ok(()) => true,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    to.lost.fetch_add(1, Relaxed);
                    self.dropped.fetch_add(1, Relaxed);
                    true
                }
                Err(mpsc::error::TrySendError::Closed(_)) => false,
            }
        });
        if state.subscribers.len() != before {
            self.update(&state);
        }
        if !kind.is_on_demand() {
            if state.ring.len() == REPLAY
                && let Some(oldest) = state.ring.pop_front()
            {
                state.forgotten = oldest.id;
            }
            state.ring.push_back(event);
        }
    }

    /// Listens from now on; none where too many do, or everything ends. With `since`, what is remembered of
    /// the time after that event comes first: the events, and whether some are missing. No event comes twice,
    /// none is lost in between.
    pub fn subscribe(
        &self,
        kinds: EventKinds,
        since: Option<u64>,
    ) -> Option<(Vec<Arc<Event>>, bool, Subscription)> {
        let mut state = locked(&self.state);
        state.subscribers.retain(|to| !to.queue.is_closed());
        if state.closed || state.subscribers.len() >= MAX_SUBSCRIBERS {
            return None;
        }
        // A number from the future is another program's: all that is remembered is news.
        let after = since.filter(|id| *id <= state.last).or(since.map(|_| 0));
        let gap = after.is_some_and(|id| id < state.forgotten);
        let missed =
            |event: &&Arc<Event>| after.is_some_and(|id| event.id > id) && kinds.contains(event.kind);
        let replay = state.ring.iter().filter(missed).cloned().collect();
        let (sender, receiver) = mpsc::channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        state.subscribers.push(Sender { kinds, queue: sender, lost: lost.clone() });
        self.update(&state);
        Some((replay, gap, Subscription { queue: receiver, lost }))
    }

    /// Ends every subscription, now and later.
    pub fn close(&self) {
        let mut state = locked(&self.state);
        state.closed = true;
        state.subscribers.clear();
        self.update(&state);
    }

    /// Events that subscribers lost because they did not keep up.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// The newest event's number.
    pub fn last_id(&self) -> u64 {
        locked(&self.state).last
    }

    fn update(&self, state: &State) {
        self.wanted.store(state.subscribers.iter().fold(0, |all, to| all | to.kinds.0), Relaxed);
    }
}

impl Subscription {
    /// The next event; none at the end.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Arc<Event>>> {
        self.queue.poll_recv(cx)
    }

    /// How many events were lost since this was last asked.
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use serde_json::json;

    use super::*;

    fn ids(subscription: &mut Subscription) -> Vec<u64> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut ids = Vec::new();
        while let Poll::Ready(Some(event)) = subscription.poll_next(&mut cx) {
            ids.push(event.id);
        }
        ids
    }

    #[test]
    fn what_nobody_asks_for_does_not_exist() {
        let events = Events::after(0);
        events.publish(EventKind::Connection, || panic!("nobody asks"));
        let (_, _, mut usual) = events.subscribe(EventKinds::default(), None).unwrap();
        events.publish(EventKind::Connection, || panic!("nobody asks"));
        let (_, _, mut all) = events.subscribe(EventKind::ALL.iter().copied().collect(), None).unwrap();
        events.publish(EventKind::Connection, || json!({}));
        events.publish(EventKind::Config, || json!({}));
        assert_eq!((ids(&mut usual), ids(&mut all)), (vec![2], vec![1, 2]));
        drop(all);
        events.publish(EventKind::Config, || json!({}));
        events.publish(EventKind::Stats, || panic!("nobody asks any more"));
    }

    #[test]
    fn who_comes_back_hears_what_was_missed_or_that_some_of_it_is_gone() {
        let events = Events::after(100);
        for _ in 0..3 {
            events.publish(EventKind::Config, || json!({}));
        }
        let missed = |since| {
            let (replay, gap, _) = events.subscribe(EventKinds::default(), since).unwrap();
            (replay.iter().map(|event| event.id).collect::<Vec<_>>(), gap)
        };
        assert_eq!(missed(None), (vec![], false));
        assert_eq!(missed(Some(101)), (vec![102, 103], false));
        assert_eq!(missed(Some(103)), (vec![], false));
        assert_eq!(missed(Some(100)), (vec![101, 102, 103], false));
        assert_eq!(missed(Some(7)), (vec![101, 102, 103], true), "of an earlier start");
        assert_eq!(missed(Some(9_999)), (vec![101, 102, 103], true), "of no start of ours");
        for _ in 0..REPLAY {
            events.publish(EventKind::Listener, || json!({}));
        }
        let (replay, gap) = missed(Some(101));
        assert_eq!((replay.len(), replay[0], gap), (REPLAY, 104, true));
        assert!(!missed(Some(103)).1);
    }

    #[test]
    fn who_does_not_keep_up_loses_events_and_stops_nobody() {
        let events = Events::after(0);
        let (_, _, mut slow) = events.subscribe(EventKinds::default(), None).unwrap();
        for _ in 0..QUEUE + 5 {
            events.publish(EventKind::Login, || json!({}));
        }
        assert_eq!((slow.take_lost(), slow.take_lost(), events.dropped()), (5, 0, 5));
        assert_eq!(ids(&mut slow).len(), QUEUE);
        events.publish(EventKind::Login, || json!({}));
        assert_eq!(ids(&mut slow), [QUEUE as u64 + 6]);
    }

    #[test]
    fn subscribers_are_bounded_and_all_end_at_the_end() {
        let events = Events::after(0);
        let subscribe = || events.subscribe(EventKinds::default(), None);
        let mut all: Vec<_> = (0..MAX_SUBSCRIBERS).map(|_| subscribe().unwrap().2).collect();
        assert!(subscribe().is_none());
        all.pop();
        let mut last = subscribe().unwrap().2;
        events.close();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(last.poll_next(&mut cx), Poll::Ready(None)));
        drop(all);
        assert!(subscribe().is_none());
    }
}
