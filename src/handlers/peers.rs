//! Senders of datagrams that something goes on with: where what they send next goes, until it ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::handler::Packet;
use crate::stats::Peer;

/// Datagrams of one sender that wait.
const QUEUE: usize = 16;

/// Who it is: the endpoint that was sent to, and the sender.
type Key = (Box<str>, Peer);

/// The senders of one handler, each with the queue of what goes on with it.
#[derive(Debug)]
pub(super) struct Peers<T>(Mutex<HashMap<Key, mpsc::Sender<T>>>);

impl<T> Default for Peers<T> {
    fn default() -> Self {
        Peers(Mutex::default())
    }
}

impl<T> Peers<T> {
    fn locked(&self) -> MutexGuard<'_, HashMap<Key, mpsc::Sender<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.locked().len()
    }

    /// Gives what came to what goes on with its sender; it comes back where nothing does. Called in the receive loop:
    /// what does not fit is lost, as datagrams are.
    pub(super) fn tell(&self, packet: &Packet<'_>, said: T) -> Result<(), T> {
        match self.locked().get(&key(packet)) {
            None => Err(said),
            Some(sender) => match sender.try_send(said) {
                Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => Ok(()),
                // It is ending just now: this one begins the next.
                Err(mpsc::error::TrySendError::Closed(unsent)) => Err(unsent),
            },
        }
    }

    /// Begins with a sender. Its queue holds what came first; it is known until the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>, packet: &Packet<'_>, first: T) -> (mpsc::Receiver<T>, Known<T>) {
        let (sender, queue) = mpsc::channel(QUEUE);
        let _ = sender.try_send(first);
        let key = key(packet);
        self.locked().insert(key.clone(), sender.clone());
        (queue, Known { peers: self.clone(), sender, key })
    }
}

fn key(packet: &Packet<'_>) -> Key {
    (packet.local().into(), packet.peer().clone())
}

/// Keeps a sender known. Dropping it takes the sender off the list, unless the next thing with the same one is there.
#[derive(Debug)]
pub(super) struct Known<T> {
    peers: Arc<Peers<T>>,
    sender: mpsc::Sender<T>,
    key: Key,
}

impl<T> Drop for Known<T> {
    fn drop(&mut self) {
        let mut peers = self.peers.locked();
        if peers.get(&self.key).is_some_and(|sender| sender.same_channel(&self.sender)) {
            peers.remove(&self.key);
        }
    }
}
