//! One datagram, answered in place.

use super::replier::Replier;
use crate::stats::Peer;

/// What becomes of a datagram after its handler saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The packet's bytes, as they are now, go back to the sender.
    Reply,
    /// Nothing goes back.
    Silence,
    /// The answer would not fit into a datagram; nothing goes back.
    TooLong,
}

/// One received datagram in its buffer. A handler changes the bytes where they are: no allocation a packet.
#[derive(Debug)]
pub struct Packet<'a> {
    buffer: &'a mut [u8],
    len: usize,
    peer: &'a Peer,
    listener: &'a str,
    local: &'a str,
    later: Later<'a>,
    draining: bool,
}

/// Makes the way back, where there is one.
#[derive(Clone, Copy)]
struct Later<'a>(Option<&'a dyn Fn() -> Option<Replier>>);

impl std::fmt::Debug for Later<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Later" } else { "Never" })
    }
}

impl<'a> Packet<'a> {
    /// The first `len` bytes of the buffer came from `peer`; the rest is room for a longer answer.
    pub fn new(buffer: &'a mut [u8], len: usize, peer: &'a Peer, listener: &'a str) -> Self {
        Packet {
            len: len.min(buffer.len()),
            buffer,
            peer,
            listener,
            local: "",
            later: Later(None),
            draining: false,
        }
    }

    /// The same with the address of the endpoint that received it.
    #[must_use]
    pub fn received_at(mut self, local: &'a str) -> Self {
        self.local = local;
        self
    }

    /// The same with what makes the way back.
    #[must_use]
    pub fn answered_by(mut self, later: &'a dyn Fn() -> Option<Replier>) -> Self {
        self.later = Later(Some(later));
        self
    }

    /// The same while its listener drains, or not.
    #[must_use]
    pub fn while_draining(mut self, draining: bool) -> Self {
        self.draining = draining;
        self
    }

    /// Whether its listener drains: what has begun with a sender goes on, and nothing new begins.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// The way back to the sender, for an answer that takes its time; none if the sender has no address. What is
    /// sent that way comes besides the [`Answer`].
    pub fn replier(&self) -> Option<Replier> {
        self.later.0.and_then(|later| later())
    }

    /// The address of the endpoint that received it, as it is bound; empty where it was not said.
    pub fn local(&self) -> &str {
        self.local
    }

    /// The sender.
    pub fn peer(&self) -> &Peer {
        self.peer
    }

    /// The name of the listener that received it.
    pub fn listener(&self) -> &str {
        self.listener
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    /// The bytes, to be changed where they are.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[..self.len]
    }

    /// Keeps only a part of the bytes. A range beyond them keeps what there is.
    pub fn keep(&mut self, range: std::ops::Range<usize>) {
        let start = range.start.min(self.len);
        let end = range.end.clamp(start, self.len);
        self.buffer.copy_within(start..end, 0);
        self.len = end - start;
    }

    /// Puts bytes before the others.
    pub fn prepend(&mut self, prefix: &[u8]) -> Answer {
        let len = self.len + prefix.len();
        if len > self.buffer.len() {
            return Answer::TooLong;
        }
        self.buffer.copy_within(..self.len, prefix.len());
        self.buffer[..prefix.len()].copy_from_slice(prefix);
        self.len = len;
        Answer::Reply
    }

    /// Replaces the bytes.
    pub fn replace(&mut self, bytes: &[u8]) -> Answer {
        if bytes.len() > self.buffer.len() {
            return Answer::TooLong;
        }
        self.buffer[..bytes.len()].copy_from_slice(bytes);
        self.len = bytes.len();
        Answer::Reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_made_where_the_question_is() {
        let mut buffer = [0; 8];
        buffer[..3].copy_from_slice(b"abc");
        let mut packet = Packet::new(&mut buffer, 3, &Peer::Unnamed, "l");
        assert_eq!(packet.prepend(b">>"), Answer::Reply);
        assert_eq!(packet.bytes(), b">>abc");
        packet.keep(1..4);
        assert_eq!(packet.bytes(), b">ab");
        packet.keep(2..99);
        assert_eq!(packet.bytes(), b"b");
        assert_eq!(packet.replace(b"12345678"), Answer::Reply);
        assert_eq!((packet.prepend(b"x"), packet.bytes()), (Answer::TooLong, &b"12345678"[..]));
    }
}
