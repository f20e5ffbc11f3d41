//! `polygate put`, `get` and `ls`: files on a server of FTP, or of the `json-ftp` handler.

mod address;
mod ftp;
mod json_ftp;
mod progress;
mod reply;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::dial::{period, plain, seconds};
use super::exit::{Exit, Failure};
use super::table::{Align, Table, bytes};
use super::terminal::{self, escape};
use super::{Format, Output, secret};
use address::{Address, Protocol};
use ftp::Ftp;
use json_ftp::JsonFtp;

/// How whoever asks logs in, and how long it waits.
#[derive(Debug, Args)]
struct Access {
    /// File with the password [env: POLYGATE_PASSWORD is the password itself; else it is asked for]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// How long connecting, and each step on the wire, may take
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = period)]
    timeout: Duration,
}

/// What to put where.
#[derive(Debug, Args)]
pub(crate) struct Put {
    /// The file to send
    file: PathBuf,
    /// ftp://[USER@]HOST[:PORT]/PATH or json-ftp://USER@HOST:PORT/NAME; with a `/` at its end the file keeps its name
    url: Address,
    /// Go on where an earlier attempt was cut
    #[arg(short = 'c', long = "continue")]
    resume: bool,
    #[command(flatten)]
    access: Access,
}

/// What to get where.
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// ftp://[USER@]HOST[:PORT]/PATH or json-ftp://USER@HOST:PORT/NAME
    url: Address,
    /// Where to keep it, or `-` for standard output [default: the name of what is fetched]
    file: Option<PathBuf>,
    /// Go on where an earlier attempt was cut
    #[arg(short = 'c', long = "continue")]
    resume: bool,
    #[command(flatten)]
    access: Access,
}

/// What to list.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// ftp://[USER@]HOST[:PORT]/FOLDER or json-ftp://USER@HOST:PORT/
    url: Address,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    output: Output,
}

/// Something on the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Entry {
    name: String,
    /// `file`, `dir`, or what else the server says.
    kind: String,
    size_bytes: Option<u64>,
    /// RFC 3339.
    modified: Option<String>,
}

/// What a transfer came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moved {
    /// Where it began.
    offset: u64,
    /// Bytes that went over the wire.
    bytes: u64,
}

/// Where what is fetched goes, opened when the server has said that there is something.
type Open<'a> = &'a mut dyn FnMut() -> Result<Box<dyn Write>, Failure>;

/// Somebody who is logged in.
trait Remote {
    /// Sends a file of `size` bytes.
    fn put(&mut self, path: &str, file: &mut File, size: u64, resume: bool) -> Result<Moved, Failure>;
    /// Fetches what is behind the first `have` bytes.
    fn get(&mut self, path: &str, have: u64, open: Open<'_>) -> Result<Moved, Failure>;
    fn list(&mut self, path: &str) -> Result<Vec<Entry>, Failure>;
}

pub(crate) fn put(options: &Put) -> Result<(), Failure> {
    let file = &options.file;
    let name = file.file_name().and_then(|name| name.to_str());
    let path = options.url.path_for(name).ok_or_else(|| {
        Failure::new(Exit::Usage, format!("{} has no name of its own: write one in the URL", shown(file)))
    })?;
    let wrong = |error: io::Error| local(file, &error);
    let mut open = File::open(file).map_err(wrong)?;
    let about = open.metadata().map_err(wrong)?;
    if !about.is_file() {
        return Err(Failure::new(Exit::Failure, format!("{} is no file", shown(file))));
    }
    let begin = Instant::now();
    let moved = login(&options.url, &options.access)?.put(&path, &mut open, about.len(), options.resume)?;
    terminal::print(&done(&shown(file), moved, begin.elapsed()))
}

pub(crate) fn get(options: &Get) -> Result<(), Failure> {
    let path = options.url.path_for(None).ok_or_else(|| {
        Failure::new(Exit::Usage, format!("{} names a folder: what is to be fetched?", options.url))
    })?;
    let to = match (&options.file, path.rsplit('/').next()) {
        (Some(file), _) => file.clone(),
        (None, Some(name)) if !matches!(name, "" | "." | "..") => PathBuf::from(name),
        (None, _) => {
            let message = format!("{} ends in no name for the file here: write one behind it", options.url);
            return Err(Failure::new(Exit::Usage, message));
        }
    };
    // Asked for, not named so by the server.
    let standard = options.file.as_deref() == Some(Path::new("-"));
    let have = match fs::metadata(&to) {
        Ok(about) if options.resume && !standard => about.len(),
        _ => 0,
    };
    let mut open = || -> Result<Box<dyn Write>, Failure> {
        if standard {
            return Ok(Box::new(io::stdout()));
        }
        let wrong = |error: io::Error| local(&to, &error);
        let how = OpenOptions::new().create(true).write(true).truncate(have == 0).open(&to);
        let mut file = how.map_err(wrong)?;
        file.seek(SeekFrom::Start(have)).map_err(wrong)?;
        Ok(Box::new(file))
    };
    let begin = Instant::now();
    let moved = login(&options.url, &options.access)?.get(&path, have, &mut open)?;
    if standard { Ok(()) } else { terminal::print(&done(&shown(&to), moved, begin.elapsed())) }
}

pub(crate) fn ls(options: &List) -> Result<(), Failure> {
    let mut entries = login(&options.url, &options.access)?.list(options.url.path())?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    if options.output.output == Format::Json {
        let items = serde_json::json!({ "items": entries });
        return terminal::print(&format!("{items}\n"));
    }
    let columns =
        [("NAME", Align::Left), ("KIND", Align::Left), ("SIZE", Align::Right), ("MODIFIED", Align::Left)];
    let mut table = Table::new(&columns);
    for entry in entries {
        let size = entry.size_bytes.map_or_else(|| "-".into(), bytes);
        table.row(vec![entry.name, entry.kind, size, entry.modified.unwrap_or_default()]);
    }
    terminal::print(&table.render(terminal::color_on_stdout()))
}

fn login(url: &Address, access: &Access) -> Result<Box<dyn Remote>, Failure> {
    let password = match url.user() {
        Some(user) => secret::of_login(user, access.password_file.as_deref())?,
        None => "anonymous@".to_owned(),
    };
    let stream = connect(url, access.timeout)?;
    let user = url.user().unwrap_or("anonymous");
    Ok(match url.protocol() {
        Protocol::Ftp => Box::new(Ftp::login(stream, access.timeout, url, user, &password)?),
        Protocol::JsonFtp => Box::new(JsonFtp::login(stream, url, user, &password)?),
    })
}

/// The first address that answers. FTP over TLS would wrap it here (implicit) or in [`Ftp::login`] (AUTH TLS).
fn connect(url: &Address, timeout: Duration) -> Result<TcpStream, Failure> {
    let unreachable = |error: &io::Error| {
        Failure::new(Exit::Unavailable, format!("cannot connect to {}: {}", url.server(), plain(error)))
    };
    let mut last = io::Error::other("the name has no address");
    for address in url.host_port().to_socket_addrs().map_err(|error| unreachable(&error))? {
        match TcpStream::connect_timeout(&address, timeout).and_then(|stream| set(stream, timeout)) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(unreachable(&last))
}

fn set(stream: TcpStream, timeout: Duration) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    Ok(stream)
}

/// What is said of a file here.
fn local(file: &Path, error: &io::Error) -> Failure {
    let exit = match error.kind() {
        io::ErrorKind::PermissionDenied => Exit::NoPermission,
        _ => Exit::Failure,
    };
    Failure::new(exit, format!("{}: {}", shown(file), plain(error)))
}

fn shown(file: &Path) -> String {
    escape(&file.display().to_string())
}

fn done(what: &str, moved: Moved, took: Duration) -> String {
    match moved {
        Moved { offset, bytes: 0 } if offset > 0 => format!("{what}: complete already, {}\n", bytes(offset)),
        Moved { offset: 0, bytes: count } => format!("{what}: {} in {}\n", bytes(count), brief(took)),
        Moved { offset, bytes: count } => {
            let (count, offset) = (bytes(count), bytes(offset));
            format!("{what}: {count} behind the first {offset} in {}\n", brief(took))
        }
    }
}

fn brief(took: Duration) -> String {
    if took.as_secs() == 0 {
        return seconds(Duration::from_millis(took.as_millis().try_into().unwrap_or(u64::MAX)));
    }
    super::table::duration(took.as_secs_f64())
}
