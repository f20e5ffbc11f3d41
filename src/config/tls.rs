//! TLS and the PROXY protocol of a listener, and TLS to an upstream: certificates as they were read, and who may say
//! where a connection comes from. What a certificate is worth only the network's floor can tell; the catalog asks it.

use std::fmt;
use std::path::PathBuf;
use std::time::SystemTime;

use ipnet::IpNet;
use serde::Serialize;

/// `tls` of a listener, or of the admin API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tls {
    /// Absolute path of the certificate, and after it those that lead to its root.
    pub cert: PathBuf,
    /// Absolute path of its private key.
    pub key: PathBuf,
    /// Absolute path of the roots of the clients' certificates; with them every client must show one.
    pub client_ca: Option<PathBuf>,
    /// The oldest version that is spoken.
    pub min_version: MinVersion,
    /// What the files held.
    #[serde(skip)]
    pub pem: Pem,
}

/// `tls.min_version`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize, schemars::JsonSchema)]
pub enum MinVersion {
    /// TLS 1.2 (RFC 5246).
    #[serde(rename = "1.2")]
    V12,
    /// TLS 1.3 (RFC 8446).
    #[serde(rename = "1.3")]
    V13,
}

/// What a listener proves itself by, as PEM texts (RFC 7468). Shown to nobody.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Pem {
    /// The certificate, and after it those that lead to its root.
    pub cert: String,
    /// The private key of the certificate.
    pub key: String,
    /// The roots of the clients' certificates.
    pub client_ca: Option<String>,
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pem")
    }
}

/// Where Debian and its kin, Alpine and the usual container images keep the roots that the system trusts.
pub const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// `tls` of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UpstreamTls {
    /// The name or address that the certificates of the endpoints must be for; none is the host of each.
    pub server_name: Option<String>,
    /// Absolute path of the roots that are trusted; none where nothing is verified.
    pub ca: Option<PathBuf>,
    /// Absolute path of the certificate that is shown where an endpoint asks for one.
    pub cert: Option<PathBuf>,
    /// Absolute path of its private key.
    pub key: Option<PathBuf>,
    /// Whether nothing is verified.
    pub insecure: bool,
    /// What the files held.
    #[serde(skip)]
    pub pem: ClientPem,
}

/// What a client trusts and proves itself by, as PEM texts. Shown to nobody.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ClientPem {
    /// The roots of the servers' certificates; without them nothing is verified.
    pub ca: Option<String>,
    /// A certificate, with those that lead to its root, and its key.
    pub own: Option<(String, String)>,
}

impl fmt::Debug for ClientPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientPem")
    }
}

/// What is wrong with a certificate, a key or the roots of the clients.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// Of the certificate.
    #[error("the certificate: {0}")]
    Cert(String),
    /// Of the key.
    #[error("the key: {0}")]
    Key(String),
    /// Of the roots.
    #[error("the roots of the clients: {0}")]
    ClientCa(String),
}

/// From when to when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Not before.
    pub from: SystemTime,
    /// Not after.
    pub until: SystemTime,
}

/// `proxy_protocol` of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProxyProtocol {
    /// Networks that may say where a connection comes from; others are turned away.
    pub from: Vec<IpNet>,
    /// Versions of the header that are read: 1, 2 or both.
    pub versions: Vec<u8>,
}
