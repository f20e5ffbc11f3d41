//! `[admin]`: where the API listens, and that nobody reaches it from elsewhere without a token.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::binds::{Bound, Owner};
use super::{Checker, is_loopback};
use crate::config::Role;
use crate::config::access::{Token, TokenHash, check_token};
use crate::config::diagnostic::Severity;
use crate::config::endpoint::{Endpoint, UnixAddress};
use crate::config::file::{AdminBind, AdminFile, OneOrMany, TokenFile};
use crate::config::merge;
use crate::config::model::Admin;
use crate::config::text::BadValue;
use crate::config::tree::Pointer;

/// What may bind an admin endpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bind {
    /// The API, which others may reach where there are tokens.
    Api { tokens: bool },
    /// `metrics_bind`, which shows nothing that is worth a token.
    Metrics,
}

impl Checker<'_, '_> {
    pub(super) fn admin(&mut self, bounds: &mut Vec<Bound>) -> Admin {
        let none = AdminFile::default();
        let admin = self.file.admin.as_ref().unwrap_or(&none);
        let at = Pointer::root().child("admin");
        let default = OneOrMany::One(AdminBind::At(merge::default_admin()));
        let written = admin.bind.is_some();
        // A token in which something was found is one all the same: that it is missing is not said as well.
        let tokens = admin.token_file.is_some()
            || admin.tokens.as_ref().is_some_and(|tokens| !tokens.0.is_empty())
            || self.tree.nearest(&at.child("token_file")).1;
        let binds = admin.bind.as_ref().unwrap_or(&default);
        let owner = Owner::Admin { written };
        let bind = self.admin_binds(binds, &at.child("bind"), Bind::Api { tokens }, &owner, bounds);
        let metrics_bind = match &admin.metrics_bind {
            Some(binds) => {
                self.admin_binds(binds, &at.child("metrics_bind"), Bind::Metrics, &Owner::Metrics, bounds)
            }
            None => Vec::new(),
        };
        let hosts = admin.hosts.iter().flat_map(|hosts| hosts.0.iter().flatten());
        let open = admin.open.iter().flat_map(|open| open.0.iter().flatten());
        Admin {
            bind,
            hosts: hosts.map(|host| host.0.clone()).collect(),
            metrics_bind,
            open: open.copied().collect(),
            tokens: self.tokens(admin, &at),
            tls: self.tls(admin.tls.as_ref(), &at.child("tls")),
        }
    }

    fn admin_binds(
        &mut self,
        binds: &OneOrMany<AdminBind>,
        at: &Pointer,
        what: Bind,
        owner: &Owner,
        bounds: &mut Vec<Bound>,
    ) -> Vec<Endpoint> {
        let mut bind = Vec::new();
        for (index, element) in binds.elements() {
            let at = index.map_or(at.clone(), |index| at.child(index));
            match element {
                Some(AdminBind::At(endpoint)) => match self.admin_endpoint(endpoint, what) {
                    Ok(endpoint) => {
                        bounds.push(Bound { owner: owner.clone(), endpoint: endpoint.clone(), at });
                        bind.push(endpoint);
                    }
                    Err(error) => self.report.at_value(Severity::Error, self.tree, &at, error),
                },
                Some(AdminBind::Off) if index.is_some() => {
                    let error = BadValue::new("`off` cannot stand in a list").help("write \"off\" alone");
                    self.report.at_value(Severity::Error, self.tree, &at, error);
                }
                Some(AdminBind::Off) | None => {}
            }
        }
        bind
    }

    /// Without tokens the admin API may be reached from this machine only, by who may open its node.
    fn admin_endpoint(&self, endpoint: &Endpoint, what: Bind) -> Result<Endpoint, BadValue> {
        let who = match what {
            Bind::Api { .. } => "the admin API",
            Bind::Metrics => "`metrics_bind`",
        };
        let needs_token = |why: &str| {
            let message = format!("the admin API cannot listen on {endpoint}: {why}, and there is no token");
            let help = "name a token in [admin.tokens] or `admin.token_file`, or bind a loopback address or \
                        unix://PATH";
            Err(BadValue::new(message).help(help))
        };
        let guarded = what != Bind::Api { tokens: false };
        match endpoint {
            Endpoint::Tcp(at) if guarded || is_loopback(&at.host) => Ok(endpoint.clone()),
            Endpoint::Tcp(_) => needs_token("it is not loopback"),
            Endpoint::Unix(UnixAddress::Path(_)) => endpoint.clone().below(self.state_dir),
            Endpoint::Unix(UnixAddress::Abstract(_)) if guarded => Ok(endpoint.clone()),
            Endpoint::Unix(UnixAddress::Abstract(_)) => {
                needs_token("everybody on this machine can reach an abstract socket")
            }
            _ => Err(BadValue::new(format!("{who} cannot listen on {endpoint}"))
                .help("write a tcp:// endpoint or unix://PATH")),
        }
    }

    /// The tokens, each with its SHA-256; what cannot be read is reported.
    fn tokens(&mut self, admin: &AdminFile, at: &Pointer) -> Vec<Token> {
        let mut tokens: Vec<(Pointer, Token)> = Vec::new();
        if let Some(path) = &admin.token_file {
            let at = at.child("token_file");
            if let Some((sha256, file)) = self.token_file(&path.0, &at) {
                let token =
                    Token { name: Token::OF_FILE.into(), role: Role::Admin, sha256, file: Some(file) };
                tokens.push((at, token));
            }
        }
        for (name, entry) in admin.tokens.iter().flat_map(|table| &table.0) {
            let at = at.child("tokens").child(name);
            if let Some(token) = self.token(name, entry, &at) {
                tokens.push((at, token));
            }
        }
        for (index, (at, token)) in tokens.iter().enumerate() {
            if let Some((_, other)) = tokens[..index].iter().find(|(_, other)| other.sha256 == token.sha256) {
                let error = BadValue::new(format!("this is the token of `{}`, too", other.name))
                    .help("give each its own: the log names who did what");
                self.report.at_key(Severity::Error, self.tree, at, error);
            }
        }
        tokens.into_iter().map(|(_, token)| token).collect()
    }

    fn token(&mut self, name: &str, entry: &TokenFile, at: &Pointer) -> Option<Token> {
        let has = |key: &str| self.tree.nearest(&at.child(key)).1;
        let wrong = match (has("sha256"), has("file")) {
            (true, true) => Some("has both `sha256` and `file`"),
            (false, false) => Some("has neither `sha256` nor `file`"),
            _ => None,
        };
        if let Some(wrong) = wrong {
            let error =
                BadValue::new(format!("the token `{name}` {wrong}")).help("write exactly one of them");
            self.report.at_key(Severity::Error, self.tree, at, error);
            return None;
        }
        let (sha256, file) = match (&entry.sha256, &entry.file) {
            (Some(sha256), _) => (*sha256, None),
            (None, Some(path)) => {
                let (sha256, file) = self.token_file(&path.0, &at.child("file"))?;
                (sha256, Some(file))
            }
            (None, None) => return None,
        };
        Some(Token { name: name.into(), role: entry.role?, sha256, file })
    }

    /// Reads a token. The file goes onto the list of those that were read.
    fn token_file(&mut self, path: &std::path::Path, at: &Pointer) -> Option<(TokenHash, PathBuf)> {
        let shown = path.display();
        let text = self.sources.read(path).and_then(|text| {
            let found = check_token(text.trim_end());
            found.map_err(|what| BadValue {
                message: format!("the file `{shown}` {}", what.message),
                ..what
            })?;
            Ok(TokenHash::of(text.trim_end().as_bytes()))
        });
        let path = self.sources.folder.join(path);
        match text {
            Ok(hash) => {
                let mode = std::fs::metadata(&path).map_or(0, |facts| facts.permissions().mode() & 0o777);
                if mode & 0o077 != 0 {
                    let warning =
                        BadValue::new(format!("others may read the token in `{shown}` (mode {mode:04o})"))
                            .help("let its owner alone read it: chmod 0600");
                    self.report.at_value(Severity::Warning, self.tree, at, warning);
                }
                Some((hash, path))
            }
            Err(error) => {
                self.report.at_value(Severity::Error, self.tree, at, error);
                None
            }
        }
    }
}
