//! The files of one account, as handlers use them: asynchronous, counted, on a bounded pool of threads.

use std::fs::File;
use std::io::{self, Read as _};
use std::sync::Arc;
use std::time::SystemTime;

use super::{
    Capabilities, Entries, Entry, Folder, HomePath, How, Kind, Pool, Reader, Sink, StorageError, Usage,
};

/// How many entries of a directory are looked up at once, and so held.
const BATCH: usize = 256;

/// The files of one account. Cheap to clone; everyone who is in it shares its [`Usage`].
#[derive(Debug, Clone)]
pub struct Home {
    folder: Arc<dyn Folder>,
    usage: Arc<Usage>,
    pool: Pool,
    /// Whether it is known how much is in it, or nobody asks.
    counts: bool,
}

impl Home {
    /// With an account that is counted before the first operation.
    pub fn new(folder: Arc<dyn Folder>, usage: Arc<Usage>, pool: Pool) -> Self {
        Home { folder, usage, pool, counts: true }
    }

    /// A folder that belongs to nobody and that nobody can change: for anonymous guests.
    pub fn read_only(folder: Arc<dyn Folder>, pool: Pool) -> Self {
        Home { folder, usage: Arc::new(Usage::new(0, true)), pool, counts: false }
    }

    /// What the place can do.
    pub fn capabilities(&self) -> Capabilities {
        self.folder.capabilities()
    }

    /// Quota, and how much of it is taken. Exact once [`Home::counted`] has returned.
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// Waits until its files have been counted; the first one who asks counts.
    ///
    /// # Errors
    /// What the system says; the next one who asks tries again.
    pub async fn counted(&self) -> Result<(), StorageError> {
        if !self.counts {
            return Ok(());
        }
        let count = || async {
            let (folder, usage) = (self.folder.clone(), self.usage.clone());
            let count = move || {
                let _order = usage.in_order();
                folder.recount().map(|bytes| usage.set_used(bytes))
            };
            self.pool.run(count).await
        };
        self.usage.counted().get_or_try_init(count).await.copied()
    }

    /// What is at a name: the complete file or directory, else the partial.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] and the like, here and below.
    pub async fn find(&self, path: &HomePath) -> Result<Entry, StorageError> {
        self.read(path, |folder, path| folder.find(path)).await
    }

    /// The entry of a directory, for a change of the working directory.
    ///
    /// # Errors
    /// [`StorageError::NotAFolder`] where it is something else.
    pub async fn find_folder(&self, path: &HomePath) -> Result<Entry, StorageError> {
        match self.find(path).await? {
            entry if entry.kind == Kind::Folder => Ok(entry),
            entry if entry.kind == Kind::Partial => Err(StorageError::NotFound),
            _ => Err(StorageError::NotAFolder),
        }
    }

    /// Opens a complete file, or a partial by its own name (`NAME.partial`).
    ///
    /// # Errors
    /// [`StorageError::Offset`] beyond the end; [`StorageError::Incomplete`] where only a partial has the name.
    pub async fn open_read(&self, path: &HomePath, offset: u64) -> Result<Reader, StorageError> {
        self.read(path, move |folder, path| folder.open_read(path, offset)).await
    }

    /// Reads what comes next in a file, at most so many bytes; none at the end.
    pub async fn read_some(&self, mut file: File, at_most: usize) -> (File, io::Result<Vec<u8>>) {
        let read = move || {
            let mut bytes = vec![0; at_most];
            let result = file.read(&mut bytes).map(|n| {
                bytes.truncate(n);
                bytes
            });
            (file, result)
        };
        self.pool.run(read).await
    }

    /// Does something that blocks, with an open file say, where that is done for this home.
    pub async fn block<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        self.pool.run(work).await
    }

    /// The entries of a directory, a batch at a time; a file is listed as itself.
    ///
    /// # Errors
    /// Those of opening it.
    pub async fn list(&self, path: &HomePath) -> Result<Listing, StorageError> {
        let entries = self.read(path, |folder, path| folder.list(path)).await?;
        Ok(Listing { entries: Some(entries), pool: self.pool.clone() })
    }

    /// Begins an upload. `expected` is the size that the whole file will have, where the client said so: it is
    /// reserved at once. What is known to be impossible fails here, before anything is promised.
    ///
    /// # Errors
    /// [`StorageError::Quota`] where nothing is left, [`StorageError::IsAFolder`], [`StorageError::Offset`]…
    pub async fn open_write(
        &self,
        path: &HomePath,
        how: How,
        expected: Option<u64>,
    ) -> Result<Sink, StorageError> {
        let usage = self.usage.clone();
        let pool = self.pool.clone();
        self.write(path, move |folder, path| {
            let upload = {
                let _order = usage.in_order();
                folder.open_write(path, how)?
            };
            Sink::begin(upload, usage, pool, expected)
        })
        .await
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// [`StorageError::Exists`]…
    pub async fn make_folder(&self, path: &HomePath) -> Result<(), StorageError> {
        self.write(path, |folder, path| folder.make_folder(path)).await
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// [`StorageError::NotEmpty`], [`StorageError::NotAFolder`]…
    pub async fn remove_folder(&self, path: &HomePath) -> Result<(), StorageError> {
        self.write(path, |folder, path| folder.remove_folder(path)).await
    }

    /// Removes a file, or a partial by its own name. A directory is [`StorageError::IsAFolder`].
    ///
    /// # Errors
    /// As above.
    pub async fn remove(&self, path: &HomePath) -> Result<(), StorageError> {
        let usage = self.usage.clone();
        self.write(path, move |folder, path| {
            let _order = usage.in_order();
            folder.remove(path).map(|freed| usage.release(freed))
        })
        .await
    }

    /// Renames a file, a directory, or a partial by its own name. A file that has the new name is replaced.
    ///
    /// # Errors
    /// As above.
    pub async fn rename(&self, from: &HomePath, to: &HomePath) -> Result<(), StorageError> {
        let (usage, to) = (self.usage.clone(), to.clone());
        self.write(from, move |folder, from| {
            let _order = usage.in_order();
            folder.rename(from, &to).map(|freed| usage.release(freed))
        })
        .await
    }

    /// Sets when a file last changed.
    ///
    /// # Errors
    /// As above.
    pub async fn set_modified(&self, path: &HomePath, to: SystemTime) -> Result<(), StorageError> {
        self.write(path, move |folder, path| folder.set_modified(path, to)).await
    }

    /// Sets the permission bits; the gateway always keeps what it needs.
    ///
    /// # Errors
    /// As above.
    pub async fn set_mode(&self, path: &HomePath, mode: u32) -> Result<(), StorageError> {
        self.write(path, move |folder, path| folder.set_mode(path, mode)).await
    }

    async fn read<T: Send + 'static>(
        &self,
        path: &HomePath,
        work: impl FnOnce(&dyn Folder, &HomePath) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        self.usage.may_read()?;
        // Nothing is seen before what a crash left is put in order.
        self.counted().await?;
        let (folder, path) = (self.folder.clone(), path.clone());
        self.pool.run(move || work(&*folder, &path)).await
    }

    async fn write<T: Send + 'static>(
        &self,
        path: &HomePath,
        work: impl FnOnce(&dyn Folder, &HomePath) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        self.usage.may_write()?;
        self.read(path, work).await
    }
}

/// The entries of a directory, a batch at a time.
pub struct Listing {
    entries: Option<Box<dyn Entries>>,
    pool: Pool,
}

impl std::fmt::Debug for Listing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listing").finish_non_exhaustive()
    }
}

impl Listing {
    /// The next entries, at most a few hundred; none at the end. If the future is dropped, the listing is over.
    ///
    /// # Errors
    /// What the system says.
    pub async fn next(&mut self) -> Result<Option<Vec<Entry>>, StorageError> {
        let Some(mut entries) = self.entries.take() else { return Ok(None) };
        let (entries, batch) = self
            .pool
            .run(move || {
                let mut batch = Vec::new();
                while batch.len() < BATCH {
                    match entries.next() {
                        Ok(Some(entry)) => batch.push(entry),
                        Ok(None) => return (None, Ok(batch)),
                        Err(error) => return (None, Err(error)),
                    }
                }
                (Some(entries), Ok(batch))
            })
            .await;
        self.entries = entries;
        batch.map(|batch| (!batch.is_empty()).then_some(batch))
    }
}
