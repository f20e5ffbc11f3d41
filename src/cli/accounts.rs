//! `polygate accounts`: the accounts of the running gateway. Passwords are read from a terminal, which does not
//! show them, or from standard input; never from the command line, where every process could see them.

use clap::{Args, Subcommand};
use hyper::Method;
use polygate::config::Size;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::client::{Answer, Client};
use super::exit::{Exit, Failure};
use super::secret::password;
use super::table::{Align, Table, bytes, encode};
use super::terminal::{self, escape};
use super::{Format, Output};

/// What can be done with accounts.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make an account; the password is asked for, or read from standard input
    Add(Add),
    /// List the accounts
    List(Output),
    /// Show an account
    Show {
        /// The account's name
        name: String,
        #[command(flatten)]
        output: Output,
    },
    /// Give an account another password, asked for or read from standard input
    Passwd {
        /// The account's name
        name: String,
    },
    /// Give an account another quota
    Quota {
        /// The account's name
        name: String,
        /// A size such as 500MB, or `default` for that of the configuration
        quota: Quota,
    },
    /// Give an account another bandwidth
    Bandwidth {
        /// The account's name
        name: String,
        /// A size a second such as 10MiB, `off` for no limit, or `default` for that of the handler
        bandwidth: Bandwidth,
    },
    /// Let an account log in no more, and those who are logged in do nothing more
    Disable {
        /// The account's name
        name: String,
    },
    /// Let an account log in again
    Enable {
        /// The account's name
        name: String,
    },
    /// Remove an account; its files are moved to .removed below accounts.root
    Remove {
        /// The account's name
        name: String,
    },
}

/// Options of `accounts add`.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// 1 to 64 of A-Z, a-z, 0-9, `_`, `.` and `-`; starts with a letter, digit or `_`
    name: String,
    /// A size such as 500MB; else that of the configuration
    #[arg(long, value_name = "SIZE")]
    quota: Option<Quota>,
    /// It may change nothing
    #[arg(long)]
    read_only: bool,
    /// It may not log in yet
    #[arg(long)]
    disabled: bool,
}

/// A size, or the configuration's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quota(Option<u64>);

impl std::str::FromStr for Quota {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "default" {
            return Ok(Quota(None));
        }
        text.parse::<Size>().map(|size| Quota(Some(size.bytes()))).map_err(|error| error.to_string())
    }
}

/// A size a second, none, or the handler's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bandwidth(Option<u64>);

impl std::str::FromStr for Bandwidth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Bandwidth(Some(0)));
        }
        text.parse().map(|Quota(size)| Bandwidth(size))
    }
}

#[derive(Debug, Deserialize)]
struct List {
    items: Vec<Account>,
    next_cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Account {
    name: String,
    quota_bytes: u64,
    bandwidth_bytes_per_second: Option<u64>,
    used_bytes: Option<u64>,
    read_only: bool,
    disabled: bool,
    home: String,
    created_at: String,
    last_login_at: Option<String>,
}

pub(crate) fn run(client: &Client, command: Command) -> Result<(), Failure> {
    match command {
        Command::Add(options) => add(client, options),
        Command::List(output) => list(client, output),
        Command::Show { name, output } => show(client, &name, output),
        Command::Passwd { name } => {
            let password = password(&format!("New password of {name}: "))?;
            change(client, &name, &json!({ "password": password }), "has a new password")
        }
        Command::Quota { name, quota } => {
            change(client, &name, &json!({ "quota_bytes": quota.0 }), "has a new quota")
        }
        Command::Bandwidth { name, bandwidth } => {
            let changes = json!({ "bandwidth_bytes_per_second": bandwidth.0 });
            change(client, &name, &changes, "has a new bandwidth")
        }
        Command::Disable { name } => change(client, &name, &json!({ "disabled": true }), "is disabled"),
        Command::Enable { name } => change(client, &name, &json!({ "disabled": false }), "is enabled"),
        Command::Remove { name } => {
            done(client.request(Method::DELETE, &path(&name), "application/json")?)?;
            terminal::print(&format!("account {} is removed\n", escape(&name)))
        }
    }
}

fn add(client: &Client, options: Add) -> Result<(), Failure> {
    let password = password(&format!("Password of {}: ", options.name))?;
    let account = json!({
        "name": options.name,
        "password": password,
        "quota_bytes": options.quota.and_then(|quota| quota.0),
        "read_only": options.read_only,
        "disabled": options.disabled,
    });
    done(client.send(Method::POST, "/api/v1/accounts", &account)?)?;
    terminal::print(&format!("account {} is made\n", escape(&options.name)))
}

fn change(client: &Client, name: &str, changes: &Value, what: &str) -> Result<(), Failure> {
    done(client.send(Method::PATCH, &path(name), changes)?)?;
    terminal::print(&format!("account {} {what}\n", escape(name)))
}

/// JSON is one list, whatever parts it came in.
fn list(client: &Client, output: Output) -> Result<(), Failure> {
    let mut items: Vec<Value> = Vec::new();
    let mut cursor = String::new();
    loop {
        let answer = client.get(&format!("/api/v1/accounts?limit=1000{cursor}"))?;
        let part: Map<String, Value> = answer.json()?;
        let next = part.get("next_cursor").and_then(Value::as_str).map(encode);
        items.extend(part.get("items").and_then(Value::as_array).cloned().unwrap_or_default());
        match next {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    if output.output == Format::Json {
        let whole = json!({ "total": items.len(), "items": items, "next_cursor": null });
        return terminal::print(&format!("{whole}\n"));
    }
    let list = serde_json::from_value(json!({ "items": items, "next_cursor": null }));
    let list: List = list.map_err(|error| Failure::new(Exit::Failure, error.to_string()))?;
    debug_assert!(list.next_cursor.is_none());
    use Align::{Left, Right};
    let columns = [("NAME", Left), ("USED", Right), ("QUOTA", Right), ("STATE", Left), ("LAST LOGIN", Left)];
    let mut table = Table::new(&columns);
    for account in list.items {
        let (used, quota, state) = (account.used(), bytes(account.quota_bytes), account.state());
        table.row(vec![account.name, used, quota, state, account.last_login_at.unwrap_or_default()]);
    }
    terminal::print(&table.render(terminal::color_on_stdout()))
}

fn show(client: &Client, name: &str, output: Output) -> Result<(), Failure> {
    let answer = client.get(&path(name))?;
    if output.output == Format::Json {
        return terminal::print(&answer.text());
    }
    let account: Account = answer.json()?;
    let text = format!(
        "name        {}\nstate       {}\nused        {}\nquota       {}\nbandwidth   {}\nhome        {}\ncreated     {}\nlast login  {}\n",
        escape(&account.name),
        account.state(),
        account.used(),
        bytes(account.quota_bytes),
        account.bandwidth(),
        escape(&account.home),
        escape(&account.created_at),
        escape(account.last_login_at.as_deref().unwrap_or("never")),
    );
    terminal::print(&text)
}

impl Account {
    fn used(&self) -> String {
        self.used_bytes.map_or_else(|| "unknown".into(), bytes)
    }

    fn bandwidth(&self) -> String {
        match self.bandwidth_bytes_per_second {
            None => "the handler's".into(),
            Some(0) => "no limit".into(),
            Some(rate) => format!("{}/s", bytes(rate)),
        }
    }

    fn state(&self) -> String {
        match (self.disabled, self.read_only) {
            (true, _) => "disabled",
            (false, true) => "read-only",
            (false, false) => "active",
        }
        .into()
    }
}

fn path(name: &str) -> String {
    format!("/api/v1/accounts/{}", encode(name))
}

/// What the API refuses of an account has nothing to do with a port or a configuration.
fn done(answer: Answer) -> Result<Answer, Failure> {
    let status = answer.status;
    answer.successful().map_err(|failure| match status {
        409 | 422 => Failure { exit: Exit::Failure, ..failure },
        _ => failure,
    })
}
