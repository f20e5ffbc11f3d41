//! TLS to the members of an upstream.

use std::io;

use super::dial::Failure;
use crate::config::{Endpoint, Host, PemError, UpstreamTls};
use crate::net::Stream;
use crate::net::tls::Connector;
use crate::stats::ConnectFailure;

/// How TLS is begun with members.
#[derive(Debug, Clone)]
pub(super) struct Secure {
    /// The check has seen the same texts. Should it fail all the same, no connection goes in the clear.
    connector: Result<Connector, PemError>,
    server_name: Option<String>,
}

impl Secure {
    pub(super) fn new(config: &UpstreamTls) -> Self {
        let connector = Connector::client(&config.pem).map(|(connector, _)| connector);
        Secure { connector, server_name: config.server_name.clone() }
    }

    /// Does the handshake with an endpoint.
    pub(super) async fn begin(&self, endpoint: &Endpoint, stream: Stream) -> Result<Stream, Failure> {
        let failure = |error| Failure { reason: ConnectFailure::Tls, error };
        let connector = self.connector.as_ref().map_err(|error| failure(io::Error::other(error.clone())))?;
        let name = match (&self.server_name, endpoint) {
            (Some(name), _) => name.clone(),
            (None, Endpoint::Tcp(at)) => match &at.host {
                Host::Ip(ip) => ip.to_string(),
                Host::Name(name) => name.clone(),
            },
            // Nothing is verified: any name will do.
            (None, _) => "localhost".into(),
        };
        let secure = connector.connect(&name, stream).await.map_err(failure)?;
        Ok(Stream::Tls(Box::new(secure)))
    }
}
