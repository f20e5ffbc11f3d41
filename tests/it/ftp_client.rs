//! A client of FTP that says lines and shows what it hears, for the tests of `ftp`.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};

use crate::client::Stream;
use crate::harness::{DEADLINE, Gate};

/// A listener `ftp` with guests and registration; `options` are of the handler.
pub(crate) fn gate(options: &str) -> Gate {
    Gate::start(&configuration(options))
}

pub(crate) fn configuration(options: &str) -> String {
    format!(
        "[accounts]\nregistration = true\nquota = '64KiB'\n\
         [listeners.ftp]\nbind = 'tcp://127.0.0.1:0'\nhandler = 'files'\n\
         [handlers.files]\ntype = 'ftp'\nanonymous = {{ root = 'pub' }}\n{options}\n"
    )
}

/// A control connection.
pub(crate) struct Ftp {
    stream: Stream,
    heard: Vec<u8>,
}

impl Ftp {
    /// Greeted, and nobody yet.
    #[track_caller]
    pub(crate) fn to(gate: &Gate) -> Self {
        Self::over(gate.connect("ftp"))
    }

    #[track_caller]
    pub(crate) fn over(stream: Stream) -> Self {
        let mut ftp = Ftp { stream, heard: Vec::new() };
        ftp.hears("220");
        ftp
    }

    /// Logged in as `ann`, whose account is made if it is not there, in TYPE I.
    #[track_caller]
    pub(crate) fn ann(gate: &Gate) -> Self {
        let mut ftp = Self::to(gate);
        ftp.ask("SITE REGISTER ann geheim");
        ftp.asks("USER ann", "331");
        ftp.asks("PASS geheim", "230");
        ftp.asks("TYPE I", "200");
        ftp
    }

    #[track_caller]
    pub(crate) fn say(&mut self, line: impl AsRef<[u8]>) {
        self.stream.say([line.as_ref(), b"\r\n"].concat());
    }

    #[track_caller]
    fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.heard.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&self.heard[..end]).into_owned();
                self.heard.drain(..end + 2);
                return line;
            }
            let mut piece = [0; 4096];
            let n = self.stream.read(&mut piece).unwrap();
            assert!(n > 0, "the end, after {:?}", String::from_utf8_lossy(&self.heard));
            self.heard.extend_from_slice(&piece[..n]);
        }
    }

    /// The next reply, all lines of it.
    #[track_caller]
    pub(crate) fn hear(&mut self) -> String {
        let mut reply = self.line();
        let last = format!("{} ", &reply[..3]);
        while !reply.rsplit('\n').next().unwrap().starts_with(&last) {
            let line = self.line();
            reply = format!("{reply}\n{line}");
        }
        reply
    }

    #[track_caller]
    pub(crate) fn hears(&mut self, code: &str) -> String {
        let reply = self.hear();
        assert!(reply.starts_with(code), "{reply:?}, not {code}");
        reply
    }

    #[track_caller]
    pub(crate) fn ask(&mut self, line: &str) -> String {
        self.say(line);
        self.hear()
    }

    #[track_caller]
    pub(crate) fn asks(&mut self, line: &str, code: &str) -> String {
        self.say(line);
        let reply = self.hear();
        assert!(reply.starts_with(code), "{line:?}: {reply:?}, not {code}");
        reply
    }

    /// Where EPSV says that data goes.
    #[track_caller]
    pub(crate) fn passive(&mut self) -> SocketAddr {
        let reply = self.asks("EPSV", "229");
        let port = reply.split('|').nth(3).unwrap().parse().unwrap();
        SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port)
    }

    /// A data connection that waits for its command.
    #[track_caller]
    pub(crate) fn data(&mut self) -> TcpStream {
        let at = self.passive();
        timed(TcpStream::connect(at).unwrap())
    }

    /// What a command brings over a data connection.
    #[track_caller]
    pub(crate) fn get(&mut self, command: &str) -> Vec<u8> {
        let mut data = self.data();
        self.asks(command, "150");
        let mut bytes = Vec::new();
        data.read_to_end(&mut bytes).unwrap();
        self.hears("226");
        bytes
    }

    #[track_caller]
    pub(crate) fn text(&mut self, command: &str) -> String {
        String::from_utf8(self.get(command)).unwrap()
    }

    /// Sends bytes with a command, and returns the final reply.
    #[track_caller]
    pub(crate) fn put(&mut self, command: &str, bytes: impl AsRef<[u8]>) -> String {
        let mut data = self.data();
        self.asks(command, "150");
        data.write_all(bytes.as_ref()).unwrap();
        drop(data);
        self.hear()
    }

    /// The other side has ended in order.
    #[track_caller]
    pub(crate) fn is_ended(&mut self) {
        assert!(self.heard.is_empty(), "there is more");
        self.stream.is_ended();
    }

    pub(crate) fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }
}

pub(crate) fn timed(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// A port of our own for active mode, and PORT's argument for it.
pub(crate) fn active() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let [high, low] = listener.local_addr().unwrap().port().to_be_bytes();
    (listener, format!("127,0,0,1,{high},{low}"))
}

/// What `ftp` has counted: the sum of the cells whose labels are these.
pub(crate) fn counted(gate: &Gate, name: &str, labels: &[&str]) -> u64 {
    let snapshot = gate.stats().snapshot();
    crate::harness::counted(snapshot.of_listener("ftp"), name, labels)
}
