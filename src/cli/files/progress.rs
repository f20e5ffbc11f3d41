//! How far a transfer is, drawn on a terminal only; and the loop that moves the bytes.

use std::io::{self, ErrorKind, Read, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Bytes moved at once.
const PIECE: usize = 64 * 1024;

/// Which side failed.
#[derive(Debug)]
pub(super) enum Broken {
    Source(io::Error),
    Sink(io::Error),
}

/// Moves at most `limit` bytes, until the source ends, and gives their number. The bar begins at `offset` and ends at
/// `total` where that is known.
pub(super) fn copy(
    source: &mut dyn Read,
    sink: &mut dyn Write,
    limit: u64,
    offset: u64,
    total: Option<u64>,
) -> Result<u64, Broken> {
    let bar = bar(total);
    bar.set_position(offset);
    // What was there before is no part of the speed.
    bar.reset_eta();
    let mut buffer = vec![0; PIECE];
    let mut moved = 0;
    while moved < limit {
        let most = usize::try_from(limit - moved).unwrap_or(PIECE).min(PIECE);
        let count = match source.read(&mut buffer[..most]) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(Broken::Source(error)),
        };
        sink.write_all(&buffer[..count]).map_err(Broken::Sink)?;
        moved += count as u64;
        bar.set_position(offset + moved);
    }
    sink.flush().map_err(Broken::Sink)?;
    bar.finish_and_clear();
    Ok(moved)
}

/// It draws nothing where standard error is no terminal.
fn bar(total: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    let template = match total {
        Some(_) => "{wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}",
        None => "{spinner} {binary_bytes} {binary_bytes_per_sec} {elapsed}",
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_moved_than_was_asked_for() {
        let mut sink = Vec::new();
        assert_eq!(copy(&mut &b"hello"[..], &mut sink, 3, 0, Some(3)).unwrap(), 3);
        assert_eq!(copy(&mut &b"lo"[..], &mut sink, u64::MAX, 3, None).unwrap(), 2);
        assert_eq!(sink, b"hello");
    }
}
