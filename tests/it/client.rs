//! The other side: clients that give up after ten seconds instead of hanging.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram, UnixStream};

use crate::harness::{DEADLINE, unique};

/// A connection over TCP or a Unix socket.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// To an address as a gateway reports it: `tcp://127.0.0.1:1234`, `unix:///path`, `unix://@name`.
    #[track_caller]
    pub(crate) fn to(address: &str) -> Self {
        Self::try_to(address).unwrap_or_else(|error| panic!("{address}: {error}"))
    }

    pub(crate) fn try_to(address: &str) -> io::Result<Self> {
        if let Some(at) = address.strip_prefix("tcp://") {
            return Self::tcp(None, at);
        }
        let at = address.strip_prefix("unix://").expect("a stream address");
        let stream = UnixStream::connect_addr(&unix_address(at)?)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Stream::Unix(stream))
    }

    /// From an address of one's own.
    #[track_caller]
    pub(crate) fn from(source: &str, address: &str) -> Self {
        let at = address.strip_prefix("tcp://").expect("a TCP address");
        Self::tcp(Some(source), at).unwrap_or_else(|error| panic!("{source} to {address}: {error}"))
    }

    fn tcp(source: Option<&str>, at: &str) -> io::Result<Self> {
        let at: SocketAddr = at.parse().expect("an address");
        let stream = match source {
            None => TcpStream::connect_timeout(&at, DEADLINE)?,
            Some(source) => {
                let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
                socket.bind(&SocketAddr::new(source.parse().expect("an address"), 0).into())?;
                socket.connect_timeout(&at.into(), DEADLINE)?;
                socket.into()
            }
        };
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Stream::Tcp(stream))
    }

    #[track_caller]
    pub(crate) fn say(&mut self, bytes: impl AsRef<[u8]>) {
        self.write_all(bytes.as_ref()).unwrap();
    }

    /// Reads as many bytes as expected, and compares.
    #[track_caller]
    pub(crate) fn hear(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        let mut bytes = vec![0; expected.len()];
        self.read_exact(&mut bytes).unwrap_or_else(|error| panic!("{error}, not {expected:?}"));
        assert!(bytes == expected, "heard {:?}", String::from_utf8_lossy(&bytes));
    }

    #[track_caller]
    pub(crate) fn ask(&mut self, question: impl AsRef<[u8]>, answer: impl AsRef<[u8]>) {
        self.say(question);
        self.hear(answer);
    }

    /// Asks once, where the answer may be an error.
    pub(crate) fn try_ask(mut self, question: &str) -> io::Result<Vec<u8>> {
        self.write_all(question.as_bytes())?;
        let mut bytes = vec![0; 1024];
        let n = self.read(&mut bytes)?;
        bytes.truncate(n);
        Ok(bytes)
    }

    /// What one read gives, as the tutorials' clients do.
    #[track_caller]
    pub(crate) fn recv(&mut self) -> String {
        let mut bytes = vec![0; 64 * 1024];
        let n = self.read(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..n]).into_owned()
    }

    /// Everything until the other side's end.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// Sends FIN; reading goes on.
    #[track_caller]
    pub(crate) fn finish(&self) {
        match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
        .unwrap();
    }

    /// The other side has ended in order, without a byte more.
    #[track_caller]
    pub(crate) fn is_ended(&mut self) {
        let n = self.read(&mut [0; 16]).unwrap();
        assert_eq!(n, 0, "there is more");
    }

    /// The other side has gone, in order or not.
    #[track_caller]
    pub(crate) fn is_gone(&mut self) {
        let mut scratch = [0; 64 * 1024];
        loop {
            match self.read(&mut scratch) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return,
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Whoever connects there is let go at once, in order or not.
    #[track_caller]
    pub(crate) fn is_let_go(address: &str) {
        match Self::try_to(address) {
            Ok(mut stream) => stream.is_gone(),
            // The reset may come before connect has returned.
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
    }

    /// A connection there is reset.
    #[track_caller]
    pub(crate) fn is_reset(address: &str) {
        // The reset may come before connect has returned.
        let read = Self::try_to(address).and_then(|mut stream| stream.read(&mut [0; 16]));
        assert_eq!(read.expect_err("not reset").kind(), io::ErrorKind::ConnectionReset);
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buf),
            Stream::Unix(stream) => stream.read(buf),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(buf),
            Stream::Unix(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A datagram socket connected to a listener.
#[derive(Debug)]
pub(crate) enum Datagrams {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Datagrams {
    /// To an address as a gateway reports it: `udp://127.0.0.1:1234`, `unixgram:///path`, `unixgram://@name`. On
    /// Unix it is bound to an abstract name.
    #[track_caller]
    pub(crate) fn to(address: &str) -> Self {
        if let Some(at) = address.strip_prefix("udp://") {
            return Self::udp("127.0.0.1", at);
        }
        let own = UnixAddr::from_abstract_name(unique("client")).unwrap();
        Self::unix(UnixDatagram::bind_addr(&own).unwrap(), address)
    }

    /// A UDP socket of that address.
    #[track_caller]
    pub(crate) fn udp(source: &str, at: &str) -> Self {
        let socket = UdpSocket::bind((source, 0)).unwrap();
        socket.connect(at).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Datagrams::Udp(socket)
    }

    /// With a Unix socket of the test's own.
    #[track_caller]
    pub(crate) fn unix(socket: UnixDatagram, address: &str) -> Self {
        let at = address.strip_prefix("unixgram://").expect("a datagram address");
        socket.connect_addr(&unix_address(at).unwrap()).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket.set_write_timeout(Some(DEADLINE)).unwrap();
        Datagrams::Unix(socket)
    }

    #[track_caller]
    pub(crate) fn send(&self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).unwrap();
    }

    pub(crate) fn try_send(&self, bytes: impl AsRef<[u8]>) -> io::Result<usize> {
        match self {
            Datagrams::Udp(socket) => socket.send(bytes.as_ref()),
            Datagrams::Unix(socket) => socket.send(bytes.as_ref()),
        }
    }

    /// The next datagram.
    #[track_caller]
    pub(crate) fn recv(&self) -> Vec<u8> {
        self.try_recv().unwrap()
    }

    pub(crate) fn try_recv(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; 70_000];
        let n = match self {
            Datagrams::Udp(socket) => socket.recv(&mut bytes)?,
            Datagrams::Unix(socket) => socket.recv(&mut bytes)?,
        };
        bytes.truncate(n);
        Ok(bytes)
    }

    #[track_caller]
    pub(crate) fn ask(&self, question: impl AsRef<[u8]>, answer: impl AsRef<[u8]>) {
        self.send(question);
        let heard = self.recv();
        assert!(heard == answer.as_ref(), "heard {:?}", String::from_utf8_lossy(&heard));
    }

    /// Asks once, where no answer may come: it is waited for only a moment.
    pub(crate) fn try_ask(self, question: &str) -> io::Result<Vec<u8>> {
        let moment = Some(std::time::Duration::from_millis(200));
        match &self {
            Datagrams::Udp(socket) => socket.set_read_timeout(moment)?,
            Datagrams::Unix(socket) => socket.set_read_timeout(moment)?,
        }
        self.try_send(question)?;
        self.try_recv()
    }

    /// How many datagrams are there now.
    pub(crate) fn waiting(&self) -> usize {
        match self {
            Datagrams::Udp(socket) => socket.set_nonblocking(true).unwrap(),
            Datagrams::Unix(socket) => socket.set_nonblocking(true).unwrap(),
        }
        std::iter::from_fn(|| self.try_recv().ok()).count()
    }
}

fn unix_address(at: &str) -> io::Result<UnixAddr> {
    match at.strip_prefix('@') {
        Some(name) => UnixAddr::from_abstract_name(name),
        None => UnixAddr::from_pathname(at),
    }
}
