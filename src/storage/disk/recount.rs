//! Counting a home at start, and putting in order what a crash left half done.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, ResolveFlags, openat2, renameat, unlinkat};
use rustix::io::Errno;

use super::names::{self, Reserved};
use super::{DiskFolder, StorageError, counted, is_folder, look};

/// The bytes of all regular files. A temporary file becomes the partial of its name, unless a complete file
/// has the name or it is empty: then it goes. Links are not followed.
pub(super) fn recount(folder: &DiskFolder) -> Result<u64, StorageError> {
    let mut total = 0;
    let mut left = vec![PathBuf::from(".")];
    while let Some(path) = left.pop() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let open = match openat2(&folder.root, &path, flags, Mode::empty(), resolve) {
            Ok(open) => open,
            // Removed or replaced by hand meanwhile.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            // Nobody gets at what the gateway may not read.
            Err(Errno::ACCESS) => {
                tracing::warn!(target: "polygate::storage", path = %path.display(), "a directory that cannot be read is not counted");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        total += count_one(&open, &path, &mut left)?;
    }
    Ok(total)
}

fn count_one(open: &OwnedFd, path: &Path, folders: &mut Vec<PathBuf>) -> Result<u64, StorageError> {
    let mut total = 0;
    let mut interrupted = Vec::new();
    let mut entries = Dir::read_from(open)?;
    while let Some(read) = entries.read() {
        let read = read?;
        let name = OsStr::from_bytes(read.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let Some(stat) = look(open, name)? else { continue };
        if is_folder(&stat) {
            folders.push(path.join(name));
        } else if let Some(Reserved::Temporary(of)) = names::reserved(name) {
            interrupted.push((name.to_os_string(), of, counted(&stat)));
        } else {
            total += counted(&stat);
        }
    }
    for (temporary, of, size) in interrupted {
        let (more, less) = adopt(open, &temporary, of, size)?;
        total = total + more - less;
    }
    Ok(total)
}

/// Returns by how many bytes what is there gets more, and less, than it was without the temporary file.
fn adopt(
    open: &OwnedFd,
    temporary: &OsString,
    of: Option<OsString>,
    size: u64,
) -> Result<(u64, u64), StorageError> {
    let wanted = match &of {
        Some(name) if size > 0 && look(open, name)?.is_none() => names::partial(name),
        _ => None,
    };
    let Some(partial) = wanted else {
        unlinkat(open, temporary, AtFlags::empty())?;
        return Ok((0, 0));
    };
    let replaced = look(open, &partial)?.as_ref().map_or(0, counted);
    renameat(open, temporary, open, &partial)?;
    Ok((size, replaced))
}
