//! TLS and the PROXY protocol of a listener: certificates as they were read, and who may say where a connection
//! comes from. What a certificate is worth only the network's floor can tell; the catalog asks it.

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
