//! TLS: AUTH, PBSZ, PROT, CCC (RFC 2228, RFC 4217), and data connections through it.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::TlsMode;
use super::reply::Reply;
use super::session::Session;
use crate::handler::{Acceptor, Conn, Phase};
use crate::handlers::told::LoginFailure;
use crate::net::Stream;

impl Session<'_> {
    /// Whether the control connection goes through TLS.
    fn is_secure(conn: &Conn) -> bool {
        conn.tls().is_some()
    }

    /// AUTH TLS: what comes behind the reply is a handshake. Anything that came with the command was sent in the clear
    /// and would be taken for something protected (CVE-2011-0411): the connection ends.
    pub(super) async fn begin_tls(&mut self, conn: &mut Conn, argument: &[u8]) -> std::io::Result<Reply> {
        let Some(acceptor) = &self.ftp.acceptor else { return Ok(Reply::new(502, "There is no TLS here.")) };
        let asked = argument.trim_ascii().to_ascii_uppercase();
        match &*asked {
            b"TLS" | b"TLS-C" | b"SSL" | b"TLS-P" => {}
            _ => return Ok(Reply::new(504, "There is AUTH TLS.")),
        }
        if Self::is_secure(conn) {
            return Ok(Reply::new(503, "TLS has begun already."));
        }
        if self.has_more() {
            self.leaving = true;
            return Ok(Reply::new(421, "Nothing may follow AUTH before TLS has begun; good-bye."));
        }
        self.say(&Reply::new(234, "Begin TLS."));
        self.flush(conn).await?;
        conn.enter(Phase::Handshake);
        if conn.start_tls(acceptor).await.is_err() {
            return Err(std::io::ErrorKind::ConnectionAborted.into());
        }
        // RFC 4217, 4.2: who was logged in has to do so again, and data is clear until PROT says otherwise.
        self.reset(conn);
        self.protects_data = false;
        self.is_silent = true;
        Ok(Reply::new(234, ""))
    }

    /// PBSZ: TLS has no buffer to be agreed on (RFC 4217, 8).
    pub(super) fn set_buffer(&mut self, conn: &Conn, argument: &[u8]) -> Reply {
        if !Self::is_secure(conn) {
            return Reply::new(503, "Send AUTH TLS first.");
        }
        match argument.iter().all(u8::is_ascii_digit) {
            true => {
                self.has_buffer = true;
                Reply::new(200, "PBSZ=0")
            }
            false => Reply::new(501, "Expected a number."),
        }
    }

    /// PROT: `P` puts TLS on data connections, `C` takes it off.
    pub(super) fn set_protection(&mut self, conn: &Conn, argument: &[u8]) -> Reply {
        if !Self::is_secure(conn) || !self.has_buffer {
            return Reply::new(503, "Send AUTH TLS and PBSZ 0 first.");
        }
        match &*argument.trim_ascii().to_ascii_uppercase() {
            b"P" => {
                self.protects_data = true;
                Reply::new(200, "Data goes through TLS.")
            }
            b"C" if matches!(self.ftp.mode, TlsMode::Required) => {
                Reply::new(534, "Data must go through TLS here.")
            }
            b"C" => {
                self.protects_data = false;
                Reply::new(200, "Data goes in the clear.")
            }
            b"S" | b"E" => Reply::new(536, "There are PROT P and PROT C."),
            _ => Reply::new(504, "There are PROT P and PROT C."),
        }
    }

    /// Why nobody may log in yet.
    pub(super) fn needs_tls(&mut self, conn: &Conn) -> Option<Reply> {
        if self.ftp.mode != TlsMode::Required || Self::is_secure(conn) {
            return None;
        }
        self.login_failed(LoginFailure::TlsRequired);
        Some(Reply::new(530, "Send AUTH TLS first."))
    }

    /// What a data connection is put through.
    pub(super) fn protection(&self) -> Option<Protection> {
        let acceptor = self.ftp.acceptor.clone().filter(|_| self.protects_data)?;
        Some(Protection { acceptor, resumes: self.ftp.options.require_resumption })
    }
}

/// TLS on a data connection.
pub(super) struct Protection {
    acceptor: Acceptor,
    /// Whether it must resume what was begun on the control connection.
    resumes: bool,
}

/// The handshake of a data connection, where one is due. None: it failed, or took too long, or resumes nothing.
pub(super) async fn protect(
    data: TcpStream,
    protection: Option<&Protection>,
    at_most: Duration,
) -> Option<Stream> {
    let Some(Protection { acceptor, resumes }) = protection else { return Some(Stream::Tcp(data)) };
    let stream = timeout(at_most, acceptor.accept(Stream::Tcp(data))).await.ok()?.ok()?;
    (!resumes || stream.facts().resumed).then(|| Stream::Tls(Box::new(stream)))
}
