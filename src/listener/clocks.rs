//! The clocks: one task looks at every conn a few times a second and kills the ones out of time.
//!
//! No conn has a timer of its own, and no byte costs a look at the clock: what moved since the last tick
//! is seen by comparing counters. A conn is killed between its limit and a tick later.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Timeouts;
use crate::stats::{CloseReason, Meter, Phase, Stats};

/// The shortest and the longest time between ticks. In between it is an eighth of the shortest timeout in use.
const TICK: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// How long a handler that waits for its kill may take to say goodbye.
const GOODBYE_MS: u64 = 1_000;

/// Ticks for ever. `shortest` says how often at least, by the timeouts of the listeners ([`pause_for`]).
pub async fn run(stats: Arc<Stats>, shortest: impl Fn() -> Option<Duration>) {
    let mut pause = TICK.1;
    loop {
        // In steps, since a conn with a shorter timeout may come meanwhile.
        tokio::time::sleep(pause.min(shortest().unwrap_or(TICK.1))).await;
        let now = stats.now_ms();
        pause = TICK.1;
        stats.each_live(|meter| {
            pause = pause.min(pause_for(&meter.site().timeouts));
            look_at(meter, now);
        });
    }
}

/// How often a conn with such timeouts must be looked at.
pub fn pause_for(timeouts: &Timeouts) -> Duration {
    let Timeouts { handshake, first_byte, request, idle, stall, lifetime } = timeouts;
    let all = [handshake, first_byte, request, idle, stall, lifetime];
    let shortest = all.into_iter().filter_map(|timeout| timeout.get()).min().unwrap_or(TICK.1 * 8);
    (shortest / 8).clamp(TICK.0, TICK.1)
}

fn look_at(meter: &Meter, now: u64) {
    let active = meter.tick(now);
    // At the latest: whoever makes a listener drain tells its conns at once.
    meter.notice_drain();
    if let Some(since) = meter.killed_since_ms() {
        if now.saturating_sub(since) > GOODBYE_MS {
            meter.cut();
        }
        return;
    }
    if let Some(reason) = out_of_time(meter, active, now) {
        meter.kill(reason);
    }
}

fn out_of_time(meter: &Meter, active: u64, now: u64) -> Option<CloseReason> {
    let timeouts = &meter.site().timeouts;
    let over = |timeout: crate::config::Timeout, since: u64| {
        timeout.get().is_some_and(|limit| u128::from(now.saturating_sub(since)) >= limit.as_millis())
    };
    let (phase, since) = meter.phase();
    if over(timeouts.lifetime, meter.started_ms()) {
        return Some(CloseReason::Lifetime);
    }
    if meter.blocked_since_ms().is_some_and(|since| over(timeouts.stall, since)) {
        return Some(CloseReason::Stall);
    }
    match phase {
        Phase::Handshake if over(timeouts.handshake, since) => return Some(CloseReason::Handshake),
        Phase::Request if over(timeouts.request, since) => return Some(CloseReason::Request),
        Phase::Open if meter.received() == 0 && over(timeouts.first_byte, since) => {
            return Some(CloseReason::FirstByte);
        }
        Phase::Work => return None,
        Phase::Idle => return over(timeouts.idle, since).then_some(CloseReason::Idle),
        _ => {}
    }
    over(timeouts.idle, active).then_some(CloseReason::Idle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Timeout, Transport};
    use crate::stats::{Peer, Site};
    use tokio_util::sync::CancellationToken;

    #[track_caller]
    fn check(
        change: impl Fn(&mut Timeouts),
        prepare: impl Fn(&Meter),
        after_ms: u64,
        expected: Option<CloseReason>,
    ) {
        let off = Timeout::OFF;
        let mut timeouts =
            Timeouts { handshake: off, first_byte: off, request: off, idle: off, stall: off, lifetime: off };
        change(&mut timeouts);
        let stats = Arc::new(Stats::new());
        let site = Site {
            socket: 1,
            ledger: stats.open("l", Transport::Tcp),
            handler: "echo",
            generation: 1,
            timeouts,
            address: String::new(),
            any_address: false,
            drain: CancellationToken::new(),
            stats: stats.clone(),
        };
        let meter = Meter::open(Arc::new(site), Peer::Unnamed, None, Phase::Open);
        prepare(&meter);
        let now = stats.now_ms() + after_ms;
        assert_eq!(out_of_time(&meter, meter.started_ms(), now), expected);
    }

    #[test]
    fn each_clock_has_its_reason_and_its_condition() {
        let one = Timeout::after_secs(1);
        let nothing = |_: &Meter| {};
        check(|t| t.idle = one, nothing, 900, None);
        check(|t| t.idle = one, nothing, 1_100, Some(CloseReason::Idle));
        check(|t| t.lifetime = one, nothing, 1_100, Some(CloseReason::Lifetime));
        check(|t| t.first_byte = one, nothing, 1_100, Some(CloseReason::FirstByte));
        check(|t| t.first_byte = one, |m| m.add_received(1), 1_100, None);
        check(|t| t.stall = one, nothing, 1_100, None);
        check(|t| t.stall = one, |m| m.set_blocked(true), 1_100, Some(CloseReason::Stall));
        check(|t| t.request = one, nothing, 1_100, None);
        check(|t| t.request = one, |m| m.set_phase(Phase::Request), 1_100, Some(CloseReason::Request));
        check(|t| t.handshake = one, |m| m.set_phase(Phase::Handshake), 1_100, Some(CloseReason::Handshake));
        check(|t| t.idle = one, |m| m.set_phase(Phase::Work), 1_100, None);
        check(|t| t.lifetime = one, |m| m.set_phase(Phase::Work), 1_100, Some(CloseReason::Lifetime));
        check(|t| t.idle = one, |m| m.set_phase(Phase::Idle), 1_100, Some(CloseReason::Idle));
        check(|_| {}, |m| m.set_blocked(true), u64::MAX / 2, None);
    }

    #[test]
    fn ticks_come_often_enough_for_the_shortest_clock() {
        let mut timeouts = Timeouts::RAW;
        assert_eq!(pause_for(&timeouts), TICK.1);
        timeouts.idle = Timeout::after_secs(1);
        assert_eq!(pause_for(&timeouts), Duration::from_millis(125));
    }
}
