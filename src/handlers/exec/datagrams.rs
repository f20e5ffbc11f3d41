//! Programs for senders of datagrams: one process each, from the first datagram until the process or the talk ends.
//!
//! Its standard input and output are a datagram socket, so that what it reads and writes at once is one datagram.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

use rustix::net::RecvFlags;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::super::peers::Known;
use super::{Exec, NAMES, Options};
use crate::handler::{Answer, Flow, Packet, Phase, Replier};
use crate::process::{Counts, End, Given, Process, Program, Start};
use crate::stats::{CloseReason, Peer, ProcessFailure};

/// The longest datagram.
const LONGEST: usize = 64 * 1024;

/// Gives a datagram to its sender's process. Called in the receive loop: what does not fit is lost, as datagrams are.
pub(super) fn heard(exec: &Exec, packet: &Packet<'_>) -> Answer {
    let Err(bytes) = exec.peers.tell(packet, packet.bytes().into()) else { return Answer::Silence };
    // A reply without an address to go to is counted as that.
    let Some(replier) = packet.replier() else { return Answer::Reply };
    if packet.is_draining() {
        return Answer::Silence;
    }
    let Ok(place) = exec.places.clone().try_acquire_owned() else {
        Counts::of(&replier.ledger, NAMES).fail(ProcessFailure::Limit);
        tracing::debug!(target: "polygate::process", listener = packet.listener(), "max_children run already");
        return Answer::Silence;
    };
    let (datagrams, known) = exec.peers.begin(packet, bytes);
    let flow = Flow::open(&replier, packet.peer().clone(), Phase::Work);
    let meter = flow.meter().clone();
    let talk = Talk {
        flow,
        options: exec.options.clone(),
        program: exec.program.clone(),
        counts: Counts::of(&replier.ledger, NAMES),
        env: environment(packet),
        replier,
        datagrams,
    };
    let task = tokio::spawn(async move {
        let id = talk.flow.id();
        let listener = talk.replier.ledger.listener().clone();
        if let Err(error) = talk.run(place, known).await {
            tracing::warn!(target: "polygate::process", conn = id.0, %listener, %error, "failed");
        }
    });
    meter.arm(task.abort_handle());
    Answer::Silence
}

struct Talk {
    flow: Flow,
    options: Arc<Options>,
    program: Arc<Program>,
    counts: Counts,
    env: Vec<(&'static str, String)>,
    replier: Replier,
    datagrams: mpsc::Receiver<Box<[u8]>>,
}

impl Talk {
    async fn run(mut self, place: OwnedSemaphorePermit, known: Known<Box<[u8]>>) -> io::Result<()> {
        let (ours, theirs) = UnixDatagram::pair()?;
        ours.set_nonblocking(true)?;
        let ours = tokio::net::UnixDatagram::from_std(ours)?;
        let start = Start {
            stdin: Given::File(theirs.try_clone()?.into()),
            stdout: Given::File(theirs.into()),
            grace: Some(self.options.grace.get()),
            counts: self.counts.clone(),
            place: Some(place),
        };
        let process = self.program.start(&[], &self.env, start, &**self.flow.meter()).await;
        let process = process.inspect_err(|_| self.counts.fail(ProcessFailure::Spawn))?;
        self.flow.meter().describe("pid", process.id().to_string());
        let mut buffer = vec![0; LONGEST];
        let timeout = self.options.timeout.get();
        let carried = self.carry(&process, &ours, &mut buffer);
        let ended = match timeout {
            Some(time) => tokio::time::timeout(time, carried).await,
            None => Ok(carried.await),
        };
        self.flow.ends_because(match ended {
            Err(_) => CloseReason::Lifetime,
            Ok(Ended::Process(_)) => CloseReason::Handler,
            Ok(Ended::Silence) => CloseReason::Idle,
            Ok(Ended::Closed) => CloseReason::Drain,
        });
        match ended {
            Err(_) => self.counts.fail(ProcessFailure::Timeout),
            Ok(Ended::Process(Some(End::Signal(_)))) => self.counts.fail(ProcessFailure::Signal),
            Ok(Ended::Process(Some(end))) if !end.is_success() => self.counts.fail(ProcessFailure::Exit),
            Ok(_) => {}
        }
        self.datagrams.close();
        drop(known);
        // What it has written before its end, asked of the kernel: the reactor may not have told yet.
        while let Ok((_, n)) = rustix::net::recv(&ours, buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
            let _ = self.reply(&buffer[..n.min(LONGEST)]);
        }
        process.finish().await;
        Ok(())
    }

    fn reply(&self, bytes: &[u8]) -> io::Result<()> {
        self.replier.send(bytes)?;
        self.flow.meter().add_sent(bytes.len());
        Ok(())
    }

    /// Carries datagrams until something ends that.
    async fn carry(
        &mut self,
        process: &Process,
        socket: &tokio::net::UnixDatagram,
        buffer: &mut [u8],
    ) -> Ended {
        loop {
            tokio::select! {
                biased;
                end = process.wait() => return Ended::Process(end.ok()),
                written = socket.recv(buffer) => {
                    let Ok(written) = written else { return Ended::Process(None) };
                    let sent = self.reply(&buffer[..written]);
                    if sent.is_err_and(|error| error.kind() == io::ErrorKind::NotConnected) {
                        return Ended::Closed;
                    }
                }
                Some(datagram) = self.datagrams.recv() => {
                    self.flow.meter().add_received(datagram.len());
                    // A process that does not read loses what comes.
                    let flags = rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL;
                    let _ = rustix::net::send(socket, &datagram, flags);
                }
                () = tokio::time::sleep(self.options.datagram_idle.get()) => return Ended::Silence,
            }
        }
    }
}

/// What ends a talk.
enum Ended {
    /// The process; none: how is not known.
    Process(Option<End>),
    /// Nobody has said anything for too long.
    Silence,
    /// The endpoint is closed.
    Closed,
}

/// What tells the program of the sender, in words like those of ucspi-tcp.
fn environment(packet: &Packet<'_>) -> Vec<(&'static str, String)> {
    match packet.peer() {
        Peer::Inet(peer) => vec![
            ("PROTO", "UDP".to_owned()),
            ("UDPREMOTEIP", peer.ip().to_canonical().to_string()),
            ("UDPREMOTEPORT", peer.port().to_string()),
        ],
        peer => {
            vec![("PROTO", "UNIX".to_owned()), ("UNIXREMOTEPATH", peer.to_string())]
        }
    }
}
