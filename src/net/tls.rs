//! TLS on accepted streams, and to upstreams. Every type of rustls stays in here.
//!
//! An [`Acceptor`] is made of PEM texts, so that whatever is wrong with them shows when they are read and not
//! at a handshake. It is cheap to clone, and its clones share the key of their session tickets: a client
//! resumes on one connection what it began on another, as FTP clients do for their data connections. The
//! provider of the cryptography is named in each configuration; the process has no default one.

mod connector;

pub use connector::{Connector, is_alert};

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, UNIX_EPOCH};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{Error, HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsAcceptor;

use crate::config::{MinVersion, Pem, PemError, Validity};
use crate::stats::{TlsFailure, TlsVersion};

/// Most that a connection holds of what its peer does not take: one record (RFC 8446, 5.1).
const BUFFER: usize = 16 * 1024;

/// A handshake that failed.
#[derive(Debug, thiserror::Error)]
#[error("TLS handshake: {source}")]
pub struct HandshakeError {
    /// For the metric.
    pub reason: TlsFailure,
    /// What rustls or the socket says.
    pub source: io::Error,
}

/// What a handshake came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The version.
    pub version: TlsVersion,
    /// The cipher suite, by its name at IANA.
    pub cipher_suite: String,
    /// The host that the client asked for (SNI, RFC 6066, 3).
    pub sni: Option<String>,
    /// The protocol that was agreed on (ALPN, RFC 7301).
    pub alpn: Option<String>,
    /// The subject of the client's certificate.
    pub client: Option<String>,
    /// Whether the client resumed what it began on another connection.
    pub resumed: bool,
}

/// Answers handshakes by one configuration.
#[derive(Clone)]
pub struct Acceptor {
    tls: TlsAcceptor,
    validity: Validity,
}

/// A stream after its handshake. Its shutdown sends close_notify; an end without one is an error of the read
/// ([`io::ErrorKind::UnexpectedEof`]), so that nobody can cut a transfer short unseen.
#[derive(Debug)]
pub struct TlsStream<S>(tokio_rustls::TlsStream<S>);

impl Acceptor {
    /// By a certificate, the oldest version that is spoken, and the protocols offered by ALPN, the preferred
    /// one first. Whether the certificate is valid now is not looked at: see [`Acceptor::validity`].
    ///
    /// # Errors
    /// Which of the texts is not what it should be, or that key and certificate do not belong together.
    pub fn new(pem: &Pem, oldest: MinVersion, alpn: &[&str]) -> Result<Self, PemError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chain = certificates(pem.cert.as_bytes()).map_err(PemError::Cert)?;
        let validity = validity_of(&chain[0]).map_err(PemError::Cert)?;
        let key = private_key(&pem.key)?;
        let versions: &[_] = match oldest {
            MinVersion::V12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            MinVersion::V13 => &[&rustls::version::TLS13],
        };
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .map_err(|error| PemError::Cert(error.to_string()))?;
        let builder = match &pem.client_ca {
            Some(roots) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(roots_of(roots.as_bytes())?, provider);
                let verifier = verifier.build().map_err(|error| PemError::ClientCa(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(key_error)?;
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(|error| PemError::Key(error.to_string()))?;
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Acceptor { tls: Arc::new(config).into(), validity })
    }

    /// From when to when the certificate is valid.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Answers one handshake. There is no clock in it: whoever calls it has one.
    ///
    /// # Errors
    /// That it failed, and why, with the stream; an alert has been sent to the peer where there is one.
    pub async fn accept<S>(&self, stream: S) -> Result<TlsStream<S>, (HandshakeError, S)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let limit = |conn: &mut rustls::ServerConnection| conn.set_buffer_limit(Some(BUFFER));
        match self.tls.accept_with(stream, limit).into_fallible().await {
            Ok(stream) => Ok(TlsStream(stream.into())),
            Err((source, stream)) => Err((HandshakeError { reason: reason_of(&source), source }, stream)),
        }
    }
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the key.
        f.debug_struct("Acceptor").field("validity", &self.validity).finish_non_exhaustive()
    }
}

impl<S> TlsStream<S> {
    /// What the handshake came to.
    pub fn facts(&self) -> Facts {
        let conn = self.0.get_ref().1;
        let client = conn.peer_certificates().and_then(|chain| subject(chain.first()?));
        let suite = conn.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        // rustls names those of TLS 1.3 with `TLS13_`.
        let cipher_suite = suite.unwrap_or("unknown").replacen("TLS13_", "TLS_", 1);
        Facts {
            version: match conn.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => TlsVersion::V12,
                _ => TlsVersion::V13,
            },
            cipher_suite,
            sni: self.asked_for().map(str::to_owned),
            alpn: conn.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
            client,
            resumed: conn.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    /// What the client asked for, where this side is the server.
    fn asked_for(&self) -> Option<&str> {
        match &self.0 {
            tokio_rustls::TlsStream::Server(stream) => stream.get_ref().1.server_name(),
            tokio_rustls::TlsStream::Client(_) => None,
        }
    }

    /// The stream below.
    pub fn get_ref(&self) -> &S {
        self.0.get_ref().0
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err("no certificate in PEM format is in it".into()),
        Ok(chain) => Ok(chain),
        Err(error) => Err(format!("not PEM: {error}")),
    }
}

fn private_key(pem: &str) -> Result<PrivateKeyDer<'static>, PemError> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| PemError::Key("no private key in PEM format is in it".into()))
}

fn key_error(error: Error) -> PemError {
    match error {
        Error::InconsistentKeys(_) => PemError::Key("it is not the key of the certificate".into()),
        other => PemError::Key(other.to_string()),
    }
}

fn roots_of(pem: &[u8]) -> Result<Arc<RootCertStore>, PemError> {
    let mut roots = RootCertStore::empty();
    for root in certificates(pem).map_err(PemError::ClientCa)? {
        roots.add(root).map_err(|error| PemError::ClientCa(error.to_string()))?;
    }
    Ok(Arc::new(roots))
}

fn validity_of(cert: &CertificateDer<'_>) -> Result<Validity, String> {
    let (_, cert) = x509_parser::parse_x509_certificate(cert).map_err(|error| error.to_string())?;
    // One that begins before 1970 begins then.
    let time = |seconds: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let validity = cert.validity();
    Ok(Validity { from: time(validity.not_before.timestamp()), until: time(validity.not_after.timestamp()) })
}

fn subject(cert: &CertificateDer<'_>) -> Option<String> {
    let (_, cert) = x509_parser::parse_x509_certificate(cert).ok()?;
    Some(cert.subject().to_string())
}

fn reason_of(error: &io::Error) -> TlsFailure {
    use rustls::{AlertDescription as Alert, PeerIncompatible as Lacks};
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                TlsFailure::Eof
            }
            _ => TlsFailure::Other,
        };
    };
    match tls {
        Error::PeerIncompatible(
            Lacks::NoCipherSuitesInCommon
            | Lacks::NoKxGroupsInCommon
            | Lacks::NoSignatureSchemesInCommon
            | Lacks::NoCertificateRequestSignatureSchemesInCommon,
        ) => TlsFailure::NoSharedCipher,
        Error::InvalidCertificate(_) | Error::NoCertificatesPresented => TlsFailure::BadCertificate,
        Error::AlertReceived(
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA,
        ) => TlsFailure::BadCertificate,
        Error::PeerIncompatible(_)
        | Error::PeerMisbehaved(_)
        | Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::InappropriateHandshakeMessage { .. }
        | Error::NoApplicationProtocol
        | Error::DecryptError
        | Error::PeerSentOversizedRecord => TlsFailure::Protocol,
        _ => TlsFailure::Other,
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // What the peer did not take yet goes first: whoever reads now may have been writing before.
        if self.0.get_ref().1.wants_write()
            && let Poll::Ready(Err(error)) = Pin::new(&mut self.0).poll_flush(cx)
        {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
