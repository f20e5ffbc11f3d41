//! `json-ftp`: the file drop of a socket course. The client sends JSON objects without any delimiter, the server
//! answers in a few fixed words.
//!
//! Accounts, quotas and files are those of FTP. What the protocol leaves open is decided here: an object may be
//! cut and joined anywhere; one that is not JSON, is no object or has more than 8 KiB ends the
//! conn; one that is not understood is answered and does not.

mod input;
mod transfer;

use std::io;
use std::sync::Arc;
use std::time::Instant;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::io::AsyncWriteExt;

use crate::accounts::{AccountError, Accounts, Login, LoginError};
use crate::config::{Finding, Findings, Timeout, Timeouts, Transports};
use crate::handler::{BuildError, Conn, Context, Handler, StreamHandler};
use crate::handlers::told::{self, LoginFailure};
use crate::stats::Phase;
use input::{Input, Next};

/// What a client hears first; the space belongs to it.
const WELCOME: &str = "欢迎使用... ";
const INVALID: &str = "Invalid command...";
const REGISTERED: &str = "注册成功";
const NOT_REGISTERED: &str = "注册失败";
const NAME_TAKEN: &str = "用户名已存在";
const LOGGED_IN: &str = "登陆成功";
const WRONG_PASSWORD: &str = "密码错误";
const UNKNOWN_NAME: &str = "用户名不存在";
const START: &str = "Start";

/// Options of `json-ftp`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "json-ftp")]
pub struct Options {
    /// Whether an unknown name is answered like a wrong password, and the registration of a taken name like any
    /// other that fails, so that nobody can find out which names there are.
    hide_users: bool,
}

/// The `json-ftp` handler.
#[derive(Debug)]
pub struct JsonFtp {
    accounts: Arc<Accounts>,
    hide_users: bool,
}

impl Handler for JsonFtp {
    const NAME: &'static str = "json-ftp";
    const TRANSPORTS: Transports = Transports::STREAMS;
    type Options = Options;

    fn check_in_public(options: &Options, has_tls: bool) -> Findings {
        let mut findings = Vec::new();
        if !has_tls {
            findings.push(
                Finding::warning(&[], "logins and files cross the network in the clear")
                    .help("give the listener a `tls` table, name the networks that may connect in `allow`, or bind a loopback address"),
            );
        }
        if !options.hide_users {
            findings.push(
                Finding::warning(&[], "clients are told which account names exist")
                    .help("write hide_users = true in the handler's options"),
            );
        }
        findings
    }

    fn new(options: Options, context: &Context) -> Result<Self, BuildError> {
        Ok(JsonFtp { accounts: context.accounts()?, hide_users: options.hide_users })
    }

    fn default_timeouts() -> Timeouts {
        Timeouts { request: Timeout::after_secs(30), ..Timeouts::RAW }
    }
}

impl StreamHandler for JsonFtp {
    async fn serve(&self, conn: &mut Conn) -> io::Result<()> {
        conn.write_all(WELCOME.as_bytes()).await?;
        // Until somebody has logged in the clock of a request runs.
        conn.enter(Phase::Request);
        let mut visit = Visit { handler: self, input: Input::default(), login: None };
        loop {
            let object = match visit.input.object(conn).await? {
                Next::Object(object) => object,
                Next::End => return Ok(()),
                Next::Broken => {
                    conn.write_all(INVALID.as_bytes()).await?;
                    return Ok(());
                }
            };
            let began = Instant::now();
            let goes_on = visit.answer(conn, &object).await?;
            conn.meter().site().ledger.observe_units(1, began.elapsed());
            if !goes_on {
                return Ok(());
            }
        }
    }
}

/// One connection.
struct Visit<'a> {
    handler: &'a JsonFtp,
    input: Input,
    login: Option<Login>,
}

impl Visit<'_> {
    /// Does what an object says. False ends the conn.
    async fn answer(&mut self, conn: &mut Conn, object: &Map<String, Value>) -> io::Result<bool> {
        let text = |key: &str| object.get(key).and_then(Value::as_str);
        let answer = match (text("cmd"), self.login.clone()) {
            (Some("register"), _) => self.register(text("username"), text("password")).await,
            (Some("check_user"), _) => self.check_user(conn, text("username"), text("password")).await,
            (Some("put"), Some(login)) => return self.put(conn, &login, object).await,
            (Some("get"), Some(login)) => return self.get(conn, &login, object).await,
            (Some("ls"), Some(login)) => return self.list(conn, &login).await,
            (Some("quota"), Some(login)) => return quota(conn, &login).await,
            _ => INVALID,
        };
        conn.write_all(answer.as_bytes()).await?;
        Ok(true)
    }

    async fn register(&self, name: Option<&str>, password: Option<&str>) -> &'static str {
        let (Some(name), Some(password)) = (name, password) else { return INVALID };
        match self.handler.accounts.register(name, password).await {
            Ok(()) => {
                tracing::info!(target: "polygate::accounts", account = name, "registered");
                REGISTERED
            }
            Err(AccountError::Exists) if !self.handler.hide_users => NAME_TAKEN,
            Err(error) => {
                if let AccountError::Unavailable(error) = error {
                    tracing::error!(target: "polygate::accounts", %error, "cannot register");
                }
                NOT_REGISTERED
            }
        }
    }

    /// Whoever was logged in is not any more, whatever comes of it.
    async fn check_user(
        &mut self,
        conn: &mut Conn,
        name: Option<&str>,
        password: Option<&str>,
    ) -> &'static str {
        let (Some(name), Some(password)) = (name, password) else { return INVALID };
        if self.login.take().is_some() {
            conn.describe("user", "");
            conn.enter(Phase::Request);
        }
        match self.handler.accounts.login(name, password, conn.peer()).await {
            Ok(login) => {
                conn.enter(Phase::Open);
                conn.describe("user", &*login.name);
                told::login(conn, name, Ok("password"));
                self.login = Some(login);
                LOGGED_IN
            }
            Err(error) => {
                match LoginFailure::of(&error) {
                    Some(why) => told::login(conn, name, Err(why)),
                    None => {
                        tracing::error!(target: "polygate::accounts", %error, "cannot look at a login");
                    }
                }
                match error {
                    LoginError::UnknownName if !self.handler.hide_users => UNKNOWN_NAME,
                    _ => WRONG_PASSWORD,
                }
            }
        }
    }
}

async fn quota(conn: &mut Conn, login: &Login) -> io::Result<bool> {
    if login.home.counted().await.is_err() {
        conn.write_all(INVALID.as_bytes()).await?;
        return Ok(true);
    }
    let usage = login.home.usage();
    let answer = json!({ "used_bytes": usage.used(), "quota_bytes": usage.quota() });
    conn.write_all(format!("{answer}\n").as_bytes()).await?;
    Ok(true)
}
