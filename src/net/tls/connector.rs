//! TLS as a client: the command line to an admin API, and `forward` to upstreams.

use std::io;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::{BUFFER, TlsStream, certificates, key_error, private_key, roots_of, validity_of};
use crate::config::{ClientPem, PemError, Validity};

/// Begins TLS as a client, by one set of certificates.
#[derive(Clone)]
pub struct Connector(TlsConnector);

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

impl Connector {
    /// That trusts the certificates of a PEM text: each of them itself, whatever its name, and what they have signed.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn new(trusted: &str) -> Result<Self, PemError> {
        Self::client(&ClientPem { ca: Some(trusted.into()), own: None }).map(|(connector, _)| connector)
    }

    /// The same, with a certificate to show where the server asks for one, and its validity. Without anything to
    /// trust it takes whatever it is shown.
    ///
    /// # Errors
    /// What is wrong with which text.
    pub fn client(pem: &ClientPem) -> Result<(Self, Option<Validity>), PemError> {
        let wrong = |error: &dyn std::fmt::Display| PemError::ClientCa(error.to_string());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let trusted = match &pem.ca {
            Some(trusted) => {
                let roots = roots_of(trusted.as_bytes())?;
                let signed = WebPkiServerVerifier::builder_with_provider(roots, provider.clone());
                let signed = signed.build().map_err(|error| wrong(&error))?;
                Some(Trusted { known: certificates(trusted.as_bytes()).map_err(PemError::ClientCa)?, signed })
            }
            None => None,
        };
        let verifier = Verifier { trusted, algorithms: provider.signature_verification_algorithms };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let (config, validity) = match &pem.own {
            None => (builder.with_no_client_auth(), None),
            Some((cert, key)) => {
                let chain = certificates(cert.as_bytes()).map_err(PemError::Cert)?;
                let validity = validity_of(&chain[0]).map_err(PemError::Cert)?;
                let config = builder.with_client_auth_cert(chain, private_key(key)?).map_err(key_error)?;
                (config, Some(validity))
            }
        };
        Ok((Connector(Arc::new(config).into()), validity))
    }

    /// Does the handshake. `host` is a name or an address, which a signed certificate must be for. What comes of it holds
    /// no more than a record that the peer does not take.
    ///
    /// # Errors
    /// What is wrong with the name, the certificate or the connection.
    pub async fn connect<S>(&self, host: &str, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let limit = |conn: &mut rustls::ClientConnection| conn.set_buffer_limit(Some(BUFFER));
        let stream = self.0.connect_with(server_name(host)?, stream, limit).await?;
        Ok(TlsStream(stream.into()))
    }
}

fn server_name(host: &str) -> io::Result<ServerName<'static>> {
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    ServerName::try_from(host).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
}

/// Whether an error is the peer's word that it does not take what it was shown: with TLS 1.3 it comes after the
/// handshake (RFC 8446, 4.4.2.4).
pub fn is_alert(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    matches!(inner, Some(Error::AlertReceived(_)))
}

/// Takes the very certificates that are trusted, and those that they have signed; without any, whatever it is shown. The
/// former makes a self-signed one usable as common tools make it: as one that may sign others, which cannot be a
/// server's by the rules of PKIX. In each case its owner must have the key.
#[derive(Debug)]
struct Verifier {
    trusted: Option<Trusted>,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
struct Trusted {
    known: Vec<CertificateDer<'static>>,
    signed: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.trusted {
            Some(Trusted { known, signed }) if !known.contains(end_entity) => {
                signed.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
