//! Sockets that the parent passes on, as systemd does (`sd_listen_fds(3)`).

use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::Command;

use super::{FILE, Folder, Gateway, PROGRAM};
use crate::client::{Datagrams, Stream};

/// A command that runs a gateway which inherits the socket under the name `web`.
fn inheriting(folder: &Folder, socket: OwnedFd) -> Command {
    let mut command = Command::new("sh");
    let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web exec \"$0\" run \"$1\"";
    command.args(["-c", script, PROGRAM, FILE]);
    folder.clean(&mut command);
    command.stdin(socket);
    command
}

/// The socket is served, dropped by a reload, and served again by the next one, with what came meanwhile.
#[track_caller]
fn story(folder: Folder, socket: OwnedFd, address: &str) {
    let (transport, _) = address.split_once("://").unwrap();
    let other = "[listeners.other]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'echo'\n";
    let with = |handler| {
        format!(
            "admin.bind = 'tcp://127.0.0.1:0'\n{other}[listeners.web]\nbind = 'fd+{transport}://web'\nhandler = '{handler}'\n"
        )
    };
    let without = format!("admin.bind = 'tcp://127.0.0.1:0'\n{other}");
    folder.write(FILE, &with("echo"));
    let command = inheriting(&folder, socket);
    let mut gateway = Gateway::start_as(folder, command);
    assert_eq!(gateway.addresses("web"), [address]);
    let mut first = Client::to(address);
    first.ask("one", "one");

    gateway.folder().write(FILE, &without);
    assert_eq!(gateway.cli(&["reload"]).code, 0);
    assert_eq!(gateway.get("/api/v1/listeners/web").status, 404);
    let mut meanwhile = Client::to(address);
    meanwhile.say("meanwhile");

    gateway.folder().write(FILE, &with("upper"));
    assert_eq!(gateway.cli(&["reload"]).code, 0);
    meanwhile.hear("MEANWHILE");
    Client::to(address).ask("two", "TWO");
    let endpoint = &gateway.json("/api/v1/listeners/web")["endpoints"][0];
    assert_eq!(endpoint["bind"], format!("fd+{transport}://web"));
    assert_eq!((&endpoint["address"], &endpoint["transport"]), (&address.into(), &transport.into()));
    drop((first, meanwhile));
    assert_eq!(gateway.stop(), 0);
    if let Some(path) = address.split_once("unix").and_then(|(_, rest)| Some(rest.split_once("://")?.1)) {
        assert!(std::path::Path::new(path).exists(), "the node is the parent's");
    }
}

enum Client {
    Stream(Stream),
    Datagrams(Datagrams),
}

impl Client {
    #[track_caller]
    fn to(address: &str) -> Self {
        match address.starts_with("udp:") || address.starts_with("unixgram:") {
            true => Client::Datagrams(Datagrams::to(address)),
            false => Client::Stream(Stream::to(address)),
        }
    }

    #[track_caller]
    fn say(&mut self, text: &str) {
        match self {
            Client::Stream(stream) => stream.say(text),
            Client::Datagrams(datagrams) => datagrams.send(text),
        }
    }

    #[track_caller]
    fn hear(&mut self, text: &str) {
        match self {
            Client::Stream(stream) => stream.hear(text),
            Client::Datagrams(datagrams) => assert_eq!(datagrams.recv(), text.as_bytes()),
        }
    }

    #[track_caller]
    fn ask(&mut self, question: &str, answer: &str) {
        self.say(question);
        self.hear(answer);
    }
}

#[test]
fn a_tcp_listener_is_inherited() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", socket.local_addr().unwrap());
    story(Folder::new(), socket.into(), &address);
}

#[test]
fn a_udp_socket_is_inherited() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = format!("udp://{}", socket.local_addr().unwrap());
    story(Folder::new(), socket.into(), &address);
}

#[test]
fn a_unix_listener_is_inherited() {
    let folder = Folder::new();
    let path = folder.path().join("web.sock");
    let socket = UnixListener::bind(&path).unwrap();
    story(folder, socket.into(), &format!("unix://{}", path.display()));
}

#[test]
fn a_unix_datagram_socket_is_inherited() {
    let folder = Folder::new();
    let path = folder.path().join("web.dgram");
    let socket = UnixDatagram::bind(&path).unwrap();
    story(folder, socket.into(), &format!("unixgram://{}", path.display()));
}

#[test]
fn a_socket_of_another_transport_is_not_what_was_asked_for() {
    let folder = Folder::new();
    folder.write(FILE, "admin.bind = 'off'\n[listeners.web]\nbind = 'fd+udp://web'\nhandler = 'echo'");
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let ended = super::end(inheriting(&folder, socket.into()));
    assert_eq!(ended.code, 73);
    assert!(ended.stderr.contains("no udp socket named web was inherited"), "{ended:?}");
    assert!(ended.stderr.contains("fd+tcp://web"), "it says what there is: {ended:?}");
}

#[test]
fn sockets_meant_for_another_process_are_left_alone() {
    let folder = Folder::new();
    folder.write(FILE, "admin.bind = 'off'\n[listeners.web]\nbind = 'fd+tcp://web'\nhandler = 'echo'");
    let mut command = folder.command(&["run", FILE]);
    command.env("LISTEN_PID", "1").env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", "web");
    assert_eq!(super::end(command).code, 73);
}
