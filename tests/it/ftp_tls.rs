//! `ftp` with TLS: AUTH, PROT, implicit, what is clear and what must not be.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::ClientConfig;

use crate::ftp_client::{configuration, counted};
use crate::harness::{Gate, eventually};
use crate::tls_client::{Certificates, Secure, wrap};

fn gate(made: &Certificates, options: &str) -> Gate {
    let text = configuration(options)
        .replace("handler = 'files'\n", &format!("handler = 'files'\n{}\n", made.table("")));
    Gate::start(&text)
}

/// A client whose control connection may have TLS.
struct Client {
    plain: Option<TcpStream>,
    secure: Option<Secure>,
    config: Arc<ClientConfig>,
}

impl Client {
    fn to(gate: &Gate, config: &Arc<ClientConfig>) -> Self {
        let at = gate.address("ftp");
        let plain = TcpStream::connect(at.trim_start_matches("tcp://")).unwrap();
        plain.set_read_timeout(Some(crate::harness::DEADLINE)).unwrap();
        Client { plain: Some(plain), secure: None, config: config.clone() }
    }

    /// After AUTH TLS, not logged in.
    fn secured(gate: &Gate, config: &Arc<ClientConfig>) -> Self {
        let mut client = Self::to(gate, config);
        client.hears("220");
        client.asks("AUTH TLS", "234");
        client.begin();
        client
    }

    fn begin(&mut self) {
        self.secure = Some(wrap(self.plain.take().unwrap(), &self.config).unwrap());
    }

    fn log_in(&mut self) {
        self.ask("SITE REGISTER ann geheim");
        self.asks("USER ann", "331");
        self.asks("PASS geheim", "230");
        self.asks("TYPE I", "200");
    }

    fn say(&mut self, text: &str) {
        match (&mut self.secure, &mut self.plain) {
            (Some(stream), _) => stream.write_all(text.as_bytes()).unwrap(),
            (_, Some(stream)) => stream.write_all(text.as_bytes()).unwrap(),
            _ => unreachable!("there is a stream"),
        }
    }

    fn hear(&mut self) -> String {
        let mut reply = Vec::new();
        while !reply.ends_with(b"\r\n") || reply.get(3) == Some(&b'-') && !reply.ends_with(b" End\r\n") {
            let mut byte = [0];
            let read = match (&mut self.secure, &mut self.plain) {
                (Some(stream), _) => stream.read(&mut byte),
                (_, Some(stream)) => stream.read(&mut byte),
                _ => unreachable!("there is a stream"),
            };
            if read.unwrap() == 0 {
                break;
            }
            reply.push(byte[0]);
        }
        String::from_utf8(reply).unwrap()
    }

    #[track_caller]
    fn hears(&mut self, code: &str) -> String {
        let reply = self.hear();
        assert!(reply.starts_with(code), "{reply:?}, not {code}");
        reply
    }

    fn ask(&mut self, line: &str) -> String {
        self.say(&format!("{line}\r\n"));
        self.hear()
    }

    #[track_caller]
    fn asks(&mut self, line: &str, code: &str) -> String {
        let reply = self.ask(line);
        assert!(reply.starts_with(code), "{line}: {reply:?}, not {code}");
        reply
    }

    fn data(&mut self) -> TcpStream {
        let reply = self.asks("EPSV", "229");
        let port: u16 = reply.split('|').nth(3).unwrap().parse().unwrap();
        TcpStream::connect(("127.0.0.1", port)).unwrap()
    }
}

#[test]
fn files_go_through_tls_both_ways() {
    let made = Certificates::new();
    let gate = gate(&made, "");
    let config = made.client(None, &[]);
    let mut ftp = Client::secured(&gate, &config);
    assert!(ftp.asks("FEAT", "211").contains(" AUTH TLS\r\n PBSZ\r\n PROT\r\n"));
    ftp.asks("PROT P", "503");
    ftp.asks("PBSZ 0", "200");
    ftp.asks("PROT P", "200");
    ftp.log_in();
    let bytes: Vec<u8> = (0..60_000).map(|at| (at % 251) as u8).collect();
    let data = ftp.data();
    ftp.asks("STOR f", "150");
    let mut data = wrap(data, &config).unwrap();
    data.write_all(&bytes).unwrap();
    data.conn.send_close_notify();
    data.flush().unwrap();
    drop(data);
    ftp.hears("226");
    let data = ftp.data();
    ftp.asks("RETR f", "150");
    let mut data = wrap(data, &config).unwrap();
    let mut heard = Vec::new();
    data.read_to_end(&mut heard).unwrap();
    assert!(heard == bytes);
    ftp.hears("226");
    // PROT C takes it off again.
    ftp.asks("PROT C", "200");
    let mut data = ftp.data();
    ftp.asks("NLST", "150");
    let mut names = String::new();
    data.read_to_string(&mut names).unwrap();
    ftp.hears("226");
    assert_eq!(names, "f\r\n");
    ftp.asks("CCC", "533");
    ftp.asks("QUIT", "221");
}

#[test]
fn an_upload_without_close_notify_is_not_complete() {
    let made = Certificates::new();
    let gate = gate(&made, "");
    let config = made.client(None, &[]);
    let mut ftp = Client::secured(&gate, &config);
    ftp.asks("PBSZ 0", "200");
    ftp.asks("PROT P", "200");
    ftp.log_in();
    let data = ftp.data();
    ftp.asks("STOR f", "150");
    let mut data = wrap(data, &config).unwrap();
    data.write_all(b"cut").unwrap();
    drop(data);
    ftp.hears("426");
    ftp.asks("RETR f", "550");
    assert!(!gate.folder().join("files/ann/f").exists());
}

#[test]
fn what_follows_auth_in_the_clear_ends_it() {
    let made = Certificates::new();
    let gate = gate(&made, "");
    let mut ftp = Client::to(&gate, &made.client(None, &[]));
    ftp.hears("220");
    ftp.say("AUTH TLS\r\nUSER ann\r\n");
    ftp.hears("421");
    assert_eq!(ftp.hear(), "");
}

#[test]
fn tls_may_be_required_before_a_login() {
    let made = Certificates::new();
    let gate = gate(&made, "tls = 'required'");
    let config = made.client(None, &[]);
    let mut ftp = Client::to(&gate, &config);
    ftp.hears("220");
    ftp.asks("USER ann", "530");
    assert_eq!(counted(&gate, "polygate_ftp_login_failures_total", &["tls_required"]), 1);
    ftp.asks("PBSZ 0", "503");
    ftp.asks("AUTH KERBEROS", "504");
    ftp.asks("AUTH TLS", "234");
    ftp.begin();
    ftp.log_in();
    ftp.asks("AUTH TLS", "503");
    ftp.asks("PBSZ 0", "200");
    ftp.asks("PROT C", "534");
    ftp.asks("PROT S", "536");
}

#[test]
fn implicit_tls_begins_with_the_connection() {
    let made = Certificates::new();
    let gate = gate(&made, "tls = 'implicit'");
    let config = made.client(None, &[]);
    let mut ftp = Client::to(&gate, &config);
    ftp.begin();
    ftp.hears("220");
    ftp.log_in();
    let data = ftp.data();
    ftp.asks("NLST", "150");
    let mut data = wrap(data, &config).unwrap();
    let mut names = String::new();
    data.read_to_string(&mut names).unwrap();
    ftp.hears("226");
    let mut plain = gate.connect("ftp");
    plain.say("USER ann\r\n");
    plain.is_gone();
    eventually("it is rejected", || gate.rejected("ftp", polygate::stats::RejectReason::Tls) == 1);
}

#[test]
fn a_data_connection_without_its_handshake_is_refused_and_the_session_goes_on() {
    let made = Certificates::new();
    let gate = gate(&made, "data_timeout = '300ms'\nrequire_resumption = true");
    let config = made.client(None, &[]);
    let mut ftp = Client::secured(&gate, &config);
    ftp.asks("PBSZ 0", "200");
    ftp.asks("PROT P", "200");
    ftp.log_in();
    let mut data = ftp.data();
    ftp.asks("NLST", "150");
    data.write_all(b"no handshake").unwrap();
    ftp.hears("522");
    // Resumed on the control connection's ticket it is taken.
    let data = ftp.data();
    ftp.asks("NLST", "150");
    let mut data = wrap(data, &config).unwrap();
    let mut names = String::new();
    data.read_to_string(&mut names).unwrap();
    ftp.hears("226");
    // Begun anew it is not.
    let data = ftp.data();
    ftp.asks("NLST", "150");
    let _data = wrap(data, &made.client(None, &[]));
    ftp.hears("522");
    assert_eq!(counted(&gate, "polygate_ftp_data_connection_failures_total", &["epsv", "tls"]), 2);
}
