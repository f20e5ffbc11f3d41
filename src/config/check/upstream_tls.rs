//! `tls` of upstreams: what is trusted and shown, and whom certificates must be for.

use std::net::IpAddr;

use super::Checker;
use super::upstreams::Upstreams;
use crate::config::diagnostic::Severity;
use crate::config::endpoint::{Endpoint, Transports};
use crate::config::file::UpstreamTlsFile;
use crate::config::text::{BadValue, FilePath, is_host_name};
use crate::config::tls::{ClientPem, SYSTEM_ROOTS, UpstreamTls};
use crate::config::tree::Pointer;
use crate::config::upstream::Upstream;

impl Checker<'_, '_> {
    /// Reads what the `tls` tables name.
    pub(super) fn upstreams_tls(&mut self, upstreams: &mut Upstreams) {
        let files = self.file.upstreams.iter().flat_map(|table| &table.0);
        for ((name, file), upstream) in files.zip(&mut upstreams.sound) {
            let Some(tls) = &file.tls else { continue };
            let at = Pointer::root().child("upstreams").child(name).child("tls");
            upstream.tls = self.upstream_tls(tls, upstream, &at);
        }
    }

    fn upstream_tls(
        &mut self,
        file: &UpstreamTlsFile,
        upstream: &Upstream,
        at: &Pointer,
    ) -> Option<UpstreamTls> {
        let mut sound = self.fits(file, upstream, at);
        let insecure = file.insecure.unwrap_or(false);
        if insecure {
            let warning = BadValue::new(
                "the endpoints' certificates are taken unseen: anybody on the way can read along",
            )
            .help("name the roots to trust in `ca`");
            self.report.at_value(Severity::Warning, self.tree, &at.child("insecure"), warning);
        }
        let ca = match (insecure, &file.ca) {
            (true, _) => None,
            (false, Some(path)) => Some(self.pem(Some(path), &at.child("ca"))?),
            (false, None) => Some(self.pem(Some(&FilePath(SYSTEM_ROOTS.into())), at)?),
        };
        let own = match (&file.cert, &file.key) {
            (None, None) => None,
            (Some(cert), Some(key)) => {
                let cert = self.pem(Some(cert), &at.child("cert"));
                let key = self.pem(Some(key), &at.child("key"));
                Some((cert?, key?))
            }
            (cert, _) => {
                let (written, missing) = if cert.is_some() { ("cert", "key") } else { ("key", "cert") };
                let error = BadValue::new(format!("`{written}` needs `{missing}`, too"));
                self.report.at_value(Severity::Error, self.tree, &at.child(written), error);
                return None;
            }
        };
        let (ca_path, ca) = ca.unzip();
        let (cert, key) = own.unzip();
        let (cert_path, cert) = cert.unzip();
        let (key_path, key) = key.unzip();
        let pem = ClientPem { ca, own: cert.zip(key) };
        match self.catalog.check_client_pem(&pem) {
            Ok(None) => {}
            Ok(Some(validity)) => sound &= self.lasts(validity, &at.child("cert")).is_some(),
            Err(error) => {
                self.refuse_pem(error, "ca", at);
                return None;
            }
        }
        let server_name = file.server_name.clone();
        sound.then_some(UpstreamTls {
            server_name,
            ca: ca_path,
            cert: cert_path,
            key: key_path,
            insecure,
            pem,
        })
    }

    /// Whether TLS can be spoken to the endpoints, and each has a name.
    fn fits(&mut self, file: &UpstreamTlsFile, upstream: &Upstream, at: &Pointer) -> bool {
        if upstream.transports().intersects(Transports::DATAGRAMS) {
            let error = BadValue::new("the upstream is for datagrams: TLS is for connections");
            self.report.at_key(Severity::Error, self.tree, at, error);
            return false;
        }
        match &file.server_name {
            Some(name) if is_host_name(name) || name.parse::<IpAddr>().is_ok() => true,
            Some(name) => {
                let name = name.escape_debug();
                let error = BadValue::new(format!("expected a host name or an address, found `{name}`"));
                self.report.at_value(Severity::Error, self.tree, &at.child("server_name"), error);
                false
            }
            None if file.insecure != Some(true)
                && upstream.to.iter().any(|to| matches!(to.endpoint, Endpoint::Unix(_))) =>
            {
                let error =
                    BadValue::new("a Unix socket has no host name: its certificate needs `server_name`")
                        .help("write the name that the certificate is for, for example \"db.example\"");
                self.report.at_key(Severity::Error, self.tree, at, error);
                false
            }
            None => true,
        }
    }
}
