//! `tls` and `proxy_protocol`: the files that are named, and what is in them.

use std::time::{Duration, SystemTime};

use super::Checker;
use crate::config::Transports;
use crate::config::diagnostic::Severity;
use crate::config::endpoint::Endpoint;
use crate::config::file::{ListenerFile, OneOrMany, TlsFile};
use crate::config::text::{BadValue, FilePath};
use crate::config::tls::{MinVersion, Pem, PemError, ProxyProtocol, Tls, Validity};
use crate::config::tree::Pointer;

/// A certificate that ends sooner is warned of.
const NEAR: Duration = Duration::from_secs(30 * 86_400);

impl Checker<'_, '_> {
    /// Reads what a `tls` table names. None where there is no table, or something is wrong with it.
    pub(super) fn tls(&mut self, file: Option<&TlsFile>, at: &Pointer) -> Option<Tls> {
        let file = file?;
        let cert = self.pem(file.cert.as_ref(), &at.child("cert"));
        let key = self.pem(file.key.as_ref(), &at.child("key"));
        let client_ca = match &file.client_ca {
            Some(path) => Some(self.pem(Some(path), &at.child("client_ca"))?),
            None => None,
        };
        let (cert, key) = (cert?, key?);
        let (client_path, client_ca) = client_ca.unzip();
        let pem = Pem { cert: cert.1, key: key.1, client_ca };
        self.judge(&pem, at)?;
        let min_version = file.min_version.unwrap_or(MinVersion::V12);
        Some(Tls { cert: cert.0, key: key.0, client_ca: client_path, min_version, pem })
    }

    pub(super) fn pem(
        &mut self,
        path: Option<&FilePath>,
        at: &Pointer,
    ) -> Option<(std::path::PathBuf, String)> {
        let path = &path?.0;
        match self.sources.read(path) {
            Ok(text) => Some((self.sources.folder.join(path), text)),
            Err(error) => {
                self.report.at_value(Severity::Error, self.tree, at, error);
                None
            }
        }
    }

    fn judge(&mut self, pem: &Pem, at: &Pointer) -> Option<()> {
        match self.catalog.check_pem(pem) {
            Ok(validity) => self.lasts(validity, &at.child("cert")),
            Err(error) => {
                self.refuse_pem(error, "client_ca", at);
                None
            }
        }
    }

    /// Says which of the files of a table is not what it should be; `roots` is the key of the roots.
    pub(super) fn refuse_pem(&mut self, error: PemError, roots: &str, at: &Pointer) {
        let (key, message) = match error {
            PemError::Cert(message) => ("cert", message),
            PemError::Key(message) => ("key", message),
            PemError::ClientCa(message) => (roots, message),
        };
        self.report.at_value(Severity::Error, self.tree, &at.child(key), BadValue::new(message));
    }

    /// Whether a certificate is valid, and for how long.
    pub(super) fn lasts(&mut self, validity: Validity, at: &Pointer) -> Option<()> {
        let mut say = |severity, what: String| {
            self.report.at_value(severity, self.tree, at, BadValue::new(what));
        };
        let (now, until) = (SystemTime::now(), date(validity.until));
        if validity.until <= now {
            say(Severity::Error, format!("the certificate has expired: it was valid until {until}"));
            return None;
        }
        if validity.until < now + NEAR {
            say(Severity::Warning, format!("the certificate is near its end: it is valid until {until}"));
        }
        if validity.from > now {
            let warning = format!("the certificate is not valid yet: it begins at {}", date(validity.from));
            say(Severity::Warning, warning);
        }
        Some(())
    }

    /// `tls` and `proxy_protocol` need endpoints for connections.
    pub(super) fn fit_tables(&mut self, listener: &ListenerFile, at: &Pointer, bind: &[&Endpoint]) {
        let transports = bind.iter().fold(Transports::NONE, |all, e| all | e.transport().into());
        let written =
            [("tls", listener.tls.is_some()), ("proxy_protocol", listener.proxy_protocol.is_some())];
        for (key, _) in written.iter().filter(|(_, written)| *written) {
            if !transports.intersects(Transports::STREAMS) {
                let error = BadValue::new(format!(
                    "`{key}` does not fit this listener: it has no endpoint for connections"
                ));
                self.report.at_key(Severity::Error, self.tree, &at.child(key), error);
            }
        }
    }

    /// Whether a listener has a `tls` table, its own or that of `[defaults]`, which fits endpoints for connections.
    pub(super) fn has_tls(&self, listener: &ListenerFile) -> bool {
        let usual = self.file.defaults.as_ref().is_some_and(|file| file.tls.is_some());
        listener.tls.is_some() || usual && has_streams(listener)
    }

    /// A listener's own table, with what it leaves out taken from `[defaults]`.
    pub(super) fn over_defaults(&self, own: &TlsFile) -> TlsFile {
        let mut table = own.clone();
        if let Some(usual) = self.file.defaults.as_ref().and_then(|file| file.tls.as_ref()) {
            table.client_ca = table.client_ca.or_else(|| usual.client_ca.clone());
            table.min_version = table.min_version.or(usual.min_version);
        }
        table
    }

    /// Who may send PROXY headers.
    pub(super) fn proxy_protocol(&self, listener: &ListenerFile) -> Option<ProxyProtocol> {
        let usual = self.file.defaults.as_ref().and_then(|file| file.proxy_protocol.as_ref());
        let usual = usual.filter(|_| has_streams(listener));
        let file = listener.proxy_protocol.as_ref().or(usual)?;
        let from = file.from.iter().flat_map(|list| list.0.iter().flatten());
        let versions = file.versions.as_ref().or_else(|| usual.and_then(|usual| usual.versions.as_ref()));
        let mut versions: Vec<u8> = match versions {
            Some(list) => list.0.iter().flatten().copied().collect(),
            None => vec![1, 2],
        };
        versions.sort_unstable();
        versions.dedup();
        Some(ProxyProtocol { from: from.map(|network| network.0).collect(), versions })
    }
}

/// Whether one of its endpoints is for connections.
fn has_streams(listener: &ListenerFile) -> bool {
    let endpoints = listener.bind.iter().flat_map(OneOrMany::elements).filter_map(|(_, endpoint)| endpoint);
    endpoints.into_iter().any(|endpoint| endpoint.transport().is_stream())
}

/// In UTC, to the second.
fn date(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    jiff::Timestamp::from_second(time.as_second()).unwrap_or_default().to_string()
}
