//! The command line: what can be typed, and which file does it. One command, one file.

mod accounts;
mod admin;
mod check;
mod client;
mod config;
mod connect;
mod connections;
mod console;
mod dial;
mod events;
mod exit;
mod files;
mod find;
mod findings;
mod health;
mod kill;
mod listeners;
mod log;
mod log_level;
mod notify;
mod ping;
mod reload;
mod run;
mod secret;
mod shell;
mod status;
mod steer;
mod table;
mod terminal;
mod top;
mod upstreams;
mod watch;

use std::path::PathBuf;
use std::sync::LazyLock;

use clap::{Args, Parser, Subcommand, ValueEnum};

use polygate::net::Inherited;
use polygate::version;

use admin::AdminUrl;
use client::Client;
use exit::{Exit, Failure};

/// The version, with the revision when it is known.
static VERSION: LazyLock<String> = LazyLock::new(|| match version::REVISION {
    "unknown" => version::VERSION.to_owned(),
    revision => format!("{} ({revision})", version::VERSION),
});

const AFTER_HELP: &str = "\
Without a command the gateway runs. Its configuration is FILE or --config, else $POLYGATE_CONFIG,
./config/polygate.toml, /etc/polygate/polygate.toml. The admin API is --admin, else $POLYGATE_ADMIN,
else the first admin.bind of that configuration.

Exit codes: 0 done, 1 failed, 64 usage, 69 admin API or endpoint unreachable, 73 cannot bind,
77 not permitted, 78 configuration invalid or unreadable.";

/// A multi-protocol network gateway: TOML listeners, built-in handlers, live reload.
#[derive(Debug, Parser)]
#[command(name = "polygate", version = VERSION.as_str(), disable_help_subcommand = true)]
#[command(after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
struct Global {
    /// The configuration [env: POLYGATE_CONFIG]
    #[arg(long, global = true, help_heading = "Global options", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The admin API, http://HOST:PORT, https://HOST:PORT or unix:///PATH [env: POLYGATE_ADMIN]
    #[arg(long, global = true, help_heading = "Global options", value_name = "URL")]
    admin: Option<AdminUrl>,
    /// File with the certificates to trust over https:// and tls:// [env: POLYGATE_CA; else the configured one]
    #[arg(long, global = true, help_heading = "Global options", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// File with the token for the admin API [env: POLYGATE_TOKEN_FILE; POLYGATE_TOKEN is the token itself]
    #[arg(long, global = true, help_heading = "Global options", value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// What can be done.
#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway (SIGTERM drains and ends it, SIGHUP reloads the configuration)
    Run {
        /// The configuration; the same as --config
        file: Option<PathBuf>,
    },
    /// Check a configuration and show everything that is wrong with it
    Check(check::Options),
    /// Show the effective configuration, its JSON Schema, or an example
    #[command(subcommand)]
    Config(config::Command),
    /// Let the running gateway read its configuration again
    Reload(reload::Options),
    /// List the listeners of the running gateway
    Listeners(Output),
    /// List the live connections of the running gateway
    Connections(connections::Options),
    /// List what connections are carried to, or steer an endpoint of it
    Upstreams(upstreams::Options),
    /// List the conversations of console listeners, or follow one listener's and answer them
    Console(console::Options),
    /// Show the running gateway at a glance
    Status(Output),
    /// List who has most connections, or moves most bytes
    Talkers(status::Talkers),
    /// Watch listeners and connections on a screen, and steer them by keys
    Top(top::Options),
    /// Follow what happens in the running gateway
    Events(events::Options),
    /// Close connections of the running gateway at once
    Kill(kill::Options),
    /// Stop accepting on a listener and keep its ports
    Pause(steer::Named),
    /// Accept again on a listener
    Resume(steer::Named),
    /// Let a listener, or the whole gateway, finish what is there; it does not end
    Drain(steer::Drain),
    /// Take the drain of the gateway back
    Undrain(Output),
    /// End the running gateway
    Shutdown(steer::Shutdown),
    /// Show the level of the log, or change it for a while
    LogLevel(log_level::Options),
    /// Make, list, change and remove the accounts of the running gateway
    #[command(subcommand)]
    Accounts(accounts::Command),
    /// Talk to an endpoint line by line: what is typed goes out, what comes is printed
    Connect(connect::Options),
    /// Measure the round trip through an echo, and what is lost of it
    Ping(ping::Options),
    /// Send a file to a server of FTP or json-ftp
    Put(files::Put),
    /// Fetch a file from a server of FTP or json-ftp
    Get(files::Get),
    /// List a folder of a server of FTP, or the files of one of json-ftp
    Ls(files::List),
    /// Print the completions for a shell
    Completions(shell::Completions),
    /// Print the manual page
    Man,
    /// Ask the running gateway whether it is alive; exits 0 or 1 only
    Healthcheck(health::Options),
}

/// How a client command shows the answer.
#[derive(Debug, Clone, Copy, Args)]
struct Output {
    /// A table for people, or the admin API's JSON unchanged
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

/// Does what the command line says.
pub(crate) fn main() -> Exit {
    // Before anything else: threads and children must not find the variables that this removes.
    let inherited = Inherited::from_env();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // The help on a closed pipe is nobody's loss.
            let _ = error.print();
            return usage(error.use_stderr(), std::env::args());
        }
    };
    let outcome = dispatch(&cli.global, cli.command.unwrap_or(Command::Run { file: None }), inherited);
    outcome.unwrap_or_else(|failure| {
        failure.print();
        failure.exit
    })
}

fn dispatch(global: &Global, command: Command, inherited: Inherited) -> Result<Exit, Failure> {
    let done = |()| Exit::Ok;
    match command {
        Command::Run { file } => {
            run::run(&find::config(file.as_deref(), global.config.as_deref())?, inherited)
        }
        Command::Check(options) => check::run(global, &options),
        Command::Config(command) => config::run(global, &command).map(done),
        Command::Reload(options) => reload::run(&client(global)?, options).map(done),
        Command::Listeners(output) => listeners::run(&client(global)?, output).map(done),
        Command::Connections(options) => connections::run(&client(global)?, &options).map(done),
        Command::Upstreams(options) => upstreams::run(&client(global)?, &options).map(done),
        Command::Console(options) => console::run(&client(global)?, &options).map(done),
        Command::Status(output) => status::run(&client(global)?, output).map(done),
        Command::Talkers(options) => status::talkers(&client(global)?, options).map(done),
        Command::Top(options) => top::run(client(global)?, &options).map(done),
        Command::Events(options) => events::run(&client(global)?, &options).map(done),
        Command::Kill(options) => kill::run(&client(global)?, &options).map(done),
        Command::Pause(options) => steer::pause(&client(global)?, &options).map(done),
        Command::Resume(options) => steer::resume(&client(global)?, &options).map(done),
        Command::Drain(options) => steer::drain(&client(global)?, &options).map(done),
        Command::Undrain(output) => steer::undrain(&client(global)?, output).map(done),
        Command::Shutdown(options) => steer::shutdown(&client(global)?, options).map(done),
        Command::LogLevel(options) => log_level::run(&client(global)?, &options).map(done),
        Command::Completions(options) => shell::completions(options).map(done),
        Command::Man => shell::man().map(done),
        Command::Accounts(command) => accounts::run(&client(global)?, command).map(done),
        Command::Connect(options) => connect::run(&options, global.ca.as_deref()).map(done),
        Command::Ping(options) => ping::run(&options, global.ca.as_deref()).map(done),
        Command::Put(options) => files::put(&options).map(done),
        Command::Get(options) => files::get(&options).map(done),
        Command::Ls(options) => files::ls(&options).map(done),
        Command::Healthcheck(options) => Ok(health::run(global, options)),
    }
}

fn client(global: &Global) -> Result<Client, Failure> {
    Ok(Client::new(admin::locate(global)?).roots(admin::roots(global)?).token(admin::token(global)?))
}

/// The code after clap has printed something: help and version are no error. Whoever calls `healthcheck`
/// (Docker for one) knows 0 and 1 only.
fn usage(is_error: bool, mut arguments: impl Iterator<Item = String>) -> Exit {
    match is_error {
        false => Exit::Ok,
        true if arguments.any(|argument| argument == "healthcheck") => Exit::Failure,
        true => Exit::Usage,
    }
}

#[cfg(test)]
mod tests;
