//! The program as its users have it: started in a folder of its own, steered by its command line, its admin API and
//! signals, and judged by what it prints, answers and leaves behind.

mod accounts;
mod admin;
mod admin_config;
mod admin_http;
mod admin_tls;
mod commands;
mod connect;
mod console;
mod drain;
mod exit_codes;
mod files;
mod files_hostile;
mod http;
mod inherited;
mod metrics;
mod notify;
mod orphans;
mod page;
mod pages;
mod ping;
mod scrape;
mod signals;
mod start;
mod steer;
mod tokens;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::client::Stream;
use crate::harness::eventually;
pub(crate) use http::{Answer, ask};

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_polygate");

/// The configuration in every folder.
const FILE: &str = "polygate.toml";

/// An echo on TCP and nothing else.
const ECHO: &str = "[listeners.echo]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'echo'\n";

/// The same listener, in upper case.
const UPPER: &str = "[listeners.echo]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'upper'\n";

/// A temporary folder that programs run in.
pub(crate) struct Folder {
    folder: tempfile::TempDir,
    path: PathBuf,
}

/// How a program ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// What a running program has written so far.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

/// A program that runs. Killed when dropped.
struct Running {
    child: Child,
    out: Written,
    err: Written,
    readers: Vec<thread::JoinHandle<()>>,
}

/// A gateway that is ready.
pub(crate) struct Gateway {
    program: Running,
    folder: Folder,
}

// === impl Folder ===

impl Folder {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        Folder { folder, path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file, with its folders.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The program in this folder, with nothing of the environment that it listens to.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments);
        self.clean(&mut command);
        command
    }

    /// The same for any other program, which may start ours.
    fn clean(&self, command: &mut Command) {
        command.current_dir(&self.path);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for name in ["CONFIG", "ADMIN", "TOKEN", "TOKEN_FILE"] {
            command.env_remove(format!("POLYGATE_{name}"));
        }
        for name in
            ["STATE_DIRECTORY", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NO_COLOR", "NOTIFY_SOCKET"]
        {
            command.env_remove(name);
        }
    }

    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        end(self.command(arguments))
    }
}

/// Runs a command to its end.
#[track_caller]
pub(crate) fn end(command: Command) -> Ended {
    let mut program = Running::start(command);
    let status = program.ended();
    Ended { code: code(status), stdout: program.out.text(), stderr: program.err.text() }
}

/// The exit code; a program that a signal killed has none.
#[track_caller]
fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| panic!("killed by signal {:?}", status.signal()))
}

// === impl Written ===

impl Written {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    /// The lines that are complete.
    fn lines(&self) -> Vec<String> {
        let text = self.text();
        text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect()
    }

    fn follow(&self, from: impl Read + Send + 'static) -> thread::JoinHandle<()> {
        let written = self.clone();
        thread::spawn(move || {
            let mut from = BufReader::new(from);
            while let Ok(bytes) = from.fill_buf() {
                let n = bytes.len();
                if n == 0 {
                    return;
                }
                written.0.lock().unwrap().extend_from_slice(bytes);
                from.consume(n);
            }
        })
    }
}

// === impl Running ===

impl Running {
    #[track_caller]
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        // Else the ends of pipes that the command holds would stay open here.
        drop(command);
        let (out, err) = (Written::default(), Written::default());
        let stdout = child.stdout.take().map(|from| out.follow(from));
        let stderr = child.stderr.take().map(|from| err.follow(from));
        let readers = stdout.into_iter().chain(stderr).collect();
        Running { child, out, err, readers }
    }

    /// Waits for the end, and for the last of what it wrote.
    #[track_caller]
    fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("it has ended", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        status.unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Running {
    #[allow(clippy::print_stderr, reason = "for whoever reads why a test failed")]
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("what it wrote on standard error:\n{}", self.err.text());
        }
        // Both fail where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// === impl Gateway ===

impl Gateway {
    /// On a configuration; without an `admin.bind` of its own the admin API gets a port of the kernel's choice.
    #[track_caller]
    pub(crate) fn start(text: &str) -> Self {
        let folder = Folder::new();
        folder.write(FILE, &complete(text));
        let command = folder.command(&["run", FILE]);
        Self::start_as(folder, command)
    }

    /// A command that runs a gateway in that folder.
    #[track_caller]
    pub(crate) fn start_as(folder: Folder, command: Command) -> Self {
        let mut program = Running::start(command);
        let is_ready = |program: &Running| program.out.lines().iter().any(|line| line == "ready");
        eventually("it is ready", || is_ready(&program) || program.child.try_wait().unwrap().is_some());
        assert!(is_ready(&program), "it has ended instead");
        Gateway { program, folder }
    }

    /// Kills this one, and starts another in its folder.
    #[track_caller]
    pub(crate) fn again(self) -> Self {
        let Gateway { program, folder } = self;
        drop(program);
        let command = folder.command(&["run", FILE]);
        Self::start_as(folder, command)
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }

    pub(crate) fn pid(&self) -> u32 {
        self.program.child.id()
    }

    /// The lines on standard output.
    pub(crate) fn said(&self) -> Vec<String> {
        self.program.out.lines()
    }

    /// What follows a word at the start of a line on standard output.
    fn said_after(&self, word: &str) -> Vec<String> {
        let word = format!("{word} ");
        self.said().iter().filter_map(|line| line.strip_prefix(&word)).map(str::to_owned).collect()
    }

    /// The addresses of a listener, as printed at the start.
    #[track_caller]
    pub(crate) fn addresses(&self, listener: &str) -> Vec<String> {
        let addresses = self.said_after(&format!("listening {listener}"));
        assert!(!addresses.is_empty(), "no address of {listener}: {:?}", self.said());
        addresses
    }

    /// The first of them.
    #[track_caller]
    pub(crate) fn address(&self, listener: &str) -> String {
        self.addresses(listener).remove(0)
    }

    #[track_caller]
    pub(crate) fn connect(&self, listener: &str) -> Stream {
        Stream::to(&self.address(listener))
    }

    /// The first URL of the admin API.
    #[track_caller]
    pub(crate) fn admin(&self) -> String {
        self.said_after("admin").into_iter().next().expect("no admin API")
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        ask(&self.admin(), "GET", path, &[], "")
    }

    /// A request that must succeed, and its JSON.
    #[track_caller]
    pub(crate) fn json(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    }

    /// Waits until a listener has counted so many bytes sent: they are counted when the kernel has them, and may have
    /// been read by then.
    #[track_caller]
    pub(crate) fn has_sent(&self, listener: &str, bytes: u64) {
        let path = format!("/api/v1/listeners/{listener}");
        eventually("what was sent is counted", || self.json(&path)["sent_bytes"] == bytes);
    }

    #[track_caller]
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        ask(&self.admin(), method, path, headers, body)
    }

    /// Runs a command against this gateway.
    #[track_caller]
    pub(crate) fn cli(&self, arguments: &[&str]) -> Ended {
        end(self.cli_command(arguments))
    }

    pub(crate) fn cli_command(&self, arguments: &[&str]) -> Command {
        let mut command = self.folder.command(arguments);
        command.env("POLYGATE_ADMIN", self.admin());
        command
    }

    /// Writes another configuration, as [`Gateway::start`] takes it.
    pub(crate) fn write(&self, text: &str) {
        self.folder.write(FILE, &complete(text));
    }

    /// The log so far: JSON, a line an event.
    #[track_caller]
    pub(crate) fn log(&self) -> Vec<Value> {
        let parse =
            |line: &String| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.program.err.lines().iter().map(parse).collect()
    }

    /// Everything on standard error.
    pub(crate) fn stderr(&self) -> String {
        self.program.err.text()
    }

    /// Waits for a line in the log.
    #[track_caller]
    pub(crate) fn logged(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let mut found = None;
        eventually(what, || {
            found = self.log().into_iter().find(&fits);
            found.is_some()
        });
        found.unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.program.signal(signal);
    }

    /// Waits for its end by itself.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> i32 {
        code(self.program.ended())
    }

    /// Asks it to end, and waits.
    #[track_caller]
    pub(crate) fn stop(&mut self) -> i32 {
        self.signal(Signal::TERM);
        self.ended()
    }
}

fn complete(text: &str) -> String {
    if text.contains("admin") { text.to_owned() } else { format!("admin.bind = 'tcp://127.0.0.1:0'\n{text}") }
}
