//! The entries of a directory as they stream from the kernel: one is held at a time, however many there are.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Dir, OFlags};

use super::names::{self, Reserved};
use super::{DiskFolder, Entries, Entry, HomePath, Kind, StorageError, entry, look};
use crate::storage::Folder;

/// A directory being listed.
struct Directory {
    folder: DiskFolder,
    path: PathBuf,
    open: OwnedFd,
    entries: Dir,
}

/// A file listed as itself.
struct One(Option<Entry>);

pub(super) fn list(folder: &DiskFolder, path: &HomePath) -> Result<Box<dyn Entries>, StorageError> {
    let open = match folder.open_beneath(path.relative(), OFlags::RDONLY | OFlags::DIRECTORY) {
        Ok(open) => open,
        Err(StorageError::NotAFolder | StorageError::NotFound) => {
            let mut found = folder.find(path)?;
            if found.kind == Kind::Partial && names::of_shown(&found.name).is_none() {
                found.name = names::shown(&found.name);
            }
            return Ok(Box::new(One(Some(found))));
        }
        Err(error) => return Err(error),
    };
    let folder = DiskFolder { root: folder.root.try_clone()?, disk: Arc::clone(&folder.disk) };
    let entries = Dir::read_from(&open)?;
    Ok(Box::new(Directory { folder, path: path.relative().to_path_buf(), open, entries }))
}

impl Entries for One {
    fn next(&mut self) -> Result<Option<Entry>, StorageError> {
        Ok(self.0.take())
    }
}

impl Entries for Directory {
    fn next(&mut self) -> Result<Option<Entry>, StorageError> {
        while let Some(read) = self.entries.read() {
            let read = read?;
            let name = OsStr::from_bytes(read.file_name().to_bytes());
            if let Some(found) = self.look_up(name)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

impl Directory {
    /// What is shown of a name; none for what is not, and for what went away since.
    fn look_up(&self, name: &OsStr) -> Result<Option<Entry>, StorageError> {
        if name == "." || name == ".." {
            return Ok(None);
        }
        let Some(stat) = look(&self.open, name)? else { return Ok(None) };
        if !names::is_reserved(name.as_bytes()) {
            let stat = self.folder.follow(&self.path.join(Path::new(name)), stat);
            return Ok(Some(entry(name.into(), &stat, false)));
        }
        let Some(Reserved::Partial(of)) = names::reserved(name) else { return Ok(None) };
        let shown = names::shown(&of);
        // A client's own file of that name goes first.
        let hidden = look(&self.open, &shown)?.is_some();
        Ok((!hidden).then(|| entry(shown, &stat, true)))
    }
}
