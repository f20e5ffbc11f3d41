//! What the storage promises while everything happens at once: quotas to the byte, and nothing outside of a home.
//! With POLYGATE_STRESS set it is as much as `ci/slow/storage.sh` wants, else as much as a test may take.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use polygate::config::Durability;
use polygate::storage::disk::{Disk, DiskFolder};
use polygate::storage::{Home, HomePath, How, Kind, Pool, StorageError, Usage};
use rustix::fs::{CWD, RenameFlags, renameat_with};

/// A home in that folder, as after a start.
pub(crate) fn home(folder: &Path, quota: u64, durability: Durability) -> Home {
    let folder = DiskFolder::open(folder, Disk::new(durability)).unwrap();
    Home::new(Arc::new(folder), Arc::new(Usage::new(quota, false)), Pool::new(64))
}

pub(crate) fn at(name: &str) -> HomePath {
    HomePath::ROOT.join(name).unwrap()
}

/// The sizes of all regular files below a folder.
pub(crate) fn sum(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let size = |path: PathBuf| {
        let meta = path.symlink_metadata().unwrap();
        if meta.is_dir() { sum(&path) } else { u64::from(meta.is_file()) * meta.len() }
    };
    entries.map(|entry| size(entry.path())).sum()
}

/// Much where the slow script asks for it.
pub(crate) fn much(otherwise: usize, stress: usize) -> usize {
    if std::env::var_os("POLYGATE_STRESS").is_some() { stress } else { otherwise }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap()
}

#[test]
fn writers_at_a_quota_pass_it_by_no_byte() {
    const QUOTA: u64 = 10 << 20;
    const WRITERS: usize = 64;
    let folder = tempfile::tempdir().unwrap();
    let files = home(folder.path(), QUOTA, Durability::Rename);
    let refused = Arc::new(AtomicUsize::new(0));
    runtime().block_on(async {
        for round in 0..much(3, 50) {
            let writers: Vec<_> = (0..WRITERS)
                .map(|n| tokio::spawn(write_much(files.clone(), n, round, refused.clone())))
                .collect();
            for writer in writers {
                writer.await.unwrap();
            }
            let there = sum(folder.path());
            assert!(there <= QUOTA, "round {round}: {there} bytes");
            assert_eq!(files.usage().used(), there, "round {round}");
            // Nearly full, so that the next round has to replace and to be refused.
            assert!(there > QUOTA / 4, "round {round}: only {there} bytes");
        }
    });
    assert!(refused.load(Relaxed) > 0, "the quota was never met");
}

/// One upload: new, over another, appended, cut, or renamed over another.
async fn write_much(files: Home, n: usize, round: usize, refused: Arc<AtomicUsize>) {
    let name = format!("f{}", (n + round) % 48);
    let size = (n * 7919 + round * 104_729) % 500_000 + 1;
    let how = if n.is_multiple_of(9) { How::Append } else { How::Create };
    let mut sink = match files.open_write(&at(&name), how, None).await {
        Ok(sink) => sink,
        Err(StorageError::Quota) => {
            refused.fetch_add(1, Relaxed);
            return;
        }
        Err(error) => panic!("{name}: {error}"),
    };
    for piece in 0..4 {
        let bytes = vec![b'x'; if piece < 3 { size / 4 } else { size - size / 4 * 3 }];
        let (_, result) = sink.write(bytes).await;
        assert!(files.usage().used() <= files.usage().quota());
        if let Err(error) = result {
            assert!(matches!(error, StorageError::Quota), "{error}");
            refused.fetch_add(1, Relaxed);
            return sink.keep().await.unwrap();
        }
    }
    match n % 8 {
        0 => sink.keep().await.unwrap(),
        1 => sink.discard().await.unwrap(),
        2 => drop(sink),
        // Refused only if the file that it was to replace has gone meanwhile.
        _ => drop(sink.commit().await),
    }
    if n % 8 == 2 {
        // What is dropped is put in order by another thread; the next operation of this one comes later.
        while files.find(&at(&format!("{name}.partial"))).await.is_err()
            && files.find(&at(&name)).await.is_err()
        {
            tokio::task::yield_now().await;
        }
    }
    match n % 16 {
        3 => drop(files.rename(&at(&name), &at(&format!("f{}", n % 40))).await),
        4 => drop(files.remove(&at(&name)).await),
        5 => drop(files.remove(&at(&format!("{name}.partial"))).await),
        _ => {}
    }
}

/// Somebody else on the machine swaps a directory for a link that leads out, as fast as they can, while clients
/// read, write, list, rename and remove through it.
#[test]
fn nobody_gets_out_however_names_are_swapped() {
    let folder = tempfile::tempdir().unwrap();
    let (inside, outside) = (folder.path().join("home"), folder.path().join("outside"));
    for path in [&inside, &outside, &inside.join("d"), &inside.join("d/sub"), &outside.join("sub")] {
        fs::create_dir(path).unwrap();
    }
    fs::write(outside.join("secret"), "secret").unwrap();
    fs::write(outside.join("sub/secret"), "secret").unwrap();
    symlink(&outside, inside.join("swap")).unwrap();
    symlink("../../outside", inside.join("d/up")).unwrap();

    let done = Arc::new(AtomicBool::new(false));
    let swapper = std::thread::spawn({
        let (done, inside) = (done.clone(), inside.clone());
        move || {
            let mut swaps = 0_u64;
            while !done.load(Relaxed) {
                let (a, b) = (inside.join("d"), inside.join("swap"));
                renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).unwrap();
                swaps += 1;
            }
            swaps
        }
    });
    let reached = Arc::new(AtomicUsize::new(0));
    let each = much(400, 100_000) / 4;
    runtime().block_on(async {
        let files = home(&inside, 1 << 30, Durability::None);
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let (files, reached) = (files.clone(), reached.clone());
                tokio::spawn(async move {
                    for n in 0..each {
                        if one_operation(&files, client, n).await {
                            reached.fetch_add(1, Relaxed);
                        }
                    }
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
    });
    done.store(true, Relaxed);
    assert!(swapper.join().unwrap() > 100, "nothing was swapped");
    assert!(reached.load(Relaxed) > each / 50, "hardly anything was reached: {reached:?} of {}", each * 4);
    // Nothing has come to the outside, and nothing of it has gone or changed.
    let names = |path: &Path| {
        let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&outside), ["secret", "sub"]);
    assert_eq!(names(&outside.join("sub")), ["secret"]);
    assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "secret");
}

/// True if it got at something inside.
async fn one_operation(files: &Home, client: usize, n: usize) -> bool {
    let top = if n.is_multiple_of(2) { "d" } else { "swap" };
    let own = at(&format!("{top}/sub/{client}-{}", n % 7));
    match n % 9 {
        0 | 1 => match files.open_write(&own, How::Create, None).await {
            Ok(mut sink) => sink.write(vec![b'x'; 10]).await.1.is_ok() && sink.commit().await.is_ok(),
            Err(_) => false,
        },
        2 => files.open_read(&own, 0).await.is_ok(),
        3 => {
            let mut listing = match files.list(&at(&format!("{top}/sub"))).await {
                Ok(listing) => listing,
                Err(_) => return false,
            };
            while let Ok(Some(batch)) = listing.next().await {
                assert!(batch.iter().all(|entry| entry.name != "secret"), "the outside was listed");
            }
            true
        }
        4 => files.remove(&own).await.is_ok(),
        5 => files.rename(&own, &at(&format!("{top}/sub/{client}-x"))).await.is_ok(),
        6 => {
            let path = at(&format!("{top}/sub/f{client}"));
            files.make_folder(&path).await.is_ok() | files.remove_folder(&path).await.is_ok()
        }
        7 => {
            for secret in ["secret", "sub/secret", "up/secret", "up/sub/secret"] {
                let path = at(&format!("{top}/{secret}"));
                assert!(files.open_read(&path, 0).await.is_err(), "{path} was read");
                assert!(files.find(&path).await.is_err(), "{path} was seen");
                assert!(files.remove(&path).await.is_err(), "{path} was removed");
            }
            false
        }
        _ => files.find(&at(&format!("{top}/sub"))).await.is_ok_and(|entry| entry.kind == Kind::Folder),
    }
}
