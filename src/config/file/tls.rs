//! `tls` and `proxy_protocol` of a listener, as the user types them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::List;
use crate::config::text::{FilePath, Network};
use crate::config::tls::MinVersion;

/// `tls`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["cert", "key"]))]
pub(in crate::config) struct TlsFile {
    /// File with the certificate in PEM format, and after it those that lead to its root; relative to the folder of
    /// this file.
    pub(in crate::config) cert: Option<FilePath>,
    /// File with its private key in PEM format.
    pub(in crate::config) key: Option<FilePath>,
    /// File with the roots of the clients' certificates; with it every client must show one. Default: none.
    pub(in crate::config) client_ca: Option<FilePath>,
    /// The oldest version that is spoken. Default: "1.2".
    pub(in crate::config) min_version: Option<MinVersion>,
}

/// `tls` of an upstream
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct UpstreamTlsFile {
    /// The name or address that the endpoints' certificates must be for. Default: the host of each endpoint; required
    /// for Unix sockets.
    pub(in crate::config) server_name: Option<String>,
    /// File with the roots that are trusted, in PEM format. Default: those of the system.
    pub(in crate::config) ca: Option<FilePath>,
    /// File with the certificate that is shown where an endpoint asks for one. Default: none.
    pub(in crate::config) cert: Option<FilePath>,
    /// File with its private key.
    pub(in crate::config) key: Option<FilePath>,
    /// Whether the endpoints' certificates are taken unseen. Default: false.
    pub(in crate::config) insecure: Option<bool>,
}

/// `proxy_protocol`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["from"]))]
pub(in crate::config) struct ProxyProtocolFile {
    /// Networks whose headers are believed; others may not connect.
    #[schemars(length(min = 1))]
    pub(in crate::config) from: Option<List<Network>>,
    /// Versions of the header that are read. Default: both, [1, 2].
    #[schemars(length(min = 1), inner(range(min = 1, max = 2)))]
    pub(in crate::config) versions: Option<List<u8>>,
}
