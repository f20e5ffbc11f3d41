//! Who may ask for what: tokens, roles, and what a route needs.
//!
//! A route says in its `#[utoipa::path]` what role it needs: `security(("token" = ["operate"]))`. The table
//! that requests are judged by is made of the OpenAPI document, so the two cannot disagree, and a route that
//! says nothing is open to nobody.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use axum::http::{HeaderMap, Method, header};
use serde_json::Value;
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};
use utoipa::openapi::OpenApi;

use super::problem::Error;
use super::strikes::Strikes;
use crate::config::{Admin, Config, Role, TokenHash};
use crate::net::PeerKey;
use crate::stats::{Peer, Stats};

/// Gives the configuration that runs, so that a reload counts for the next request.
pub(super) type Current = Box<dyn Fn() -> Arc<Config> + Send + Sync>;

/// What the guard works with.
pub(super) struct Access {
    pub(super) current: Current,
    pub(super) stats: Arc<Stats>,
    routes: Routes,
    strikes: Strikes,
}

/// Who sends a request, by what it could show: for the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Who {
    /// Nobody is asked, for there are no tokens: whoever reaches the API may use it.
    Local,
    /// Nobody was asked: the path is open.
    Anybody,
    /// The bearer of the token with that name.
    Token(String),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Who::Local => "local",
            Who::Anybody => "anybody",
            Who::Token(name) => name,
        })
    }
}

/// What a route says of itself.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) role: Role,
    /// Its operation id, by which the audit log calls what was done.
    pub(super) operation: String,
}

/// The routes by path and method.
#[derive(Debug, Default)]
pub(super) struct Routes(HashMap<(String, String), Route>);

impl Routes {
    /// What the document says.
    pub(super) fn of(document: &OpenApi) -> Self {
        let document = serde_json::to_value(document).unwrap_or_default();
        let mut routes = HashMap::new();
        for (path, item) in document["paths"].as_object().into_iter().flatten() {
            for (method, operation) in item.as_object().into_iter().flatten() {
                let role = operation.pointer("/security/0/token/0").and_then(Value::as_str);
                let role = role.and_then(|name| Role::ALL.into_iter().find(|role| role.as_str() == name));
                let operation = operation["operationId"].as_str().unwrap_or_default().to_owned();
                if let Some(role) = role {
                    routes.insert((path.clone(), method.to_uppercase()), Route { role, operation });
                }
            }
        }
        Routes(routes)
    }

    pub(super) fn get(&self, path: Option<&str>, method: &Method) -> Option<&Route> {
        let method = if method == Method::HEAD { Method::GET } else { method.clone() };
        self.0.get(&(path?.to_owned(), method.to_string()))
    }

    /// The methods of a path, as `Allow` names them (RFC 9110, 10.2.1).
    fn methods(&self, path: &str) -> String {
        let mut methods: Vec<&str> =
            self.0.keys().filter(|(known, _)| known == path).map(|(_, method)| method.as_str()).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.sort_unstable();
        methods.join(",")
    }
}

impl Access {
    pub(super) fn new(current: Current, stats: Arc<Stats>, routes: Routes) -> Self {
        Access { current, stats, routes, strikes: Strikes::default() }
    }

    /// The route that a request is for, where it changes something or may.
    pub(super) fn change(&self, path: Option<&str>, method: &Method) -> Option<&Route> {
        self.routes.get(path, method).filter(|_| !method.is_safe())
    }

    /// Who asks, if that one may. `matched` is the path of the route, as it is declared.
    pub(super) fn authorise(
        &self,
        admin: &Admin,
        (matched, method): (Option<&str>, &Method),
        headers: &HeaderMap,
        peer: &Peer,
    ) -> Result<Who, Error> {
        if admin.tokens.is_empty() {
            return Ok(Who::Local);
        }
        if admin.open.iter().flat_map(|open| open.paths()).any(|open| Some(*open) == matched) {
            return Ok(Who::Anybody);
        }
        let key = PeerKey::of(peer);
        if let Some(wait) = key.as_ref().and_then(|key| self.strikes.blocked(key)) {
            return Err(Error::TooManyRequests(wait.as_secs() + 1));
        }
        let failed = |why: &str| {
            self.stats.control().admin_auth_failed();
            Error::Unauthorized(why.into())
        };
        let Some(token) = bearer(headers) else {
            return Err(failed("a token is needed: Authorization: Bearer TOKEN"));
        };
        let Some((name, role)) = find(admin, token) else {
            key.into_iter().for_each(|key| self.strikes.strike(key));
            return Err(failed("the token is not known"));
        };
        let Some(path) = matched else {
            // Nothing is there, and whoever has a token may know it.
            return Ok(Who::Token(name.to_owned()));
        };
        // A route that names no role is for nobody.
        let Some(Route { role: needed, .. }) = self.routes.get(matched, method) else {
            return Err(match self.routes.methods(path) {
                none if none.is_empty() => Error::Forbidden("no role opens this".into()),
                methods => Error::MethodNotAllowed(methods),
            });
        };
        if role < *needed {
            let (needed, role) = (needed.as_str(), role.as_str());
            return Err(Error::Forbidden(format!(
                "this needs the role {needed}; the token {name} has {role}"
            )));
        }
        Ok(Who::Token(name.to_owned()))
    }
}

/// The one token of the request (RFC 6750, 2.1). It is never looked for in the URL.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    Some(token.trim()).filter(|token| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
}

/// The token's name and role. Every token is compared, and each in constant time: how long it takes does not
/// tell how much of a guess was right, nor whose it was.
fn find<'a>(admin: &'a Admin, token: &str) -> Option<(&'a str, Role)> {
    let given = TokenHash::of(token.as_bytes());
    let mut found = u64::MAX;
    for (index, known) in (0_u64..).zip(&admin.tokens) {
        let same: Choice = known.sha256.0.ct_eq(&given.0);
        found.conditional_assign(&index, same);
    }
    let token = admin.tokens.get(usize::try_from(found).ok()?)?;
    Some((&token.name, token.role))
}

#[cfg(test)]
mod tests;
