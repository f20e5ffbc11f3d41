//! Certificates made for a test, and clients that speak TLS.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::harness::DEADLINE;

/// A folder with a certificate for `localhost` and its key, and with a root and a client's certificate below it.
pub(crate) struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        let made = Certificates { folder: tempfile::tempdir().unwrap() };
        made.renew();
        let ca_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        made.write("ca.pem", &params.self_signed(&ca_key).unwrap().pem());
        let key = KeyPair::generate().unwrap();
        let mut own = CertificateParams::default();
        own.distinguished_name = rcgen::DistinguishedName::new();
        own.distinguished_name.push(rcgen::DnType::CommonName, "ada");
        made.write("ada.pem", &own.signed_by(&key, &Issuer::new(params, ca_key)).unwrap().pem());
        made.write("ada.key", &key.serialize_pem());
        made
    }

    /// Puts another certificate into the place of the old one.
    pub(crate) fn renew(&self) {
        self.make("cert.pem", "key.pem", |_| {});
    }

    /// A certificate of its own kind.
    pub(crate) fn make(&self, cert: &str, key: &str, change: impl Fn(&mut CertificateParams)) {
        let pair = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_string()]).unwrap();
        change(&mut params);
        self.write(cert, &params.self_signed(&pair).unwrap().pem());
        self.write(key, &pair.serialize_pem());
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A `tls` table.
    pub(crate) fn table(&self, more: &str) -> String {
        format!("tls = {{ cert = {:?}, key = {:?}{more} }}", self.path("cert.pem"), self.path("key.pem"))
    }

    /// What a client trusts now, and shows.
    pub(crate) fn client(&self, shows: Option<(&str, &str)>, alpn: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("cert.pem")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.unwrap().with_root_certificates(roots);
        let mut config = match shows {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let chain = vec![CertificateDer::from_pem_file(self.path(cert)).unwrap()];
                let key = PrivateKeyDer::from_pem_file(self.path(key)).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

/// A connection with TLS.
pub(crate) type Secure = StreamOwned<ClientConnection, TcpStream>;

/// Connects to a gateway's address; the handshake is complete, as far as the client can tell.
pub(crate) fn connect(address: &str, config: &Arc<ClientConfig>) -> io::Result<Secure> {
    let at = address.rsplit("//").next().unwrap();
    wrap(TcpStream::connect(at)?, config)
}

/// Begins TLS on a connection.
pub(crate) fn wrap(mut socket: TcpStream, config: &Arc<ClientConfig>) -> io::Result<Secure> {
    socket.set_read_timeout(Some(DEADLINE))?;
    socket.set_write_timeout(Some(DEADLINE))?;
    socket.set_nodelay(true)?;
    let mut tls = ClientConnection::new(config.clone(), "localhost".try_into().unwrap()).unwrap();
    while tls.is_handshaking() {
        tls.complete_io(&mut socket)?;
    }
    Ok(StreamOwned::new(tls, socket))
}

/// Says something and hears as many bytes as expected.
#[track_caller]
pub(crate) fn ask(stream: &mut (impl Read + Write), question: &str, answer: &str) {
    stream.write_all(question.as_bytes()).unwrap();
    let mut heard = vec![0; answer.len()];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(String::from_utf8_lossy(&heard), answer);
}
