//! An upload under way, counted byte by byte, that ends in exactly one of three ways: complete, partial, gone.

use std::sync::Arc;

use super::{Pool, StorageError, Upload, Usage};

/// An upload under way. Dropping it is what a cut is: what arrived is kept as [`Sink::keep`] says.
#[derive(Debug)]
pub struct Sink {
    held: Option<Held>,
    size: u64,
    pool: Pool,
}

impl Sink {
    /// Over an upload that has just been opened. Blocks.
    pub(super) fn begin(
        upload: Box<dyn Upload>,
        usage: Arc<Usage>,
        pool: Pool,
        expected: Option<u64>,
    ) -> Result<Self, StorageError> {
        let charged = upload.continued();
        let mut parts = Parts { upload, usage, charged, credit: 0, expected: expected.unwrap_or(0) };
        if let Err(error) = parts.begin(expected.is_some()) {
            // A partial that it would have continued stays one; a new file has nothing worth keeping.
            log_failure(if charged > 0 { parts.keep() } else { parts.discard() });
            return Err(error);
        }
        Ok(Sink { size: parts.upload.size(), held: Some(Held(Some(parts))), pool })
    }

    /// How large the file is by now, in bytes: where an upload begins at an offset that counts too.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Writes all of it, reserved first, and gives the buffer back. After an error [`Sink::keep`] still is
    /// possible: it has what was written. If the future is dropped, the upload is over.
    pub async fn write<B>(&mut self, bytes: B) -> (B, Result<(), StorageError>)
    where
        B: AsRef<[u8]> + Send + 'static,
    {
        let Some(mut held) = self.held.take() else { return (bytes, Err(StorageError::Closed)) };
        let write = move || {
            let result = held.write(bytes.as_ref());
            (held, bytes, result)
        };
        let (held, bytes, result) = self.pool.run(write).await;
        self.size = held.size();
        self.held = Some(held);
        (bytes, result)
    }

    /// The upload has ended in order: it becomes the name's complete file, at once and as a whole. On return it
    /// is as durable as configured. If the future is dropped, it ends in one way or the other.
    ///
    /// # Errors
    /// The file that had the name is still there, but for an error of the last step, which says that the new
    /// one may not survive a power cut. What arrived is kept where it is worth it.
    pub async fn commit(mut self) -> Result<(), StorageError> {
        self.end(Held::commit).await
    }

    /// The upload was cut: what arrived becomes the name's partial, unless it would have replaced a complete
    /// file and did not begin with [`How::At`](super::How::At), or nothing arrived.
    ///
    /// # Errors
    /// What the system says.
    pub async fn keep(mut self) -> Result<(), StorageError> {
        self.end(Held::keep).await
    }

    /// What arrived goes away.
    ///
    /// # Errors
    /// What the system says.
    pub async fn discard(mut self) -> Result<(), StorageError> {
        self.end(Held::discard).await
    }

    async fn end(&mut self, how: fn(&mut Held) -> Result<(), StorageError>) -> Result<(), StorageError> {
        let Some(mut held) = self.held.take() else { return Err(StorageError::Closed) };
        self.pool.run(move || how(&mut held)).await
    }
}

/// What must be undone if nobody ends it. Its methods block.
struct Held(Option<Parts>);

struct Parts {
    upload: Box<dyn Upload>,
    usage: Arc<Usage>,
    /// What of [`Usage::used`] is this upload's.
    charged: u64,
    /// The size of the file that it replaces: only what goes beyond is charged. What is true at the commit is
    /// looked up there.
    credit: u64,
    /// What the client said the size will be; it stays reserved.
    expected: u64,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("size", &self.size()).finish()
    }
}

impl Held {
    fn size(&self) -> u64 {
        self.0.as_ref().map_or(0, |parts| parts.upload.size())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        let Some(parts) = &mut self.0 else { return Err(StorageError::Closed) };
        parts.usage.may_write()?;
        let size = parts.upload.size_after(bytes.len() as u64);
        parts.charge(size.max(parts.expected))?;
        parts.upload.write(bytes)
    }

    fn commit(&mut self) -> Result<(), StorageError> {
        let Some(mut parts) = self.0.take() else { return Err(StorageError::Closed) };
        let done = parts.usage.may_write().and_then(|()| parts.upload.sync());
        if let Err(error) = done.and_then(|()| parts.publish()) {
            // Nothing has changed yet; what the disk has lost is not worth keeping.
            let rest = if error.is_the_disk() { parts.discard() } else { parts.keep() };
            log_failure(rest);
            return Err(error);
        }
        parts.upload.settle()
    }

    fn keep(&mut self) -> Result<(), StorageError> {
        self.0.take().map_or(Ok(()), |mut parts| parts.keep())
    }

    fn discard(&mut self) -> Result<(), StorageError> {
        self.0.take().map_or(Ok(()), |mut parts| parts.discard())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(mut parts) = self.0.take() else { return };
        let mut keep = move || log_failure(parts.keep());
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(keep)),
            Err(_) => keep(),
        }
    }
}

/// What arrived could not be kept or removed, and nobody is there to hear it: the next start counts it.
fn log_failure(result: Result<(), StorageError>) {
    if let Err(error) = result {
        tracing::warn!(target: "polygate::storage", %error, "cannot put a cut upload in order");
    }
}

impl Parts {
    fn begin(&mut self, size_is_known: bool) -> Result<(), StorageError> {
        if self.charged == 0 {
            self.credit = self.upload.replaces()?;
        }
        self.charge(self.upload.size().max(self.expected))?;
        if !size_is_known && self.usage.free() == 0 && self.charged >= self.credit {
            return Err(StorageError::Quota);
        }
        self.upload.prepare()
    }

    /// Takes or gives back what the account has for a file of that size.
    fn charge(&mut self, size: u64) -> Result<(), StorageError> {
        self.charge_exactly(size.saturating_sub(self.credit))
    }

    fn charge_exactly(&mut self, bytes: u64) -> Result<(), StorageError> {
        if bytes > self.charged {
            self.usage.reserve(bytes - self.charged)?;
        } else {
            self.usage.release(self.charged - bytes);
        }
        self.charged = bytes;
        Ok(())
    }

    fn publish(&mut self) -> Result<(), StorageError> {
        let usage = self.usage.clone();
        let _order = usage.in_order();
        let size = self.upload.size();
        // The file that would be replaced may have changed since the upload began.
        let needed = size.saturating_sub(self.upload.replaces()?);
        if needed > self.charged {
            self.charge_exactly(needed)?;
        }
        let freed = self.upload.publish()?;
        // From here on the file is in the account as a whole, and what it replaced is not.
        let (had, has) = (self.charged + freed, size);
        if had > has {
            usage.release(had - has)
        } else {
            usage.add(has - had)
        }
        self.charged = 0;
        Ok(())
    }

    fn keep(&mut self) -> Result<(), StorageError> {
        let usage = self.usage.clone();
        let _order = usage.in_order();
        let size = self.upload.size();
        // A partial replaces nothing, so it counts as a whole.
        if !self.upload.is_worth_keeping() || self.charge_exactly(size).is_err() {
            return self.discard_in_order();
        }
        let freed = self.upload.keep()?;
        usage.release(freed);
        Ok(())
    }

    fn discard(&mut self) -> Result<(), StorageError> {
        let usage = self.usage.clone();
        let _order = usage.in_order();
        self.discard_in_order()
    }

    fn discard_in_order(&mut self) -> Result<(), StorageError> {
        self.upload.discard()?;
        self.charge_exactly(0)
    }
}
