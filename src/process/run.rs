//! A process run for what it prints.

use std::io;
use std::time::Duration;

use tokio::net::unix::pipe;

use super::{Counts, End, Process};
use crate::stats::ProcessFailure;

/// Why there is no output.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// It took too long.
    #[error("out of time")]
    Timeout,
    /// It printed more than it may.
    #[error("more output than max_output")]
    TooMuch,
    /// The pipe broke.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What a process prints until it ends, at most `limit` bytes within `time`. What it has left behind is killed.
///
/// # Errors
/// Why there is none. Whatever failed is counted, and so is a status other than 0.
pub async fn output(
    mut process: Process,
    limit: usize,
    time: Duration,
    counts: &Counts,
) -> Result<Vec<u8>, Failed> {
    let mut printed = Vec::new();
    let Some(stdout) = process.stdout.take() else { return Ok(printed) };
    let all = async {
        tokio::select! {
            biased;
            end = to_the_end(&stdout, &mut printed, limit) => {
                end?;
                // Closed; now it may end.
                Ok::<End, Failed>(process.wait().await?)
            }
            end = process.wait() => Ok(end?),
        }
    };
    let end = match tokio::time::timeout(time, all).await {
        Err(_) => Err(Failed::Timeout),
        Ok(Err(error)) => Err(error),
        Ok(Ok(end)) => Ok(end),
    };
    let end = match end {
        Ok(end) => end,
        Err(error) => {
            counts.fail(match error {
                Failed::Timeout => ProcessFailure::Timeout,
                Failed::TooMuch | Failed::Io(_) => ProcessFailure::Signal,
            });
            return Err(error);
        }
    };
    // Whoever is left in the group holds the pipe; what they wrote before the process ended counts.
    process.kill_group();
    // Asked of the kernel: the reactor may not have told yet of the last bytes.
    take(&mut printed, limit, |room| Ok(rustix::io::read(&stdout, room)?))?;
    match end {
        End::Exit(0) => {}
        End::Exit(_) => counts.fail(ProcessFailure::Exit),
        End::Signal(_) => counts.fail(ProcessFailure::Signal),
    }
    Ok(printed)
}

async fn to_the_end(pipe: &pipe::Receiver, printed: &mut Vec<u8>, limit: usize) -> Result<(), Failed> {
    loop {
        pipe.readable().await?;
        if take(printed, limit, |room| pipe.try_read(room))? {
            return Ok(());
        }
    }
}

/// Takes what is there; true at the end.
fn take(
    printed: &mut Vec<u8>,
    limit: usize,
    mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
) -> Result<bool, Failed> {
    loop {
        // One byte more than allowed tells that there is more.
        let room = (limit + 1 - printed.len()).min(64 * 1024);
        let before = printed.len();
        printed.reserve(room.min(4096));
        let room = room.min(printed.capacity() - before);
        printed.resize(before + room, 0);
        let taken = read(&mut printed[before..]);
        printed.truncate(before + *taken.as_ref().unwrap_or(&0));
        match taken {
            Ok(0) => return Ok(true),
            Ok(_) if printed.len() > limit => return Err(Failed::TooMuch),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}
