//! An upload to the local disk: a temporary file beside its target, renamed into place at the end.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{
    AtFlags, Mode, OFlags, ResolveFlags, fdatasync, fstat, ioctl_ficlone, openat2, renameat, unlinkat,
};
use rustix::io::Errno;

use super::{Disk, DiskFolder, FILE_MODE, HomePath, How, StorageError, Upload};
use super::{counted, is_folder, is_regular, look, names};
use crate::config::Durability;

/// How many random names are tried for a temporary file.
const TRIES: usize = 8;

/// An upload to the local disk.
pub(super) struct DiskUpload {
    parent: OwnedFd,
    name: OsString,
    temporary: OsString,
    file: File,
    /// Where the next byte goes, and how large the file is.
    position: u64,
    size: u64,
    continued: u64,
    /// Whether the client has sent anything.
    has_arrived: bool,
    /// Began with an offset, so that a cut keeps it even beside a complete file.
    resumed: bool,
    /// The complete file that it goes on with and that is still to be copied, and that file's size.
    source: Option<(File, u64)>,
    disk: Arc<Disk>,
}

impl DiskUpload {
    /// Begins one. Names change here, so the caller holds the home's order.
    pub(super) fn open(folder: &DiskFolder, path: &HomePath, how: How) -> Result<Self, StorageError> {
        let (parent, name) = folder.place(path)?;
        let complete = look(&parent, name)?;
        if complete.as_ref().is_some_and(is_folder) {
            return Err(StorageError::IsAFolder);
        }
        let disk = folder.disk.clone();
        if how == How::Create {
            return Self::create(parent, name, disk);
        }
        if complete.is_some() {
            return Self::from_complete(folder, path, how);
        }
        match (folder.partial(&parent, name)?, how) {
            (Some((partial, stat)), _) => {
                Self::from_partial((parent, name), (&partial, counted(&stat)), how, disk)
            }
            (None, How::At { offset: 1.., .. }) => Err(StorageError::Offset),
            (None, _) => Self::create(parent, name, disk),
        }
    }

    fn create(parent: OwnedFd, name: &OsStr, disk: Arc<Disk>) -> Result<Self, StorageError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for _ in 0..TRIES {
            let temporary = names::temporary(name);
            match openat2(&parent, &temporary, flags, Mode::from(FILE_MODE), ResolveFlags::BENEATH) {
                Ok(file) => {
                    let file = File::from(file);
                    return Ok(Self::new(parent, name, temporary, file, disk));
                }
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StorageError::Busy)
    }

    fn new(parent: OwnedFd, name: &OsStr, temporary: OsString, file: File, disk: Arc<Disk>) -> Self {
        DiskUpload {
            parent,
            name: name.into(),
            temporary,
            file,
            position: 0,
            size: 0,
            continued: 0,
            has_arrived: false,
            resumed: false,
            source: None,
            disk,
        }
    }

    /// Goes on with what a complete file has: in a copy, so that a cut leaves the file as it was.
    fn from_complete(folder: &DiskFolder, path: &HomePath, how: How) -> Result<Self, StorageError> {
        let old = folder.open_beneath(path.relative(), OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
        let stat = fstat(&old)?;
        if !is_regular(&stat) {
            return Err(StorageError::NotAFile);
        }
        let whole = counted(&stat);
        let (position, size) = begins(how, whole)?;
        let (parent, name) = folder.place(path)?;
        let mut new = Self::create(parent, name, folder.disk.clone())?;
        (new.position, new.size) = (position, size);
        new.resumed = matches!(how, How::At { .. });
        new.source = Some((old.into(), whole));
        Ok(new)
    }

    /// Goes on with a partial, which until the end is this upload's alone.
    fn from_partial(
        (parent, name): (OwnedFd, &OsStr),
        (partial, size): (&OsStr, u64),
        how: How,
        disk: Arc<Disk>,
    ) -> Result<Self, StorageError> {
        let (position, length) = begins(how, size)?;
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(openat2(&parent, partial, flags, Mode::empty(), ResolveFlags::BENEATH)?);
        if length < size {
            file.set_len(length)?;
        }
        let temporary = names::temporary(name);
        renameat(&parent, partial, &parent, &temporary)?;
        let mut new = Self::new(parent, name, temporary, file, disk);
        (new.position, new.size, new.continued) = (position, length, size);
        new.resumed = matches!(how, How::At { .. });
        Ok(new)
    }

    fn partial_name(&self) -> Option<OsString> {
        names::partial(&self.name)
    }
}

/// Where an upload goes on in a file of that size, and how much of the file it begins with.
fn begins(how: How, size: u64) -> Result<(u64, u64), StorageError> {
    match how {
        How::Create => Ok((0, 0)),
        How::Append => Ok((size, size)),
        How::At { offset, .. } if offset > size => Err(StorageError::Offset),
        How::At { offset, keep_tail: true } => Ok((offset, size)),
        How::At { offset, keep_tail: false } => Ok((offset, offset)),
    }
}

impl Upload for DiskUpload {
    fn size(&self) -> u64 {
        self.size
    }

    fn continued(&self) -> u64 {
        self.continued
    }

    fn prepare(&mut self) -> Result<(), StorageError> {
        let Some((old, whole)) = self.source.take() else { return Ok(()) };
        if self.size == 0 {
            return Ok(());
        }
        // Where the file system can, the blocks are shared (FICLONE); else the kernel copies them.
        if ioctl_ficlone(&self.file, &old).is_ok() {
            if self.size < whole {
                self.file.set_len(self.size)?;
            }
            return Ok(());
        }
        let copied = io::copy(&mut old.take(self.size), &mut self.file)?;
        if copied == self.size { Ok(()) } else { Err(StorageError::Busy) }
    }

    fn replaces(&self) -> Result<u64, StorageError> {
        match look(&self.parent, &self.name)? {
            Some(stat) if is_folder(&stat) => Err(StorageError::IsAFolder),
            Some(stat) => Ok(counted(&stat)),
            None => Ok(0),
        }
    }

    fn size_after(&self, more: u64) -> u64 {
        self.size.max(self.position.saturating_add(more))
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), StorageError> {
        self.file.seek(SeekFrom::Start(self.position))?;
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(StorageError::Full),
                Ok(n) => {
                    bytes = &bytes[n..];
                    self.has_arrived = true;
                    self.position += n as u64;
                    self.size = self.size.max(self.position);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        if self.disk.is_at_least(Durability::Rename) {
            fdatasync(&self.file)?;
        }
        Ok(())
    }

    fn publish(&mut self) -> Result<u64, StorageError> {
        let replaced = self.replaces()?;
        renameat(&self.parent, &self.temporary, &self.parent, &self.name)?;
        let Some(partial) = self.partial_name() else { return Ok(replaced) };
        let stale = look(&self.parent, &partial).ok().flatten();
        let freed = stale.as_ref().filter(|_| unlinkat(&self.parent, &partial, AtFlags::empty()).is_ok());
        Ok(replaced + freed.map_or(0, counted))
    }

    fn settle(&mut self) -> Result<(), StorageError> {
        self.disk.settle(&self.parent)
    }

    fn is_worth_keeping(&self) -> bool {
        let alone = || matches!(look(&self.parent, &self.name), Ok(None));
        // A copy of what the complete file has is nothing that anybody sent.
        let is_news = self.has_arrived || self.continued > 0;
        self.size > 0 && is_news && self.partial_name().is_some() && (self.resumed || alone())
    }

    fn keep(&mut self) -> Result<u64, StorageError> {
        let partial = self.partial_name().ok_or(StorageError::Name)?;
        let replaced = look(&self.parent, &partial)?.as_ref().map_or(0, counted);
        renameat(&self.parent, &self.temporary, &self.parent, &partial)?;
        Ok(replaced)
    }

    fn discard(&mut self) -> Result<(), StorageError> {
        Ok(unlinkat(&self.parent, &self.temporary, AtFlags::empty())?)
    }
}
