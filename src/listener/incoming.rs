//! A datagram that has come: whether the handler gets it, and what the handler answers.

use std::net::SocketAddr;
use std::sync::Weak;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use rustix::net::SocketAddrUnix;
use serde_json::json;

use super::later::{self, To};
use super::rate::SourceRates;
use super::{Binding, Listening};
use crate::config;
use crate::net::udp::Source;
use crate::net::{Answer, Packet};
use crate::stats::{DatagramDrop, EventKind, Peer};

/// What is known of a datagram besides its bytes.
pub(super) struct Incoming<'a> {
    pub(super) peer: Peer,
    pub(super) inet: Option<(SocketAddr, Source)>,
    pub(super) from: Option<&'a SocketAddrUnix>,
    pub(super) listening: &'a Weak<Listening>,
    pub(super) len: usize,
    pub(super) truncated: bool,
    /// Whether the listener drains: what has begun goes on, and nothing begins.
    pub(super) draining: bool,
}

/// Counts a datagram, and gives it to the handler if nothing speaks against it. Returns the length of the
/// answer, which stands in the slot.
pub(super) fn answer(
    binding: &Binding,
    rates: &mut SourceRates,
    incoming: &Incoming<'_>,
    slot: &mut [u8],
    now: Instant,
) -> Option<usize> {
    let counters = &binding.site.ledger.datagrams;
    counters.received.fetch_add(1, Relaxed);
    counters.received_bytes.fetch_add(incoming.len as u64, Relaxed);
    if incoming.truncated {
        counters.truncated.fetch_add(1, Relaxed);
    }
    if let Err(reason) = examine(binding, rates, incoming, now) {
        drop_one(binding, &incoming.peer, reason);
        return None;
    }
    let service = binding.rules.built.datagram.as_ref()?;
    let later = || {
        let inet = incoming.inet.map(|(peer, source)| To::Inet(peer, source));
        let to = inet.or_else(|| incoming.from.cloned().map(To::Unix))?;
        Some(later::replier(binding, incoming.listening, to))
    };
    let mut packet = Packet::new(slot, incoming.len, &incoming.peer, binding.site.ledger.listener())
        .received_at(&binding.site.address)
        .answered_by(&later)
        .while_draining(incoming.draining);
    // A handler's panic stays its own: this datagram is lost, the loop goes on.
    let answered = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| service.answer(&mut packet)));
    let len = packet.bytes().len();
    match answered {
        Ok(Answer::Reply) if incoming.peer == Peer::Unnamed => {
            counters.drop_one(DatagramDrop::NoReturnAddress);
            None
        }
        Ok(Answer::Reply) => Some(len),
        Ok(Answer::Silence) => None,
        Ok(Answer::TooLong) => {
            counters.drop_one(DatagramDrop::TooLarge);
            None
        }
        Err(_) => {
            panicked(binding, &incoming.peer);
            None
        }
    }
}

fn examine(
    binding: &Binding,
    rates: &mut SourceRates,
    incoming: &Incoming<'_>,
    now: Instant,
) -> Result<(), DatagramDrop> {
    let rules = &binding.rules;
    if !rules.admits(&incoming.peer) {
        return Err(DatagramDrop::Acl);
    }
    match incoming.inet {
        Some((sender, source)) => {
            if rules.own.could_loop(sender, source.ip(), rules.built.keeps_flows) {
                return Err(DatagramDrop::LoopGuard);
            }
            let limits = &rules.datagrams;
            let ip = sender.ip().to_canonical();
            let trusted = config::contains(&limits.trusted, ip);
            if !trusted && !rates.admit(ip, now, limits.rate, limits.burst) {
                return Err(DatagramDrop::Rate);
            }
        }
        None => {
            if matches!(&incoming.peer, Peer::UnixAddress(at) if rules.own.is_own_unix(at)) {
                return Err(DatagramDrop::LoopGuard);
            }
        }
    }
    if incoming.truncated {
        return Err(DatagramDrop::TooLarge);
    }
    // Only a datagram that is answered counts towards accept_total.
    if !rules.door.take_one() {
        return Err(DatagramDrop::Rate);
    }
    Ok(())
}

/// Counts one that the handler does not get, and says so on the bus once in a while.
fn drop_one(binding: &Binding, peer: &Peer, reason: DatagramDrop) {
    let (ledger, stats) = (&binding.site.ledger, &binding.site.stats);
    ledger.datagrams.drop_one(reason);
    if ledger.datagrams.should_tell(reason, stats.now_ms()) {
        stats.events().publish(EventKind::Limit, || {
            json!({
                "listener": &**ledger.listener(),
                "transport": ledger.transport().as_str(),
                "peer": peer.to_string(),
                "reason": reason.as_str(),
                "dropped_total": ledger.datagrams.dropped(reason),
            })
        });
    }
}

/// Counts a panic of the handler, and says so on the bus once in a while: each datagram may bring one.
fn panicked(binding: &Binding, peer: &Peer) {
    let (ledger, stats) = (&binding.site.ledger, &binding.site.stats);
    ledger.handler_panic();
    if ledger.datagrams.should_tell_panic(stats.now_ms()) {
        stats.events().publish(EventKind::Panic, || {
            json!({
                "listener": &**ledger.listener(),
                "transport": ledger.transport().as_str(),
                "handler": binding.site.handler,
                "peer": peer.to_string(),
            })
        });
    }
}
