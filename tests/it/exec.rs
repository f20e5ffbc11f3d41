//! Programs for connections: what they get, what of them is seen, and that nothing of them is left.

use std::io::Write as _;

use polygate::stats::{CloseReason, ProcessFailure};

use crate::client::{Datagrams, Stream};
use crate::harness::{Gate, counted, eventually};

/// A gateway whose connections run a script, over TCP and a Unix socket.
fn gate(script: &str, options: &str) -> Gate {
    Gate::start(&format!(
        r#"
        [listeners.run]
        bind = ["tcp://127.0.0.1:0", "unix://run.sock"]
        handler = "run"
        [handlers.run]
        type = "exec"
        argv = ["/bin/sh", "-c", '''{script}''']
        {options}
        "#
    ))
}

fn processes(gate: &Gate, name: &str) -> u64 {
    counted(&gate.stats().snapshot().ledgers, name, &[])
}

/// How many processes failed for that reason.
fn failures(gate: &Gate, reason: ProcessFailure) -> u64 {
    let ledgers = gate.stats().snapshot().ledgers;
    counted(&ledgers, "polygate_process_failures_total", &[reason.as_str()])
}

fn all_have_ended(gate: &Gate) {
    eventually("all processes have ended", || processes(gate, "polygate_processes_active") == 0);
}

fn address(gate: &Gate, transport: &str) -> String {
    gate.addresses("run").into_iter().find(|address| address.starts_with(transport)).unwrap()
}

#[test]
fn a_program_talks_to_its_client_and_every_byte_is_counted() {
    for pump in ["auto", "pump"] {
        let gate = gate("exec cat", &format!("io = '{pump}'"));
        for address in gate.addresses("run") {
            let mut client = Stream::to(&address);
            client.ask("hello", "hello");
            client.ask("world", "world");
            client.finish();
            client.is_ended();
        }
        eventually("both are closed", || gate.active("run") == 0);
        for ledger in gate.stats().snapshot().of_listener("run") {
            assert_eq!((ledger.received_bytes, ledger.sent_bytes), (10, 10), "{pump} {:?}", ledger.transport);
        }
        all_have_ended(&gate);
        assert_eq!(processes(&gate, "polygate_process_failures_total"), 0);
    }
}

#[test]
fn a_megabyte_comes_back_whole() {
    let gate = gate("exec cat", "");
    for address in gate.addresses("run") {
        let mut client = Stream::to(&address);
        let sent: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
        let mut writer = match &client {
            Stream::Tcp(stream) => Stream::Tcp(stream.try_clone().unwrap()),
            Stream::Unix(stream) => Stream::Unix(stream.try_clone().unwrap()),
        };
        let bytes = sent.clone();
        let writing = std::thread::spawn(move || {
            writer.write_all(&bytes).unwrap();
            writer.finish();
        });
        assert!(client.rest() == sent);
        writing.join().unwrap();
    }
}

#[test]
fn a_program_knows_its_connection_and_nothing_else() {
    let gate = gate(
        "pwd; echo $FRUIT; env | cut -d= -f1 | sort | tr '\\n' ' '; echo; env | grep -E '^(PROTO|TCP|UNIX)' | sort",
        "directory = '/usr'\nenv = { FRUIT = 'plum' }",
    );
    let said = |transport: &str| {
        let mut client = Stream::to(&address(&gate, transport));
        let own = match &client {
            Stream::Tcp(stream) => stream.local_addr().unwrap().port(),
            Stream::Unix(_) => 0,
        };
        (String::from_utf8(client.rest()).unwrap(), own)
    };
    let (tcp, port) = said("tcp://");
    let server = address(&gate, "tcp://").rsplit(':').next().unwrap().to_owned();
    let expected = format!(
        "PROTO=TCP\nTCPLOCALIP=127.0.0.1\nTCPLOCALPORT={server}\nTCPREMOTEIP=127.0.0.1\nTCPREMOTEPORT={port}\n"
    );
    assert!(tcp.starts_with("/usr\nplum\n") && tcp.ends_with(&expected), "{tcp}");
    let names = tcp.lines().nth(2).unwrap();
    let of_shells = ["OLDPWD", "PWD", "SHLVL", "_"];
    let others = names.split_whitespace().filter(|name| !of_shells.contains(name)).collect::<Vec<_>>();
    let known = [
        "FRUIT",
        "PATH",
        "POLYGATE_PROCESS",
        "PROTO",
        "TCPLOCALIP",
        "TCPLOCALPORT",
        "TCPREMOTEIP",
        "TCPREMOTEPORT",
    ];
    assert_eq!(others, known);
    let (unix, _) = said("unix://");
    let uid = rustix::process::getuid().as_raw();
    assert!(unix.contains("PROTO=UNIX\nUNIXLOCALPATH=/") && unix.contains("/run.sock\n"), "{unix}");
    assert!(unix.contains(&format!("UNIXREMOTEEUID={uid}\n")), "{unix}");
}

#[test]
fn a_program_that_ends_closes_its_connection_whoever_still_talks() {
    let gate = gate("echo bye; echo trouble >&2; exit 3", "");
    for address in gate.addresses("run") {
        let mut client = Stream::to(&address);
        client.hear("bye\n");
        client.is_ended();
    }
    all_have_ended(&gate);
    assert_eq!(processes(&gate, "polygate_process_failures_total"), 2);
}

#[test]
fn what_a_program_leaves_behind_does_not_hold_its_connection() {
    let gate = gate("sleep 300 & setsid sleep 300 & sleep 0.1; echo done", "");
    for address in gate.addresses("run") {
        let mut client = Stream::to(&address);
        client.hear("done\n");
        client.is_ended();
    }
    all_have_ended(&gate);
}

#[test]
fn time_idleness_and_kills_end_a_program_that_ignores_sigterm() {
    for (options, reason) in
        [("timeout = '200ms'", CloseReason::Lifetime), ("", CloseReason::Idle), ("", CloseReason::Admin)]
    {
        let gate = Gate::start(&format!(
            r#"
            [listeners.run]
            bind = ["tcp://127.0.0.1:0", "unix://run.sock"]
            handler = "run"
            timeouts.idle = {}
            [handlers.run]
            type = "exec"
            argv = ["/bin/sh", "-c", "trap '' TERM; echo ready; sleep 300; sleep 300"]
            grace = "50ms"
            {options}
            "#,
            if reason == CloseReason::Idle { "'300ms'" } else { "'off'" }
        ));
        let mut clients: Vec<Stream> = gate.addresses("run").iter().map(|at| Stream::to(at)).collect();
        clients.iter_mut().for_each(|client| client.hear("ready\n"));
        if reason == CloseReason::Admin {
            gate.supervisor().kill_all(reason);
        }
        clients.iter_mut().for_each(Stream::is_gone);
        all_have_ended(&gate);
        eventually("both are counted", || gate.closed("run", reason) == 2);
    }
}

#[test]
fn a_program_that_talks_is_not_idle() {
    let gate = Gate::start(
        r#"
        listeners.run = { bind = ["tcp://127.0.0.1:0", "unix://run.sock"], handler = "run", timeouts = { idle = "500ms" } }
        [handlers.run]
        type = "exec"
        argv = ["/bin/sh", "-c", "for i in 1 2 3 4 5 6 7 8 9 10; do printf .; sleep 0.1; done"]
        "#,
    );
    let clients: Vec<Stream> = gate.addresses("run").iter().map(|at| Stream::to(at)).collect();
    for mut client in clients {
        assert_eq!(client.rest(), b"..........");
    }
}

#[test]
fn a_client_that_resets_takes_its_program_with_it() {
    let gate = gate("echo ready; exec sleep 300", "grace = '50ms'");
    let mut client = Stream::to(&address(&gate, "tcp://"));
    client.hear("ready\n");
    if let Stream::Tcp(stream) = &client {
        socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }
    drop(client);
    eventually("it is closed", || gate.closed("run", CloseReason::Client) == 1);
    all_have_ended(&gate);
}

#[test]
fn a_sender_of_datagrams_has_a_program_of_its_own() {
    let gate = Gate::start(
        r#"
        listeners.run = { bind = ["udp://127.0.0.1:0", "unixgram://run.dgram"], handler = "run" }
        [handlers.run]
        type = "exec"
        argv = ["/bin/cat"]
        max_children = 2
        grace = "50ms"
        datagram_idle = "500ms"
        "#,
    );
    for address in gate.addresses("run") {
        let (one, other) = (Datagrams::to(&address), Datagrams::to(&address));
        one.ask("hello", "hello");
        other.ask("me", "me");
        one.ask("again", "again");
        // There is no place for a third.
        let refused = failures(&gate, ProcessFailure::Limit);
        Datagrams::to(&address).send("and me");
        eventually("it is counted", || failures(&gate, ProcessFailure::Limit) > refused);
        all_have_ended(&gate);
        // The next datagram begins another.
        one.ask("still there", "still there");
        all_have_ended(&gate);
    }
    // More where the machine is so slow that somebody was idle in between.
    assert!(processes(&gate, "polygate_processes_started_total") >= 6);
}

#[test]
fn a_senders_program_is_in_the_connection_list_and_killed_like_a_connection() {
    let gate = Gate::start(
        r#"
        listeners.run = { bind = "udp://127.0.0.1:0", handler = "run" }
        handlers.run = { type = "exec", argv = ["/bin/cat"], grace = "50ms" }
        "#,
    );
    let (one, other) = (gate.datagrams("run"), gate.datagrams("run"));
    one.ask("hello", "hello");
    other.ask("me", "me");
    let conns = gate.stats().conns();
    assert_eq!(conns.len(), 2);
    let first = conns.iter().find(|conn| conn.received_bytes == 5).unwrap();
    assert_eq!((first.sent_bytes, first.handler), (5, "exec"));
    assert!(first.details.iter().any(|(key, _)| *key == "pid"));
    assert!(gate.supervisor().kill(first.id));
    eventually("its program has ended", || processes(&gate, "polygate_processes_active") == 1);
    assert_eq!(gate.closed("run", CloseReason::Admin), 1);
    other.ask("still here", "still here");
    // While the listener drains, who has a program is heard, and nobody gets another.
    assert!(gate.supervisor().drain_listener("run", None));
    other.ask("and now", "and now");
    one.send("and me");
    other.ask("yes", "yes");
    assert_eq!(gate.stats().conns().len(), 1);
}

#[test]
fn a_program_may_answer_a_datagram_and_end() {
    let gate = Gate::start(
        r#"
        listeners.run = { bind = "udp://127.0.0.1:0", handler = "run" }
        [handlers.run]
        type = "exec"
        argv = ["/bin/sh", "-c", "echo $PROTO $UDPREMOTEIP; exit 3"]
        "#,
    );
    gate.datagrams("run").ask("x", "UDP 127.0.0.1\n");
    all_have_ended(&gate);
    assert_eq!(processes(&gate, "polygate_process_failures_total"), 1);
}

#[test]
fn a_program_that_cannot_start_closes_the_connection() {
    let gate = Gate::start(
        r#"
        listeners.run = { bind = "tcp://127.0.0.1:0", handler = "run" }
        handlers.run = { type = "exec", argv = ["/nonexistent/program"] }
        "#,
    );
    gate.connect("run").is_ended();
    assert_eq!(processes(&gate, "polygate_process_failures_total"), 1);
    assert_eq!(processes(&gate, "polygate_processes_started_total"), 0);
}

#[test]
fn a_program_runs_as_somebody_else_where_the_gateway_may() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let gate = gate("id -u; id -g; id -G", "user = 'nobody'");
    let mut client = gate.connect("run");
    let said = String::from_utf8(client.rest()).unwrap();
    let numbers: Vec<&str> = said.lines().collect();
    assert_ne!(numbers[0], "0");
    assert_ne!(numbers[1], "0");
    assert_eq!(numbers[1], numbers[2], "no group of the gateway's is left");
}
