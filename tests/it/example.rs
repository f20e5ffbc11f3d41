//! The examples of the library do what their first lines say.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::client::{Datagrams, Stream};
use crate::program::{Program, example};

/// An example that runs until its input ends.
fn start(name: &str) -> Program {
    Program::start(Command::new(example(name)).stdin(Stdio::piped()))
}

#[track_caller]
fn ends(mut program: Program) {
    program.close_input();
    assert!(program.end().success());
}

#[test]
fn a_handler_of_ones_own_is_served_beside_the_built_in_ones() {
    let program = start("own_handler");
    Stream::to(&program.line()).ask("hello", "olleh!");
    Datagrams::to(&program.line()).ask("hello", "olleh");
    ends(program);
}

#[test]
fn a_handler_of_connections_keeps_what_it_knows_of_each() {
    let program = start("stream_handler");
    let address = program.line();
    let (mut one, mut other) = (Stream::to(&address), Stream::to(&address));
    one.ask("a", "1: a");
    one.ask("b", "2: b");
    other.ask("c", "1: c");
    drop((one, other));
    ends(program);
}

#[test]
fn a_handler_of_datagrams_answers_in_place() {
    let program = start("datagram_handler");
    let client = Datagrams::to(&program.line());
    client.ask("hello", "hell");
    client.ask("", "");
    ends(program);
}

#[test]
fn a_gateway_lives_inside_a_program() {
    let mut program = Program::start(&mut Command::new(example("embedded")));
    let expected = [
        "echo: hello",
        "changed: handler",
        "upper: HELLO",
        "refused: true",
        "upper: STILL",
        "killed: 0",
        "listens: false",
    ];
    for line in expected {
        assert_eq!(program.line(), line);
    }
    assert!(program.end().success());
}

#[test]
fn a_handler_takes_less_than_forty_lines() {
    for name in ["own_handler", "stream_handler", "datagram_handler"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/{name}.rs"));
        let text = std::fs::read_to_string(file).unwrap();
        let (handler, _) = text.split_once("const CONFIG").unwrap();
        let is_code = |line: &&str| !line.is_empty() && !line.starts_with("//") && !line.starts_with('#');
        let count = handler.lines().map(str::trim).filter(is_code).count();
        assert!((10..40).contains(&count), "{name}: {count} lines");
    }
}
