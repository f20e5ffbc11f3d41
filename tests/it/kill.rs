//! Conns that are killed, and handlers that panic: nobody else notices.

use std::io;

use polygate::config::Transports;
use polygate::handler::{BuildError, Conn, Context, Handler, StreamHandler};
use polygate::handlers;
use polygate::stats::{CloseReason, ConnId};
use tokio::io::AsyncWriteExt;

use crate::client::Stream;
use crate::harness::{Gate, eventually};

/// One listener on both transports, with the test's own handler.
fn gate(handler: &str) -> Gate {
    let handlers = handlers::builtin().stream::<Polite>().stream::<Touchy>();
    let bind = "bind = ['tcp://127.0.0.1:0', 'unix://l.sock']";
    Gate::start_with(handlers, &format!("[listeners.l]\n{bind}\nhandler = '{handler}'"))
}

/// The only conn that is open.
#[track_caller]
fn only(gate: &Gate) -> ConnId {
    let conns = gate.stats().conns();
    assert_eq!(conns.len(), 1, "{conns:?}");
    conns[0].id
}

#[test]
fn a_killed_conn_is_closed_and_counted() {
    let gate = gate("echo");
    for (earlier, address) in gate.addresses("l").iter().enumerate() {
        let mut killed = Stream::to(address);
        killed.ask("hi", "hi");
        let id = only(&gate);
        let mut other = Stream::to(address);
        other.ask("hi", "hi");
        assert!(gate.supervisor().kill(id));
        killed.is_gone();
        eventually("it is counted", || gate.closed("l", CloseReason::Admin) == earlier as u64 + 1);
        assert!(!gate.supervisor().kill(id), "it is gone");
        other.ask("still here", "still here");
        drop(other);
        eventually("the other is gone", || gate.active("l") == 0);
    }
    assert_eq!(gate.closed("l", CloseReason::Client), 2);
}

#[test]
fn a_number_that_no_conn_has_is_not_killed() {
    let gate = gate("echo");
    assert!(!gate.supervisor().kill(ConnId(1)));
    assert!(!gate.supervisor().kill(ConnId(u64::MAX)));
}

#[test]
fn a_client_that_does_not_read_can_be_killed() {
    let gate = gate("echo");
    for (earlier, address) in gate.addresses("l").iter().enumerate() {
        let mut deaf = Stream::to(address);
        deaf.say("hi");
        eventually("it is open", || gate.active("l") == 1);
        let id = only(&gate);
        std::thread::scope(|scope| {
            scope.spawn(|| while io::Write::write_all(&mut deaf, &[b'x'; 65_536]).is_ok() {});
            eventually("the handler waits for it", || {
                gate.stats().find(id).is_some_and(|meter| meter.blocked_since_ms().is_some())
            });
            assert!(gate.supervisor().kill(id));
        });
        eventually("it is counted", || gate.closed("l", CloseReason::Admin) == earlier as u64 + 1);
    }
}

#[test]
fn a_handler_that_waits_for_its_kill_may_say_goodbye() {
    let gate = gate("polite");
    for address in gate.addresses("l") {
        let mut stream = Stream::to(&address);
        stream.hear("hello");
        eventually("it waits", || gate.active("l") == 1);
        assert!(gate.supervisor().kill(only(&gate)));
        stream.hear("goodbye: admin");
        stream.is_ended();
        drop(stream);
        eventually("it is gone", || gate.active("l") == 0);
    }
    assert_eq!(gate.closed("l", CloseReason::Admin), 2);
}

#[test]
fn a_handler_whose_goodbye_takes_too_long_is_cut() {
    let gate = gate("polite");
    let mut stream = gate.connect("l");
    stream.hear("hello");
    stream.say("go on");
    stream.hear("as you wish");
    assert!(gate.supervisor().kill(only(&gate)));
    stream.hear("goodbye: admin");
    stream.is_gone();
    eventually("it is counted", || gate.closed("l", CloseReason::Admin) == 1);
}

#[test]
fn a_handler_that_panics_loses_its_own_conn_only() {
    let gate = gate("touchy");
    for address in gate.addresses("l") {
        let mut other = Stream::to(&address);
        other.ask("hi", "hi");
        let mut stream = Stream::to(&address);
        stream.ask("hi", "hi");
        stream.say("boom");
        stream.is_gone();
        other.ask("still here", "still here");
        Stream::to(&address).ask("next", "next");
    }
    eventually("all are gone", || gate.active("l") == 0);
    assert_eq!(gate.closed("l", CloseReason::Panic), 2);
    assert_eq!(gate.closed("l", CloseReason::Client), 4);
    let panics: u64 = gate.stats().snapshot().of_listener("l").map(|ledger| ledger.handler_panics).sum();
    assert_eq!(panics, 2);
}

#[test]
fn an_error_of_the_handler_is_counted_and_closes_its_conn() {
    let gate = gate("touchy");
    let mut stream = gate.connect("l");
    stream.say("fail");
    stream.is_gone();
    eventually("it is counted", || gate.closed("l", CloseReason::IoError) == 1);
    let errors: u64 = gate.stats().snapshot().of_listener("l").map(|ledger| ledger.handler_errors).sum();
    assert_eq!(errors, 1);
}

#[test]
fn a_handler_that_is_done_ends_the_conn() {
    let gate = gate("touchy");
    let mut stream = gate.connect("l");
    stream.say("done");
    stream.is_ended();
    drop(stream);
    eventually("it is counted", || gate.closed("l", CloseReason::Handler) == 1);
}

/// The options of a handler without any.
#[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoOptions {}

/// Says hello, and goodbye when it is killed; or goes on, if it was told so.
struct Polite;

impl Handler for Polite {
    const NAME: &'static str = "polite";
    const TRANSPORTS: Transports = Transports::STREAMS;
    type Options = NoOptions;

    fn new(_: NoOptions, _: &Context) -> Result<Self, BuildError> {
        Ok(Polite)
    }
}

impl StreamHandler for Polite {
    async fn serve(&self, conn: &mut Conn) -> io::Result<()> {
        let killed = conn.killed();
        let mut goes_on = false;
        let reason = tokio::select! {
            // First, so that whoever hears the hello knows that the kill is waited for.
            biased;
            reason = killed => reason,
            Err(error) = talk(conn, &mut goes_on) => return Err(error),
        };
        conn.write_all(format!("goodbye: {}", reason.as_str()).as_bytes()).await?;
        if goes_on { std::future::pending().await } else { Ok(()) }
    }
}

async fn talk(conn: &mut Conn, goes_on: &mut bool) -> io::Result<()> {
    conn.write_all(b"hello").await?;
    conn.read_chunk(1024).await?;
    *goes_on = true;
    conn.write_all(b"as you wish").await?;
    std::future::pending().await
}

/// Echoes, and does what a word asks for.
struct Touchy;

impl Handler for Touchy {
    const NAME: &'static str = "touchy";
    const TRANSPORTS: Transports = Transports::STREAMS;
    type Options = NoOptions;

    fn new(_: NoOptions, _: &Context) -> Result<Self, BuildError> {
        Ok(Touchy)
    }
}

impl StreamHandler for Touchy {
    async fn serve(&self, conn: &mut Conn) -> io::Result<()> {
        while let Some(chunk) = conn.read_chunk(1024).await? {
            match &*chunk {
                b"boom" => panic!("as the test asked"),
                b"fail" => return Err(io::Error::other("as the test asked")),
                b"done" => return Ok(()),
                _ => conn.write_all(&chunk).await?,
            }
        }
        Ok(())
    }
}
