//! Conversations that an operator follows and answers: what handlers add to and the admin API shows.
//!
//! A handler opens a conversation and holds its [`Talk`]; whoever looks holds the [`Conversation`]. What is said is
//! kept within bounds, the newest, and for a while after the end.

mod history;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot, watch};

use crate::config::Transport;
use history::History;
pub use history::{Entry, Speaker};

/// Conversations at once: what they may hold is bounded by it.
const MOST: usize = 1000;

/// How many are kept after their end.
const ENDED: usize = 100;

/// Answers that wait to be sent in one conversation.
const QUEUE: usize = 16;

/// How long an answer may take to be sent.
const SENT_WITHIN: Duration = Duration::from_secs(5);

/// The conversations of a gateway.
#[derive(Debug, Default)]
pub struct Consoles(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    open: BTreeMap<u64, Arc<Conversation>>,
    ended: VecDeque<Arc<Conversation>>,
}

/// With whom a conversation is.
#[derive(Debug, Clone)]
pub struct About {
    /// The conversation's number: that of its connection.
    pub id: u64,
    /// The listener's name.
    pub listener: Arc<str>,
    /// How the peer comes.
    pub transport: Transport,
    /// The other side.
    pub peer: String,
}

/// What is said with one peer.
#[derive(Debug)]
pub struct Conversation {
    /// With whom.
    pub about: About,
    /// When it began.
    pub started: SystemTime,
    history: Mutex<History>,
    news: watch::Sender<()>,
    replies: mpsc::Sender<Reply>,
}

/// How a conversation is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Whether it goes on.
    pub open: bool,
    /// Whether the peer has said something that nobody has answered.
    pub waits: bool,
    /// How many entries there have been, the number of the last one.
    pub entries: u64,
    /// When the last one was.
    pub last: Option<SystemTime>,
}

/// What an operator says, on its way to the handler.
#[derive(Debug)]
pub struct Reply {
    /// The text.
    pub text: String,
    sent: oneshot::Sender<Arc<Entry>>,
}

/// Why an answer was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The conversation has ended.
    #[error("the conversation has ended")]
    Ended,
    /// The peer does not take what was sent before.
    #[error("the peer does not take what is sent to it")]
    Busy,
}

/// A handler's end of a conversation. Dropping it ends the conversation.
#[derive(Debug)]
pub struct Talk {
    conversation: Arc<Conversation>,
    consoles: Arc<Consoles>,
    replies: mpsc::Receiver<Reply>,
}

// === impl Consoles ===

impl Consoles {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a conversation; none if there are too many already.
    pub fn open(self: &Arc<Self>, about: About) -> Option<Talk> {
        let (send, replies) = mpsc::channel(QUEUE);
        let conversation = Arc::new(Conversation {
            about,
            started: SystemTime::now(),
            history: Mutex::default(),
            news: watch::Sender::new(()),
            replies: send,
        });
        let mut inner = self.inner();
        if inner.open.len() >= MOST {
            return None;
        }
        inner.open.insert(conversation.about.id, conversation.clone());
        drop(inner);
        Some(Talk { conversation, consoles: self.clone(), replies })
    }

    /// All of them, the open ones and those that have just ended, by number.
    pub fn all(&self) -> Vec<Arc<Conversation>> {
        let inner = self.inner();
        let mut all: Vec<_> = inner.open.values().chain(&inner.ended).cloned().collect();
        drop(inner);
        all.sort_by_key(|conversation| conversation.about.id);
        all
    }

    /// The one of that number.
    pub fn find(&self, id: u64) -> Option<Arc<Conversation>> {
        let inner = self.inner();
        let ended = || inner.ended.iter().find(|conversation| conversation.about.id == id);
        inner.open.get(&id).or_else(ended).cloned()
    }

    fn end(&self, conversation: &Arc<Conversation>) {
        let mut inner = self.inner();
        inner.open.remove(&conversation.about.id);
        inner.ended.push_back(conversation.clone());
        if inner.ended.len() > ENDED {
            inner.ended.pop_front();
        }
    }
}

// === impl Conversation ===

impl Conversation {
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it is now.
    pub fn state(&self) -> State {
        self.history().state()
    }

    /// What is kept of it behind the entry of that number, in order.
    pub fn after(&self, number: u64) -> Vec<Arc<Entry>> {
        self.history().after(number)
    }

    /// Tells of everything that happens from now on.
    pub fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    /// Says something to the peer, and returns once it has been sent.
    ///
    /// # Errors
    /// Why it was not.
    pub async fn reply(&self, text: String) -> Result<Arc<Entry>, NotSent> {
        let (sent, told) = oneshot::channel();
        self.replies.try_send(Reply { text, sent }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NotSent::Busy,
            mpsc::error::TrySendError::Closed(_) => NotSent::Ended,
        })?;
        match tokio::time::timeout(SENT_WITHIN, told).await {
            Ok(Ok(entry)) => Ok(entry),
            Ok(Err(_)) => Err(NotSent::Ended),
            Err(_) => Err(NotSent::Busy),
        }
    }
}

// === impl Talk ===

impl Talk {
    /// Notes what somebody has said.
    pub fn say(&self, speaker: Speaker, text: String) -> Arc<Entry> {
        let entry = self.conversation.history().push(speaker, text);
        self.conversation.news.send_replace(());
        entry
    }

    /// The next answer of an operator, to be sent and then [confirmed](Talk::confirm).
    pub async fn next(&mut self) -> Option<Reply> {
        self.replies.recv().await
    }

    /// Notes that an answer has been sent.
    pub fn confirm(&self, reply: Reply) {
        let entry = self.say(Speaker::Operator, reply.text);
        // Whoever has gone does not want to know.
        let _ = reply.sent.send(entry);
    }

    /// Whether the peer waits for an answer.
    pub fn waits(&self) -> bool {
        self.conversation.state().waits
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.replies.close();
        self.conversation.history().end();
        self.consoles.end(&self.conversation);
        self.conversation.news.send_replace(());
    }
}

#[cfg(test)]
mod tests;
