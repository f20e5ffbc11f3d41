//! `polygate healthcheck`: whether the running gateway is alive, for Docker and scripts.

use std::time::Duration;

use clap::Args;
use hyper::Method;

use super::client::Client;
use super::exit::{Exit, Failure};
use super::{Global, admin, terminal};

/// How long the gateway may take to answer.
const DEADLINE: Duration = Duration::from_secs(2);

/// Options of `healthcheck`.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Options {
    /// Ask whether it is ready: every listener up, and not draining
    #[arg(long)]
    ready: bool,
}

/// Prints why not on standard error. Whatever goes wrong, it is 1: Docker knows no other code.
pub(crate) fn run(global: &Global, options: Options) -> Exit {
    match ask(global, options.ready) {
        Ok(()) => Exit::Ok,
        Err(failure) => {
            failure.print();
            Exit::Failure
        }
    }
}

fn ask(global: &Global, ready: bool) -> Result<(), Failure> {
    let path = if ready { "/readyz?verbose" } else { "/livez" };
    let client = Client::new(admin::locate(global)?).roots(admin::roots(global)?).deadline(DEADLINE);
    let answer = client.request(Method::GET, path, "text/plain")?;
    match answer.status {
        200..300 => terminal::print("ok\n"),
        status => {
            let mut failure = Failure::new(Exit::Failure, format!("{path} says {status}"));
            failure.report =
                answer.text().lines().map(|line| format!("{}\n", terminal::escape(line))).collect();
            Err(failure)
        }
    }
}
