//! The example of a handler of one's own does what its first lines say.

use std::process::{Command, Stdio};

use crate::client::{Datagrams, Stream};
use crate::program::{Program, example};

#[test]
fn a_handler_of_ones_own_is_served_beside_the_built_in_ones() {
    let mut program = Program::start(Command::new(example("own_handler")).stdin(Stdio::piped()));
    Stream::to(&program.line()).ask("hello", "olleh!");
    Datagrams::to(&program.line()).ask("hello", "olleh");
    program.close_input();
    assert!(program.end().success());
}
