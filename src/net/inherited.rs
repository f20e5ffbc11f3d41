//! Sockets that the parent process passed on (systemd's socket activation, `sd_listen_fds(3)`).

use std::collections::HashMap;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};

use listenfd::ListenFd;

use crate::config::Transport;

/// The inherited sockets by their name in LISTEN_FDNAMES. They stay open as long as the process lives, so
/// that a reload may drop one and a later one take it again.
#[derive(Debug, Default)]
pub struct Inherited(HashMap<String, Vec<(Transport, OwnedFd)>>);

/// The name that systemd gives a socket that has none.
const UNNAMED: &str = "unknown";

impl Inherited {
    /// Takes what LISTEN_FDS offers. To be called first thing in `main`: it changes the environment, so
    /// that children do not take the sockets for theirs.
    pub fn from_env() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut offered = ListenFd::from_env();
        let mut sockets = HashMap::<_, Vec<_>>::new();
        for index in 0..offered.len() {
            let name = names.next().filter(|name| !name.is_empty()).unwrap_or(UNNAMED);
            if let Some(socket) = take(&mut offered, index) {
                sockets.entry(name.to_string()).or_default().push(socket);
            }
        }
        Inherited(sockets)
    }

    /// Copies of the sockets of that name and transport.
    ///
    /// # Errors
    /// `NotFound` if there is none, with the names that there are.
    pub(super) fn copies(&self, transport: Transport, name: &str) -> io::Result<Vec<OwnedFd>> {
        let named = self.0.get(name).map(Vec::as_slice).unwrap_or_default();
        let fitting: Vec<_> = named.iter().filter(|(t, _)| *t == transport).collect();
        if fitting.is_empty() {
            let mut known: Vec<_> = (self.0.iter())
                .flat_map(|(name, all)| all.iter().map(move |(t, _)| format!("fd+{t}://{name}")))
                .collect();
            known.sort();
            let known = if known.is_empty() { "none was".into() } else { known.join(", ") };
            let message =
                format!("no {transport} socket named {name} was inherited (LISTEN_FDNAMES); {known}");
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        fitting.into_iter().map(|(_, fd)| fd.as_fd().try_clone_to_owned()).collect()
    }
}

/// What is at an index, whichever of the four transports it is. A wrong guess leaves it in place.
fn take(offered: &mut ListenFd, index: usize) -> Option<(Transport, OwnedFd)> {
    if let Ok(Some(socket)) = offered.take_tcp_listener(index) {
        return Some((Transport::Tcp, TcpListener::into(socket)));
    }
    if let Ok(Some(socket)) = offered.take_udp_socket(index) {
        return Some((Transport::Udp, UdpSocket::into(socket)));
    }
    if let Ok(Some(socket)) = offered.take_unix_listener(index) {
        return Some((Transport::Unix, UnixListener::into(socket)));
    }
    if let Ok(Some(socket)) = offered.take_unix_datagram(index) {
        return Some((Transport::Unixgram, UnixDatagram::into(socket)));
    }
    None
}
