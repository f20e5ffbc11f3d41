//! The framed command runner: what its clients say and hear, and that nothing runs that must not.

use polygate::stats::{CloseReason, ProcessFailure};

use crate::client::Stream;
use crate::harness::{Gate, counted, eventually};

const COMMANDS: &str = r#"
[listeners.run]
bind = ["tcp://127.0.0.1:0", "unix://run.sock"]
handler = "run"
[handlers.run]
type = "runner"
max_output = "64KiB"
commands.echo = { argv = ["/bin/echo"], args = true }
commands.seq = { argv = ["/usr/bin/seq"], args = true }
commands.fixed = { argv = ["/bin/echo", "a b", "$HOME"] }
commands.silent = { argv = ["/bin/true"] }
commands.fails = { argv = ["/bin/sh", "-c", "echo before; echo to the log >&2; exit 3"] }
commands.absent = { argv = ["/nonexistent/program"] }
commands.endless = { argv = ["/usr/bin/yes"] }
commands.nap = { argv = ["/bin/sleep", "0.3"] }
commands.slow = { argv = ["/bin/sleep", "300"] }
"#;

const ERROR: &str = "Ready|9";

/// Says a request as the tutorial's client does, and takes the answer with one read each.
fn run(client: &mut Stream, request: &str) -> String {
    client.say(request);
    let ready = client.recv();
    let length: usize = ready.strip_prefix("Ready|").expect("Ready").parse().expect("a length");
    client.say("Start");
    let mut output = String::new();
    while output.len() < length {
        output += &client.recv();
    }
    assert_eq!(output.len(), length);
    output
}

fn processes(gate: &Gate, name: &str) -> u64 {
    counted(&gate.stats().snapshot().ledgers, name, &[])
}

/// How many processes failed for that reason.
fn failures(gate: &Gate, reason: ProcessFailure) -> u64 {
    let ledgers = gate.stats().snapshot().ledgers;
    counted(&ledgers, "polygate_process_failures_total", &[reason.as_str()])
}

#[test]
fn a_client_of_the_tutorial_hears_what_its_commands_print() {
    let gate = Gate::start(COMMANDS);
    for address in gate.addresses("run") {
        let mut client = Stream::to(&address);
        assert_eq!(run(&mut client, "fixed"), "a b $HOME\n");
        assert_eq!(run(&mut client, "echo hello   world"), "hello world\n");
        let long: String = (1..=10_000).map(|n| format!("{n}\n")).collect();
        assert_eq!(run(&mut client, "seq 10000"), long);
        // Whatever the status, and of standard output only.
        assert_eq!(run(&mut client, "fails"), "before\n");
    }
    eventually("all processes have ended", || processes(&gate, "polygate_processes_active") == 0);
    assert_eq!(processes(&gate, "polygate_processes_started_total"), 8);
    assert_eq!(processes(&gate, "polygate_process_failures_total"), 2);
}

#[test]
fn what_is_not_on_the_list_is_an_error_and_nothing_runs() {
    let gate = Gate::start(COMMANDS);
    let mut client = gate.connect("run");
    for request in [
        "rm -rf /",
        "/bin/echo x",
        "fixed more",
        "fixed;id",
        "fixed|id",
        "fixed && id",
        "$(id)",
        "`id`",
        "Start",
        " ",
        "FIXED",
        "echo\0x",
        "echo a\0b",
    ] {
        assert_eq!(run(&mut client, request), "cmd error", "{request:?}");
    }
    client.ask(b"\xff\xfe\n", ERROR);
    client.ask("Start\n", "cmd error");
    assert_eq!(processes(&gate, "polygate_processes_started_total"), 0);
    // What a shell would read is an argument like any other.
    assert_eq!(run(&mut client, "echo $(id) ; `id` > /tmp/x *"), "$(id) ; `id` > /tmp/x *\n");
}

#[test]
fn a_command_that_prints_nothing_or_too_much_or_cannot_start_is_an_error() {
    let gate = Gate::start(COMMANDS);
    let mut client = gate.connect("run");
    for request in ["silent", "absent", "endless"] {
        assert_eq!(run(&mut client, request), "cmd error", "{request}");
    }
    eventually("all processes have ended", || processes(&gate, "polygate_processes_active") == 0);
    assert_eq!(processes(&gate, "polygate_process_failures_total"), 2);
}

#[test]
fn requests_with_line_ends_may_be_cut_and_joined_anywhere() {
    let gate = Gate::start(&COMMANDS.replace("[handlers.run]", "[handlers.run]\ngap = '1h'"));
    let all = b"echo one\r\nStart\r\necho two\nStart\n";
    for cut in 0..=all.len() {
        let mut client = gate.connect("run");
        client.say(&all[..cut]);
        client.say(&all[cut..]);
        client.hear("Ready|4one\nReady|4two\n");
    }
    // One way may be closed before the answer.
    let mut client = gate.connect("run");
    client.say("echo one\nStart\n");
    client.finish();
    client.hear("Ready|4one\n");
    client.is_ended();
}

#[test]
fn anything_but_start_drops_the_output_and_is_the_next_request() {
    let gate = Gate::start(COMMANDS);
    let mut client = gate.connect("run");
    client.ask("echo one\n", "Ready|4");
    client.ask("echo three\n", "Ready|6");
    client.ask("Startup\n", ERROR);
    client.ask("Start\n", "cmd error");
    client.ask("Start\n", ERROR);
}

#[test]
fn a_request_of_more_than_1024_bytes_closes_the_connection() {
    let gate = Gate::start(COMMANDS);
    let mut client = gate.connect("run");
    let words = "x".repeat(1024 - "echo ".len());
    assert_eq!(run(&mut client, &format!("echo {words}")), format!("{words}\n"));
    client.say("y".repeat(1025));
    client.is_gone();
    let mut client = gate.connect("run");
    let _ = std::io::Write::write_all(&mut client, &vec![b'z'; 1 << 20]);
    client.is_gone();
    eventually("both are counted", || gate.closed("run", CloseReason::TooLarge) == 2);
}

#[test]
fn a_command_that_takes_too_long_is_killed_with_all_that_it_started() {
    let text = r#"
        listeners.run = { bind = "tcp://127.0.0.1:0", handler = "run" }
        [handlers.run]
        type = "runner"
        timeout = "200ms"
        commands.stubborn = { argv = ["/bin/sh", "-c", "trap '' TERM; sleep 300 & setsid sleep 300 & wait; sleep 300"] }
    "#;
    let gate = Gate::start(text);
    let mut client = gate.connect("run");
    assert_eq!(run(&mut client, "stubborn"), "cmd error");
    eventually("all processes have ended", || processes(&gate, "polygate_processes_active") == 0);
}

#[test]
fn a_client_that_leaves_takes_its_command_with_it() {
    let gate = Gate::start(COMMANDS);
    for leave in [
        |client: Stream| drop(client),
        |client: Stream| {
            client.finish();
            std::mem::forget(client);
        },
    ] {
        let mut client = gate.connect("run");
        client.say("slow\n");
        eventually("it runs", || processes(&gate, "polygate_processes_active") == 1);
        leave(client);
        eventually("it has ended", || processes(&gate, "polygate_processes_active") == 0);
    }
    // An operator's kill does the same.
    let mut client = gate.connect("run");
    client.say("slow\n");
    eventually("it runs", || processes(&gate, "polygate_processes_active") == 1);
    assert_eq!(gate.supervisor().kill_all(CloseReason::Admin), 1);
    eventually("it has ended", || processes(&gate, "polygate_processes_active") == 0);
}

#[test]
fn only_so_many_run_at_once_and_who_waits_too_long_hears_an_error() {
    let text = r#"
        listeners.run = { bind = "tcp://127.0.0.1:0", handler = "run" }
        [handlers.run]
        type = "runner"
        timeout = "500ms"
        max_children = 2
        commands.slow = { argv = ["/bin/sleep", "300"] }
    "#;
    let gate = Gate::start(text);
    let mut clients: Vec<Stream> = (0..20).map(|_| gate.connect("run")).collect();
    clients.iter_mut().for_each(|client| client.say("slow\n"));
    let most = std::cell::Cell::new(0);
    eventually("two run", || {
        most.set(most.get().max(processes(&gate, "polygate_processes_active")));
        most.get() == 2
    });
    for client in &mut clients {
        client.hear(ERROR);
        most.set(most.get().max(processes(&gate, "polygate_processes_active")));
    }
    assert_eq!(most.get(), 2);
    assert!(failures(&gate, ProcessFailure::Limit) > 0);
}

#[test]
fn who_never_says_start_is_let_go() {
    let gate =
        Gate::start(&COMMANDS.replace("handler = \"run\"", "handler = \"run\"\ntimeouts.request = '100ms'"));
    let mut client = gate.connect("run");
    client.ask("echo one\n", "Ready|4");
    client.is_gone();
    eventually("it is counted", || gate.closed("run", CloseReason::Request) == 1);
    // Between two requests that clock does not run.
    let mut patient = gate.connect("run");
    patient.ask("echo one\nStart\n", "Ready|4one\n");
    // A command that takes longer than the clock, for another client.
    gate.connect("run").ask("nap\nStart\n", "Ready|9cmd error");
    patient.ask("echo one\nStart\n", "Ready|4one\n");
}
