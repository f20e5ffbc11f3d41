//! Uploads while the program is killed, the power fails, and the disk is full.
//!
//! The test binary runs itself once more as the program that is killed: it uploads, overwrites and cuts without end
//! and says on standard output which versions have been acknowledged. `ci/slow/storage.sh` kills 200 times,
//! `ci/slow/powercut.sh` runs the same on a disk that it switches off.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use polygate::config::Durability;
use polygate::storage::{How, StorageError};

use crate::storage::{at, home, much, sum};

/// How many upload at once, each to names of its own.
const WRITERS: u64 = 8;

/// Where the program that is killed has its files.
const FOLDER: &str = "POLYGATE_CRASH_FOLDER";

/// Set where nothing is to be synced: the control, in which a power cut must lose something.
const UNSAFE: &str = "POLYGATE_CRASH_UNSAFE";

/// What it said on standard output.
const ACKED: &str = "POLYGATE_CRASH_ACKED";

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap()
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from)
}

/// What a version of a file has in it: a line that says which, and as many bytes as it says.
fn content(version: u64) -> Vec<u8> {
    let length = usize::try_from(version * 7919 % 60_000).unwrap() + 100;
    let mut bytes = format!("{version} {length}\n").into_bytes();
    bytes.resize(length, b'a' + u8::try_from(version % 26).unwrap());
    bytes
}

/// The version that a file is, if it is whole.
fn version(bytes: &[u8]) -> Option<u64> {
    let line = bytes.split(|byte| *byte == b'\n').next()?;
    let version = std::str::from_utf8(line).ok()?.split(' ').next()?.parse().ok()?;
    (content(version) == bytes).then_some(version)
}

#[test]
#[ignore = "it is started, and killed, by the other tests"]
fn upload_without_end() {
    let Some(folder) = variable(FOLDER) else { return };
    runtime().block_on(async {
        let none = std::env::var_os(UNSAFE).is_some();
        let durability = if none { Durability::None } else { Durability::Acked };
        let files = home(&folder, 1 << 30, durability);
        let writers = (0..WRITERS).map(|writer| {
            let files = files.clone();
            tokio::spawn(async move {
                for n in 1.. {
                    let name = format!("f{writer}-{}", n % 3);
                    // Some are cut, and must leave the version before.
                    let cut = n % 5 == 4;
                    let version = n * WRITERS + writer;
                    let mut sink = files.open_write(&at(&name), How::Create, None).await.unwrap();
                    for piece in content(version).chunks(20_000) {
                        sink.write(piece.to_vec()).await.1.unwrap();
                    }
                    if cut {
                        sink.keep().await.unwrap();
                    } else {
                        sink.commit().await.unwrap();
                        let mut out = std::io::stdout().lock();
                        writeln!(out, "acked {name} {version}").unwrap();
                        out.flush().unwrap();
                    }
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            let _ = writer.await;
        }
    });
}

#[test]
#[ignore = "ci/slow/powercut.sh runs it after the power cut"]
fn what_was_acknowledged_is_whole() {
    let (Some(folder), Some(acked)) = (variable(FOLDER), variable(ACKED)) else { return };
    let lines = fs::read_to_string(acked).unwrap();
    let acked = acknowledged(lines.lines());
    verify(&folder, &acked);
}

/// The last version of each name that was acknowledged. The last line may be cut.
fn acknowledged<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<String, u64> {
    let mut acked = BTreeMap::new();
    for line in lines {
        let mut words = line.split(' ');
        if let (Some("acked"), Some(name), Some(version)) = (words.next(), words.next(), words.next())
            && let Ok(version) = version.parse()
        {
            acked.insert(name.to_owned(), version);
        }
    }
    acked
}

/// No file is torn, no acknowledged version lost for an older one, and the count is the sum.
#[track_caller]
fn verify(folder: &Path, acked: &BTreeMap<String, u64>) {
    runtime().block_on(async {
        let files = home(folder, 1 << 30, Durability::Acked);
        files.counted().await.unwrap();
        assert_eq!(files.usage().used(), sum(folder));
    });
    for (name, least) in acked {
        let bytes = fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let found = version(&bytes).unwrap_or_else(|| panic!("{name} is torn: {} bytes", bytes.len()));
        assert!(found >= *least, "{name}: version {least} was acknowledged, {found} is there");
    }
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with('f') {
            assert!(version(&fs::read(entry.path()).unwrap()).is_some(), "{name} is torn");
        } else {
            assert!(name.ends_with(".partial") || name == "lost+found", "{name} was left over");
        }
    }
}

/// The command that runs one of the ignored tests.
fn own(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let name = OsString::from(format!("storage_crash::{test}"));
    command.args(["--ignored", "--exact", "--nocapture", "--test-threads=1"]).arg(name);
    command
}

#[test]
fn a_kill_at_any_moment_tears_no_file_and_loses_no_version() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = BTreeMap::new();
    for round in 0..much(4, 200) {
        let mut child = own("upload_without_end")
            .env(FOLDER, folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // After some uploads, at whatever moment comes next.
        let after = 5 + round * 13 % 40;
        let mut heard: Vec<String> = lines.by_ref().map_while(Result::ok).take(after).collect();
        wait(Duration::from_micros(u64::try_from(round * 1237 % 9000).unwrap()));
        child.kill().unwrap();
        child.wait().unwrap();
        heard.extend(lines.map_while(Result::ok));
        assert!(heard.len() >= after, "it ended by itself: {heard:?}");
        // Versions begin anew in each round.
        for (name, version) in acknowledged(heard.iter().map(String::as_str)) {
            all.insert(name, version);
        }
        verify_round(folder.path(), &all, &heard);
    }
}

/// A name that this round did not acknowledge has what it had, or what this round put there.
#[track_caller]
fn verify_round(folder: &Path, all: &BTreeMap<String, u64>, heard: &[String]) {
    let now = acknowledged(heard.iter().map(String::as_str));
    verify(folder, &now);
    for name in all.keys() {
        assert!(folder.join(name).exists(), "{name} is lost");
    }
}

fn wait(time: Duration) {
    crate::harness::during(time, || {});
}

#[test]
#[ignore = "ci/slow/full_disk.sh runs it on a small disk"]
fn a_full_disk_refuses_and_goes_on() {
    let Some(folder) = variable(FOLDER) else { return };
    runtime().block_on(async {
        let files = home(&folder, 1 << 40, Durability::Acked);
        let mut whole = 0_u64;
        let error = loop {
            let mut sink = match files.open_write(&at(&format!("f{whole}")), How::Create, None).await {
                Ok(sink) => sink,
                Err(error) => break error,
            };
            let mut written = Ok(());
            for _ in 0..16 {
                if written.is_ok() {
                    written = sink.write(vec![b'x'; 65_536]).await.1;
                }
            }
            match written {
                Ok(()) => sink.commit().await.unwrap(),
                Err(error) => {
                    sink.keep().await.unwrap();
                    break error;
                }
            }
            whole += 1;
            assert!(whole < 1000, "the disk is not small");
        };
        assert!(matches!(error, StorageError::Full), "{error}");
        assert!(whole > 1, "the disk is too small");
        assert_eq!(files.usage().used(), sum(&folder));
        for n in 0..whole {
            assert_eq!(fs::metadata(folder.join(format!("f{n}"))).unwrap().len(), 1 << 20, "f{n}");
        }
        // With room again, what was cut goes on.
        files.remove(&at("f0")).await.unwrap();
        let mut sink = files.open_write(&at(&format!("f{whole}")), How::Append, None).await.unwrap();
        let rest = (1 << 20) - usize::try_from(sink.size()).unwrap();
        sink.write(vec![b'x'; rest]).await.1.unwrap();
        sink.commit().await.unwrap();
        assert_eq!(files.usage().used(), sum(&folder));
        assert_eq!(fs::metadata(folder.join(format!("f{whole}"))).unwrap().len(), 1 << 20);
    });
}
