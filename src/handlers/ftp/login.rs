//! Who it is: USER, PASS, REIN, HOST (RFC 959, 4.1.1; RFC 2577; RFC 7151).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::counts::{Held, Method};
use super::reply::Reply;
use super::session::{Representation, Session};
use crate::accounts::{Login, LoginError};
use crate::handler::{Conn, Phase};
use crate::handlers::told::{self, LoginFailure};
use crate::storage::{Home, HomePath};

/// Failed logins that end a session; the accounts slow them down besides.
const MOST_FAILURES: u32 = 5;

/// Somebody who is logged in.
#[derive(Debug)]
pub(super) struct Who {
    pub(super) name: Arc<str>,
    pub(super) home: Home,
    _place: Option<Place>,
    _counted: Held,
}

/// How many sessions each account has.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<HashMap<Arc<str>, u32>>);

/// One of them.
#[derive(Debug)]
struct Place {
    places: Arc<Places>,
    name: Arc<str>,
}

impl Places {
    fn take(self: &Arc<Self>, name: &Arc<str>, most: u32) -> Option<Place> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = places.entry(name.clone()).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place { places: self.clone(), name: name.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = places.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                places.remove(&self.name);
            }
        }
    }
}

/// The names that guests use (RFC 1635).
fn is_guest(name: &str) -> bool {
    name.eq_ignore_ascii_case("anonymous") || name.eq_ignore_ascii_case("ftp")
}

impl Session<'_> {
    /// Whoever was logged in is not any more. Which names there are is not told.
    pub(super) fn name_user(&mut self, argument: &[u8]) -> Reply {
        self.who = None;
        self.folder = HomePath::ROOT;
        let name = String::from_utf8_lossy(argument.trim_ascii()).into_owned();
        let text = match is_guest(&name) && self.ftp.guests.is_some() {
            true => "Guests are welcome; send any password.",
            false => "Now the password.",
        };
        self.user = Some(name);
        Reply::new(331, text)
    }

    pub(super) async fn check_password(&mut self, conn: &mut Conn, argument: &[u8]) -> Reply {
        let Some(name) = self.user.take() else { return Reply::new(503, "Send USER first.") };
        conn.enter(Phase::Request);
        match &self.ftp.guests {
            Some(home) if is_guest(&name) => {
                let name = "anonymous".into();
                self.counts.login(Method::Anonymous);
                self.log_in(conn, name, home.clone(), None, Method::Anonymous)
            }
            _ => {
                let password = String::from_utf8_lossy(argument);
                let login = self.ftp.accounts.login(&name, &password, conn.peer()).await;
                self.judge(conn, &name, login)
            }
        }
    }

    fn judge(&mut self, conn: &mut Conn, name: &str, login: Result<Login, LoginError>) -> Reply {
        let why = match login {
            Ok(Login { name, home }) => {
                let most = self.ftp.options.max_sessions_per_account.unwrap_or(u32::MAX);
                if let Some(place) = self.ftp.places.take(&name, most) {
                    self.counts.login(Method::Password);
                    return self.log_in(conn, name, home, Some(place), Method::Password);
                }
                LoginFailure::Limit
            }
            Err(error) => match LoginFailure::of(&error) {
                Some(why) => why,
                None => {
                    tracing::error!(target: "polygate::accounts", %error, "cannot look at a login");
                    return Reply::new(451, "Logins do not work at the moment.");
                }
            },
        };
        self.login_failed(why);
        told::login(conn, name, Err(why));
        if matches!(why, LoginFailure::Limit | LoginFailure::Address) {
            // Said to those with the right password only, or before anybody has looked.
            return Reply::new(530, "Too many sessions or attempts; try again later.");
        }
        if self.failures >= MOST_FAILURES {
            self.leaving = true;
            return Reply::new(421, "Too many failed logins; good-bye.");
        }
        Reply::new(530, "The name or the password is wrong.")
    }

    fn log_in(
        &mut self,
        conn: &mut Conn,
        name: Arc<str>,
        home: Home,
        place: Option<Place>,
        method: Method,
    ) -> Reply {
        told::login(conn, &name, Ok(method.name()));
        conn.describe("user", &*name);
        conn.describe("directory", "/");
        self.who = Some(Who { name, home, _place: place, _counted: self.counts.authenticated() });
        self.folder = HomePath::ROOT;
        self.failures = 0;
        Reply::new(230, "Logged in.")
    }

    /// As at the beginning (RFC 959, 4.1.1). TLS stays.
    pub(super) fn reinitialize(&mut self, conn: &Conn) -> Reply {
        self.reset(conn);
        Reply::new(220, "Begin anew.")
    }

    /// Nobody is logged in, and everything is as after the greeting.
    pub(super) fn reset(&mut self, conn: &Conn) {
        (self.who, self.user) = (None, None);
        (self.rest, self.allocated, self.rename, self.data) = (0, None, None, None);
        (self.folder, self.representation) = (HomePath::ROOT, Representation::Ascii);
        self.epsv_only = false;
        conn.describe("user", "");
        conn.enter(Phase::Request);
    }

    /// There is one host, whatever it is called (RFC 7151, 3.2).
    pub(super) fn name_host(&self) -> Reply {
        match self.who {
            None => Reply::new(220, "Welcome here, too."),
            Some(_) => Reply::new(503, "HOST comes before USER."),
        }
    }
}
