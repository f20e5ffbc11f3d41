//! Conversations over datagrams: a sender's first one begins it, and silence ends it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::super::peers::Known;
use super::{Console, Options};
use crate::console::{About, Speaker, Talk};
use crate::handler::{Answer, Flow, Packet, Phase, Replier};
use crate::stats::CloseReason;

/// A conversation ends when nothing has been said for so long.
const IDLE: Duration = Duration::from_secs(300);

/// Conversations of one listener at once: addresses can be forged, and must not take every place.
const MOST: usize = 500;

/// The most of a datagram that is noted, in bytes.
const LONGEST: usize = 4 * 1024;

/// Notes a datagram. Called in the receive loop, so what cannot be noted at once is not.
pub(super) fn heard(console: &Console, packet: &Packet<'_>) -> Answer {
    let bytes = packet.bytes();
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST)]).into_owned();
    let Err(text) = console.peers.tell(packet, text) else { return Answer::Silence };
    if console.peers.len() >= MOST {
        tracing::debug!(target: "polygate::conn", listener = packet.listener(), "too many conversations");
        return Answer::Silence;
    }
    // A reply without an address to go to is counted as that.
    let Some(replier) = packet.replier() else { return Answer::Reply };
    if packet.is_draining() {
        return Answer::Silence;
    }
    let mut flow = Flow::open(&replier, packet.peer().clone(), Phase::Work);
    let about = About {
        id: flow.id().0,
        listener: packet.listener().into(),
        transport: replier.ledger.transport(),
        peer: packet.peer().to_string(),
    };
    let Some(talk) = console.consoles.open(about) else {
        tracing::debug!(target: "polygate::conn", listener = packet.listener(), "too many conversations");
        flow.ends_because(CloseReason::Handler);
        return Answer::Silence;
    };
    let (said, known) = console.peers.begin(packet, text);
    let meter = flow.meter().clone();
    let task = tokio::spawn(converse(console.options.clone(), talk, (replier, flow), said, known));
    meter.arm(task.abort_handle());
    Answer::Silence
}

async fn converse(
    options: Arc<Options>,
    mut talk: Talk,
    (replier, mut flow): (Replier, Flow),
    mut said: mpsc::Receiver<String>,
    known: Known<String>,
) {
    let meter = flow.meter().clone();
    let send = |text: &str| replier.send(text.as_bytes()).inspect(|()| meter.add_sent(text.len())).is_ok();
    let mut due = None;
    let reason = loop {
        tokio::select! {
            biased;
            Some(reply) = talk.next() => {
                if !send(&reply.text) {
                    break CloseReason::Drain;
                }
                talk.confirm(reply);
                due = None;
            }
            Some(text) = said.recv() => {
                meter.add_received(text.len());
                talk.say(Speaker::Client, text);
                let far = |time: Duration| Instant::now().checked_add(time);
                due = due.or_else(|| options.timeout.get().and_then(far));
            }
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                due = None;
                let nothing = options.default_reply.is_empty();
                if nothing || !send(&options.default_reply) {
                    break CloseReason::Handler;
                }
                talk.say(Speaker::Gateway, options.default_reply.clone());
            }
            () = tokio::time::sleep(IDLE) => break CloseReason::Idle,
        }
    };
    flow.ends_because(reason);
    said.close();
    drop(known);
}
