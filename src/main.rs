//! The `polygate` program: a thin shell around the library.

use std::process::ExitCode;

use tikv_jemalloc_ctl::{Access as _, AsName as _};

mod cli;

/// Gives memory back after a peak of connections, from a thread of its own; glibc's keeps it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long memory that was freed is kept for the next who asks: jemalloc's own ten seconds are long for a
/// gateway whose crowds come and go.
const KEEP_MS: isize = 1000;

fn main() -> ExitCode {
    // Of arenas to come, and of the one that is there. Said here and not at build time, so that it holds
    // however the program was built; should it fail, memory is given back later.
    let _ = b"arenas.dirty_decay_ms\0".name().write(KEEP_MS);
    let _ = b"arena.0.dirty_decay_ms\0".name().write(KEEP_MS);
    cli::main().into()
}
