//! The `polygate` program: a thin shell around the library.

use std::process::ExitCode;

mod cli;

/// Gives memory back after a peak of connections, from a thread of its own; glibc's keeps it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cli::main().into()
}
