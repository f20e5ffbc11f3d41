//! What has been said in one conversation, the newest of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use super::State;

/// The most entries that are kept.
const ENTRIES: usize = 256;

/// The most text that is kept, in bytes.
const BYTES: usize = 64 * 1024;

/// Who has said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// The peer.
    Client,
    /// An operator.
    Operator,
    /// The gateway, with what is configured.
    Gateway,
}

impl Speaker {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Speaker::Client => "client",
            Speaker::Operator => "operator",
            Speaker::Gateway => "gateway",
        }
    }
}

/// One thing that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number in the conversation, from 1.
    pub number: u64,
    /// When.
    pub time: SystemTime,
    /// By whom.
    pub from: Speaker,
    /// The text. Bytes that are no UTF-8 are replaced.
    pub text: String,
}

#[derive(Debug, Default)]
pub(super) struct History {
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    last: u64,
    waits: bool,
    ended: bool,
}

impl History {
    pub(super) fn push(&mut self, from: Speaker, text: String) -> Arc<Entry> {
        self.last += 1;
        // A greeting answers nothing.
        self.waits = from == Speaker::Client;
        self.bytes += text.len();
        let entry = Arc::new(Entry { number: self.last, time: SystemTime::now(), from, text });
        self.entries.push_back(entry.clone());
        // The last one stays, however long it is.
        while self.entries.len() > 1 && (self.entries.len() > ENTRIES || self.bytes > BYTES) {
            if let Some(oldest) = self.entries.pop_front() {
                self.bytes -= oldest.text.len();
            }
        }
        entry
    }

    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    pub(super) fn after(&self, number: u64) -> Vec<Arc<Entry>> {
        self.entries.iter().filter(|entry| entry.number > number).cloned().collect()
    }

    pub(super) fn state(&self) -> State {
        State {
            open: !self.ended,
            waits: self.waits && !self.ended,
            entries: self.last,
            last: self.entries.back().map(|entry| entry.time),
        }
    }
}
