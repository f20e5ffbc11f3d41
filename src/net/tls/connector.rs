//! TLS as a client: the command line to an admin API.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client};

use super::roots_of;
use crate::config::PemError;

/// Begins TLS as a client, by one set of roots.
#[derive(Clone)]
pub struct Connector(TlsConnector);

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

impl Connector {
    /// That trusts the certificates of a PEM text, and what they have signed.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn new(roots: &str) -> Result<Self, PemError> {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder
            .with_safe_default_protocol_versions()
            .map_err(|error| PemError::ClientCa(error.to_string()))?;
        let config = builder.with_root_certificates(roots_of(roots.as_bytes())?).with_no_client_auth();
        Ok(Connector(Arc::new(config).into()))
    }

    /// Does the handshake. `host` is a name or an address, which the certificate must be for.
    ///
    /// # Errors
    /// What the peer, the certificate or the socket says.
    pub async fn connect<S>(&self, host: &str, stream: S) -> io::Result<client::TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name =
            ServerName::try_from(host).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        self.0.connect(name, stream).await
    }
}
