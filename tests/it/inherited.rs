//! Sockets that a parent process passes on, as systemd does (`sd_listen_fds(3)`).

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::client::{Datagrams, Stream};
use crate::harness::eventually;
use crate::program::Program;

/// Moves the socket from standard input to where LISTEN_FDS says that it is, and becomes the program.
const PASS_ON: &str =
    r#"exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=given exec "$0" --config "$1""#;

fn write(folder: &Path, listeners: &str) {
    let text = format!("state_dir = {folder:?}\nadmin.bind = 'off'\nlog.level = 'warn'\n{listeners}");
    fs::write(folder.join("polygate.toml"), text).unwrap();
}

fn start(folder: &Path, socket: OwnedFd, complaints: Stdio) -> Program {
    let mut command = Command::new("sh");
    command.args(["-c", PASS_ON, env!("CARGO_BIN_EXE_polygate")]);
    command.arg(folder.join("polygate.toml")).stdin(Stdio::from(socket)).stderr(complaints);
    Program::start(&mut command)
}

/// Starts on a socket of that transport and talks to what is bound.
#[track_caller]
fn serves(transport: &str, socket: impl Into<OwnedFd>, talk: impl FnOnce(&str)) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &format!("[listeners.l]\nbind = 'fd+{transport}://given'\nhandler = 'echo'"));
    let mut program = start(folder.path(), socket.into(), Stdio::inherit());
    let line = program.line();
    assert_eq!(program.line(), "ready");
    talk(line.strip_prefix("listening l ").expect("a bound address"));
    program.signal(Signal::TERM);
    assert!(program.end().success());
}

#[test]
fn an_inherited_socket_of_each_transport_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let [stream, datagram] = ["s.sock", "s.dgram"].map(|name| folder.path().join(name));
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp_address = format!("tcp://{}", tcp.local_addr().unwrap());
    serves("tcp", tcp, |address| {
        assert_eq!(address, tcp_address);
        Stream::to(address).ask("hi", "hi");
    });
    serves("udp", UdpSocket::bind("127.0.0.1:0").unwrap(), |at| Datagrams::to(at).ask("hi", "hi"));
    serves("unix", UnixListener::bind(&stream).unwrap(), |at| Stream::to(at).ask("hi", "hi"));
    serves("unixgram", UnixDatagram::bind(&datagram).unwrap(), |at| Datagrams::to(at).ask("hi", "hi"));
    // The nodes are the parent's, which may pass them on again.
    assert!(stream.exists() && datagram.exists());
}

#[test]
fn a_socket_that_a_reload_drops_stays_open_for_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let given = "[listeners.l]\nbind = 'fd+tcp://given'\nhandler = 'echo'\n";
    let marker = |name: &str| format!("[listeners.m]\nbind = 'unix://{name}'\nhandler = 'echo'\n");
    write(folder.path(), given);
    let mut program = start(folder.path(), listener.into(), Stdio::inherit());
    program.line();
    assert_eq!(program.line(), "ready");
    Stream::to(&address).ask("hi", "hi");
    let reload = |listeners: String, name: &str| {
        write(folder.path(), &listeners);
        program.signal(Signal::HUP);
        eventually("it is reloaded", || folder.path().join(name).exists());
    };
    reload(marker("one.sock"), "one.sock");
    // Nobody accepts, and nobody is turned away.
    let mut waiting = Stream::to(&address);
    waiting.say("hi");
    reload(format!("{given}{}", marker("two.sock")), "two.sock");
    waiting.hear("hi");
    drop(waiting);
    program.signal(Signal::TERM);
    assert!(program.end().success());
}

#[test]
fn a_name_that_was_not_passed_on_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "[listeners.l]\nbind = 'fd+tcp://other'\nhandler = 'echo'");
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut program = start(folder.path(), socket.into(), Stdio::null());
    assert_eq!(program.end().code(), Some(73));
}
