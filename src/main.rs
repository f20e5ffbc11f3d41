//! The `polygate` program: a thin shell around the library.

use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    cli::main().into()
}
