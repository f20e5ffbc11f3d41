//! `exec`: a program for each connection, as inetd and ucspi-tcp run it.
//!
//! Over TCP the program gets the connection's own socket as standard input and output, and the gateway only
//! watches. Else it gets a socket of its own, and the gateway carries the bytes. A sender of datagrams has a process, too.

mod datagrams;
mod options;

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use options::Options;

use super::peers::Peers;
use crate::config::{Findings, Transports};
use crate::handler::{
    Answer, BuildError, Conn, Context, Counter, DatagramHandler, Handler, Packet, StreamHandler,
};
use crate::net::{Look, Relayed, Stream};
use crate::process::{Counts, End, FAILURES, Given, Names, Process, Program, Start};
use crate::stats::{CloseReason, Meter, Peer, Phase, ProcessFailure};
use options::Io;

/// How long a connection waits for its turn.
const TURN: Duration = Duration::from_secs(10);

/// The longest and the shortest pause between two looks at a connection that a program has.
const LOOKS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

const NAMES: Names =
    Names { handler: &[("handler", &["exec"])], failures: &[("handler", &["exec"]), ("reason", FAILURES)] };

/// The `exec` handler.
#[derive(Debug)]
pub struct Exec {
    options: Arc<Options>,
    program: Arc<Program>,
    places: Arc<Semaphore>,
    peers: Arc<Peers<Box<[u8]>>>,
}

impl Handler for Exec {
    const NAME: &'static str = "exec";
    const TRANSPORTS: Transports = Transports::ALL;
    const COUNTERS: &'static [Counter] = &NAMES.counters();
    type Options = Options;

    fn check(options: &Options, transports: Transports) -> Findings {
        options::check(options, transports)
    }

    fn amplifies(_: &Options) -> bool {
        // A program answers what it likes.
        true
    }

    fn new(options: Options, _: &Context) -> Result<Self, BuildError> {
        let places = usize::try_from(options.max_children).unwrap_or(Semaphore::MAX_PERMITS);
        let program = Arc::new(options::program(&options)?);
        let places = Arc::new(Semaphore::new(places));
        Ok(Exec { options: Arc::new(options), program, places, peers: Arc::default() })
    }
}

impl StreamHandler for Exec {
    async fn serve(&self, conn: &mut Conn) -> io::Result<()> {
        let meter = conn.meter().clone();
        let counts = Counts::of(&meter.site().ledger, NAMES);
        let turn = tokio::time::timeout(TURN, self.places.clone().acquire_owned()).await;
        let Ok(Ok(place)) = turn else {
            counts.fail(ProcessFailure::Limit);
            tracing::warn!(target: "polygate::process", conn = conn.id().0, listener = conn.listener(), "max_children run already");
            return Ok(());
        };
        let run = Run { exec: self, env: environment(conn), counts, place, meter: meter.clone() };
        let began = Instant::now();
        let served = if self.options.io != Io::Pump && conn.can_be_lent() {
            run.with_socket(conn).await
        } else {
            run.with_pump(conn).await
        };
        meter.site().ledger.observe_units(1, began.elapsed());
        served
    }
}

impl DatagramHandler for Exec {
    fn answer(&self, packet: &mut Packet<'_>) -> Answer {
        datagrams::heard(self, packet)
    }

    fn is_busy(&self) -> bool {
        self.peers.len() > 0
    }
}

/// One connection's program before it starts.
struct Run<'a> {
    exec: &'a Exec,
    env: Vec<(&'static str, String)>,
    counts: Counts,
    place: OwnedSemaphorePermit,
    meter: Arc<Meter>,
}

impl Run<'_> {
    /// Starts it on a socket; none if it cannot be, which is counted and logged.
    async fn start(self, stdin: OwnedFd, stdout: OwnedFd) -> Option<(Process, Counts)> {
        let Run { exec, env, counts, place, meter } = self;
        let start = Start {
            stdin: Given::File(stdin),
            stdout: Given::File(stdout),
            grace: Some(exec.options.grace.get()),
            counts: counts.clone(),
            place: Some(place),
        };
        match exec.program.start(&[], &env, start, &*meter).await {
            Ok(process) => {
                meter.describe("pid", process.id().to_string());
                Some((process, counts))
            }
            Err(error) => {
                counts.fail(ProcessFailure::Spawn);
                let listener = meter.site().ledger.listener();
                tracing::warn!(target: "polygate::process", conn = meter.id().0, %listener, %error, "cannot start");
                None
            }
        }
    }

    /// The connection's own socket is the program's.
    async fn with_socket(self, conn: &mut Conn) -> io::Result<()> {
        let (exec, idle) = (self.exec, conn.meter().site().timeouts.idle.get());
        let pause = idle.map_or(LOOKS.1, |idle| (idle / 8).clamp(LOOKS.0, LOOKS.1));
        let mut lent = conn.lend()?;
        let (stdin, stdout) = (lent.socket()?, lent.socket()?);
        let Some((process, counts)) = self.start(stdin, stdout).await else { return lent.give_back() };
        let mut looks = tokio::time::interval(pause);
        let ended = async {
            loop {
                tokio::select! {
                    biased;
                    end = process.wait() => return end.map(Some),
                    _ = looks.tick() => match lent.look() {
                        Look::Open => {}
                        Look::Gone => return Ok(None),
                        // Its bytes are not known, so it is never idle.
                        Look::Unknown => lent.conn().enter(Phase::Work),
                    },
                }
            }
        };
        match in_time(exec, ended, &counts).await {
            Some(end) => {
                let gone = end?.is_none();
                process.finish().await;
                lent.give_back()?;
                if gone {
                    conn.ends_because(CloseReason::Client);
                }
            }
            None => {
                // The process first: it must not find a socket that does not block for it any more.
                drop(process);
                drop(lent);
                conn.ends_because(CloseReason::Lifetime);
            }
        }
        Ok(())
    }

    /// The gateway carries the bytes to and from a socket of the program's own.
    async fn with_pump(self, conn: &mut Conn) -> io::Result<()> {
        let exec = self.exec;
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut ours = Stream::Unix(tokio::net::UnixStream::from_std(ours)?);
        let stdout = theirs.try_clone()?;
        let Some((process, counts)) = self.start(theirs.into(), stdout.into()).await else { return Ok(()) };
        let ended = async {
            let process = process;
            let relay = conn.relay_until_other_ends(&mut ours);
            tokio::pin!(relay);
            let (mut relayed, mut end) = (None, None);
            tokio::select! {
                biased;
                done = &mut relay => relayed = Some(done),
                done = process.wait() => end = Some(done?),
            }
            if let Some(Relayed::ConnFailed(error)) = relayed {
                return Err(error);
            }
            let end = match end {
                Some(end) => end,
                // It has closed its output, and may go on without.
                None => process.wait().await?,
            };
            // Whoever is left holds the other end of the pump.
            process.finish().await;
            if relayed.is_none()
                && let Relayed::ConnFailed(error) = relay.await
            {
                return Err(error);
            }
            Ok(Some(end))
        };
        match in_time(exec, ended, &counts).await {
            Some(ended) => ended.map(drop),
            None => {
                conn.ends_because(CloseReason::Lifetime);
                Ok(())
            }
        }
    }
}

/// Waits for the end of a process, none if its connection was gone first, and counts what it came to. None if it
/// took too long.
async fn in_time(
    exec: &Exec,
    ended: impl Future<Output = io::Result<Option<End>>>,
    counts: &Counts,
) -> Option<io::Result<Option<End>>> {
    let ended = match exec.options.timeout.get() {
        Some(time) => tokio::time::timeout(time, ended).await.ok(),
        None => Some(ended.await),
    };
    match &ended {
        None => counts.fail(ProcessFailure::Timeout),
        Some(Ok(Some(End::Signal(_)))) => counts.fail(ProcessFailure::Signal),
        Some(Ok(Some(end))) if !end.is_success() => counts.fail(ProcessFailure::Exit),
        Some(_) => {}
    }
    ended
}

/// What tells the program of its connection, in the words of ucspi-tcp and ucspi-unix.
fn environment(conn: &Conn) -> Vec<(&'static str, String)> {
    let mut env = Vec::new();
    match conn.peer() {
        Peer::Inet(peer) => {
            env.push(("PROTO", "TCP".to_owned()));
            if let Some(local) = conn.local() {
                env.push(("TCPLOCALIP", local.ip().to_canonical().to_string()));
                env.push(("TCPLOCALPORT", local.port().to_string()));
            }
            env.push(("TCPREMOTEIP", peer.ip().to_canonical().to_string()));
            env.push(("TCPREMOTEPORT", peer.port().to_string()));
        }
        peer => {
            env.push(("PROTO", "UNIX".to_owned()));
            let address = &conn.meter().site().address;
            env.push(("UNIXLOCALPATH", address.trim_start_matches("unix://").to_owned()));
            if let Peer::Unix { uid, pid } = peer {
                env.push(("UNIXREMOTEEUID", uid.to_string()));
                env.push(("UNIXREMOTEPID", pid.to_string()));
            }
        }
    }
    env
}
