//! Moves the bytes of files over data connections.
//!
//! A file goes out by `sendfile(2)` while it is in the page cache, without a copy in this program; what is not there
//! is brought there first by a thread that may block. What comes in is collected in large pieces. Text and listings go
//! through buffers.

use std::fs::File;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::{fstatfs, sendfile};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio_util::sync::CancellationToken;

use super::listing::{self, Format};
use super::names::refusal;
use super::pacer::Pacer;
use super::progress::Progress;
use super::reply::Reply;
use super::{FromWire, ToWire};
use crate::handlers::told::TransferFailure;
use crate::net::Stream;
use crate::storage::{Home, Listing, Sink, StorageError};

/// How much goes out at once.
const STEP: u64 = 1 << 20;

/// How much is collected before it is written.
const BUFFER: usize = 256 * 1024;

/// A file system that is always in memory (`statfs(2)`).
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// Why a transfer did not come to its end.
#[derive(Debug)]
pub(super) enum Failure {
    /// The client asked for it, or has gone.
    Aborted,
    /// Nothing has moved for too long.
    Timeout,
    /// The data connection failed.
    Data(io::Error),
    /// The place of the files failed.
    Storage(StorageError),
    /// Less came than ALLO had said.
    Short,
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Failure::Storage(error)
    }
}

impl Failure {
    pub(super) fn reply(&self) -> Reply {
        match self {
            Failure::Aborted => Reply::new(426, "Aborted."),
            Failure::Timeout => Reply::new(426, "Nothing has moved for too long."),
            Failure::Data(_) => Reply::new(426, "The data connection failed."),
            Failure::Short => Reply::new(426, "Less came than ALLO had said."),
            Failure::Storage(error) => refusal(error),
        }
    }

    pub(super) fn reason(&self) -> TransferFailure {
        match self {
            Failure::Aborted | Failure::Short => TransferFailure::ClientAbort,
            Failure::Timeout => TransferFailure::Timeout,
            Failure::Data(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                TransferFailure::ClientAbort
            }
            Failure::Data(error) if error.kind() == io::ErrorKind::BrokenPipe => TransferFailure::ClientAbort,
            Failure::Data(_) => TransferFailure::Io,
            Failure::Storage(error) => error.into(),
        }
    }
}

/// Does one step on the data connection: in time, or until somebody wants an end.
async fn step<T>(
    at_most: Duration,
    abort: &CancellationToken,
    work: impl Future<Output = io::Result<T>>,
) -> Result<T, Failure> {
    tokio::select! {
        biased;
        () = abort.cancelled() => Err(Failure::Aborted),
        done = tokio::time::timeout(at_most, work) => match done {
            Ok(done) => done.map_err(Failure::Data),
            Err(_) => Err(Failure::Timeout),
        },
    }
}

/// A file to be sent.
pub(super) struct Send {
    pub(super) home: Home,
    pub(super) file: Arc<File>,
    /// Where it begins, and how much follows.
    pub(super) from: u64,
    pub(super) left: u64,
    /// How long the client may take nothing.
    pub(super) at_most: Duration,
    pub(super) pacer: Pacer,
}

impl Send {
    /// As it is.
    pub(super) async fn image(
        mut self,
        mut data: Stream,
        progress: &Progress,
        abort: &CancellationToken,
    ) -> Result<(), Failure> {
        let Stream::Tcp(plain) = &data else {
            return self.through_buffers(None, data, progress, abort).await;
        };
        while self.left > 0 {
            let piece = self.pacer.turn(self.left.min(STEP), abort).await?;
            self.bring(piece).await?;
            let mut rest = piece;
            while rest > 0 {
                let mut at = self.from;
                let send = plain.async_io(Interest::WRITABLE, || {
                    Ok(sendfile(
                        plain,
                        &*self.file,
                        Some(&mut at),
                        usize::try_from(rest).unwrap_or(usize::MAX),
                    )?)
                });
                let sent = step(self.at_most, abort, send).await?;
                if sent == 0 {
                    return Err(StorageError::Io(io::ErrorKind::UnexpectedEof.into()).into());
                }
                progress.add(sent);
                self.pacer.moved(sent);
                self.from += sent as u64;
                self.left -= sent as u64;
                rest -= sent as u64;
            }
        }
        step(self.at_most, abort, data.shutdown()).await
    }

    /// As text: each line with CR LF at its end.
    pub(super) async fn text(
        self,
        data: Stream,
        progress: &Progress,
        abort: &CancellationToken,
    ) -> Result<(), Failure> {
        self.through_buffers(Some(ToWire::default()), data, progress, abort).await
    }

    /// Through buffers, as they are or as text.
    async fn through_buffers(
        mut self,
        mut codec: Option<ToWire>,
        mut data: Stream,
        progress: &Progress,
        abort: &CancellationToken,
    ) -> Result<(), Failure> {
        let mut output = Vec::new();
        while self.left > 0 {
            let piece = self.pacer.turn(self.left.min(BUFFER as u64 / 4), abort).await?;
            let (file, at) = (self.file.clone(), self.from);
            let read = self.home.block(move || read_at(&file, at, piece)).await;
            let input = read.map_err(StorageError::Io)?;
            if input.is_empty() {
                return Err(StorageError::Io(io::ErrorKind::UnexpectedEof.into()).into());
            }
            self.from += input.len() as u64;
            self.left -= input.len() as u64;
            let bytes = match &mut codec {
                None => &input,
                Some(codec) => {
                    output.clear();
                    codec.push(&input, &mut output);
                    &output
                }
            };
            write(&mut data, bytes, self.at_most, progress, abort).await?;
            self.pacer.moved(input.len());
        }
        step(self.at_most, abort, data.shutdown()).await
    }

    /// Sees to it that what comes next is in the page cache.
    async fn bring(&self, piece: u64) -> Result<(), Failure> {
        if is_cached(&self.file, self.from, piece) {
            return Ok(());
        }
        let (file, from) = (self.file.clone(), self.from);
        let brought = self.home.block(move || {
            let mut buffer = vec![0; BUFFER];
            let (mut at, end) = (from, from + piece);
            while at < end {
                match file.read_at(&mut buffer, at)? {
                    0 => break,
                    n => at += n as u64,
                }
            }
            Ok(())
        });
        brought.await.map_err(|error: io::Error| StorageError::Io(error).into())
    }
}

/// Whether a piece of a file can be read without a wait: its first and its last byte can. What lies between was read
/// with them, as files are read ahead.
fn is_cached(file: &File, from: u64, piece: u64) -> bool {
    let is_there = |at: u64| {
        let mut byte = [0];
        match preadv2(file, &mut [IoSliceMut::new(&mut byte)], at, ReadWriteFlags::NOWAIT) {
            Ok(_) => true,
            // Not every file system can tell; one in memory need not.
            Err(Errno::OPNOTSUPP) => fstatfs(file).is_ok_and(|found| found.f_type == TMPFS_MAGIC),
            Err(_) => false,
        }
    };
    is_there(from) && (piece <= 4096 || is_there(from + piece - 1))
}

fn read_at(file: &File, at: u64, piece: u64) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; usize::try_from(piece).unwrap_or(BUFFER)];
    let n = file.read_at(&mut buffer, at)?;
    buffer.truncate(n);
    Ok(buffer)
}

/// Writes all of it; each piece that the client takes begins the time anew.
async fn write(
    data: &mut Stream,
    mut bytes: &[u8],
    at_most: Duration,
    progress: &Progress,
    abort: &CancellationToken,
) -> Result<(), Failure> {
    while !bytes.is_empty() {
        let n = step(at_most, abort, data.write(bytes)).await?;
        if n == 0 {
            return Err(Failure::Data(io::ErrorKind::WriteZero.into()));
        }
        progress.add(n);
        bytes = &bytes[n..];
    }
    Ok(())
}

/// Sends a listing, a batch at a time.
pub(super) async fn send_list(
    mut data: Stream,
    mut listing: Listing,
    (format, pattern): (&Format, Option<&[u8]>),
    at_most: Duration,
    progress: &Progress,
    abort: &CancellationToken,
) -> Result<(), Failure> {
    let now = SystemTime::now();
    let mut text = Vec::new();
    while let Some(batch) = listing.next().await? {
        let fits = |name| pattern.is_none_or(|pattern| listing::fits(pattern, name));
        for entry in batch.iter().filter(|entry| fits(&entry.name)) {
            format.push(&mut text, entry, now);
        }
        write(&mut data, &text, at_most, progress, abort).await?;
        text.clear();
    }
    step(at_most, abort, data.shutdown()).await
}

/// A file to be received.
pub(super) struct Receive {
    pub(super) sink: Sink,
    /// How long the client may send nothing.
    pub(super) at_most: Duration,
    pub(super) pacer: Pacer,
    pub(super) ascii: bool,
    /// How much ALLO said comes at least.
    pub(super) allocated: Option<u64>,
}

impl Receive {
    /// Receives it. On return it is complete, or what came is kept as the storage has it.
    pub(super) async fn run(
        mut self,
        mut data: Stream,
        progress: &Progress,
        abort: &CancellationToken,
    ) -> Result<(), Failure> {
        let received = self.receive(&mut data, progress, abort).await;
        if received.is_ok() {
            // Some clients wait for our close_notify before they listen for 226; one that has gone misses nothing.
            let _ = step(self.at_most, abort, data.shutdown()).await;
        }
        let short = self.allocated.is_some_and(|bytes| progress.bytes().max(self.sink.size()) < bytes);
        // Where the client has gone with both connections, the end of the control connection is seen now.
        tokio::task::yield_now().await;
        let failure = match received {
            // A client that has gone before it could hear of the end cannot rely on it.
            Ok(()) if abort.is_cancelled() => Failure::Aborted,
            Ok(()) if short => Failure::Short,
            Ok(()) => return Ok(self.sink.commit().await?),
            Err(failure) => failure,
        };
        if let Err(error) = self.sink.keep().await {
            tracing::warn!(target: "polygate::storage", %error, "what arrived of an upload could not be kept");
        }
        Err(failure)
    }

    async fn receive(
        &mut self,
        data: &mut Stream,
        progress: &Progress,
        abort: &CancellationToken,
    ) -> Result<(), Failure> {
        let mut codec = self.ascii.then(FromWire::default);
        let mut buffer = Vec::with_capacity(BUFFER);
        loop {
            let most = self.pacer.turn((buffer.capacity() - buffer.len()) as u64, abort).await;
            let read = match most {
                Ok(most) => step(self.at_most, abort, data.take(most).read_buf(&mut buffer)).await,
                Err(failure) => Err(failure),
            };
            let n = *read.as_ref().unwrap_or(&0);
            progress.add(n);
            self.pacer.moved(n);
            let goes_on = matches!(read, Ok(n) if n > 0);
            if buffer.len() == buffer.capacity() || !goes_on {
                buffer = self.write(buffer, codec.as_mut()).await?;
            }
            match read {
                Ok(0) => break,
                Ok(_) => {}
                Err(failure) => return Err(failure),
            }
        }
        let mut rest = Vec::new();
        if let Some(codec) = codec {
            codec.finish(&mut rest);
        }
        if !rest.is_empty() {
            self.sink.write(rest).await.1?;
        }
        Ok(())
    }

    /// Writes what was collected, and gives an empty buffer back.
    async fn write(&mut self, buffer: Vec<u8>, codec: Option<&mut FromWire>) -> Result<Vec<u8>, Failure> {
        let (mut buffer, result) = match codec {
            None => self.sink.write(buffer).await,
            Some(codec) => {
                let mut text = Vec::with_capacity(buffer.len() + 1);
                codec.push(&buffer, &mut text);
                let (_, result) = self.sink.write(text).await;
                (buffer, result)
            }
        };
        result?;
        buffer.clear();
        Ok(buffer)
    }
}
