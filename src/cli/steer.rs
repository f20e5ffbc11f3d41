//! `polygate pause`, `resume`, `drain`, `undrain` and `shutdown`: steering from the terminal.

use clap::Args;
use hyper::Method;
use polygate::config::Period;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::exit::Failure;
use super::table::{encode, plural};
use super::{Format, Output, terminal};

/// Options of `drain`.
#[derive(Debug, Args)]
pub(crate) struct Drain {
    /// The listener; without one the whole gateway drains, and does not end
    name: Option<String>,
    /// How long a listener's connections may take before they are killed, for example 30s
    #[arg(long, value_name = "DURATION", value_parser = period, requires = "name")]
    timeout: Option<Period>,
    #[command(flatten)]
    output: Output,
}

/// Options of `pause` and `resume`.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The listener
    name: String,
    #[command(flatten)]
    output: Output,
}

/// Options of `shutdown`.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Shutdown {
    /// Do not wait for anybody: connections are killed
    #[arg(long)]
    now: bool,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Deserialize)]
struct Steered {
    name: String,
    state: String,
    connections_active: usize,
}

#[derive(Debug, Deserialize)]
struct Left {
    state: String,
    connections_active: usize,
}

fn period(text: &str) -> Result<Period, String> {
    text.parse::<Period>().map_err(|error| error.to_string())
}

pub(crate) fn pause(client: &Client, options: &Named) -> Result<(), Failure> {
    listener(client, &options.name, "pause", options.output)
}

pub(crate) fn resume(client: &Client, options: &Named) -> Result<(), Failure> {
    listener(client, &options.name, "resume", options.output)
}

fn listener(client: &Client, name: &str, verb: &str, output: Output) -> Result<(), Failure> {
    say(&steer(client, name, verb, None)?, output)
}

/// Pauses, resumes or drains a listener.
pub(crate) fn steer(
    client: &Client,
    name: &str,
    verb: &str,
    body: Option<&Value>,
) -> Result<Answer, Failure> {
    let path = format!("/api/v1/listeners/{}/{verb}", encode(name));
    let answer = match body {
        Some(body) => client.send(Method::POST, &path, body)?,
        None => client.request(Method::POST, &path, "application/json")?,
    };
    answer.successful()
}

fn say(answer: &Answer, output: Output) -> Result<(), Failure> {
    if output.output == Format::Json {
        return terminal::print(&answer.text());
    }
    let Steered { name, state, connections_active } = answer.json()?;
    let left = plural(connections_active, "connection");
    terminal::print(&format!("{name} is {state}, with {left}\n"))
}

pub(crate) fn drain(client: &Client, options: &Drain) -> Result<(), Failure> {
    let Some(name) = &options.name else { return gateway(client, Method::POST, options.output) };
    let seconds = options.timeout.map(|timeout| timeout.get().as_secs_f64());
    let body = json!({ "timeout_seconds": seconds });
    say(&steer(client, name, "drain", Some(&body))?, options.output)
}

pub(crate) fn undrain(client: &Client, output: Output) -> Result<(), Failure> {
    gateway(client, Method::DELETE, output)
}

fn gateway(client: &Client, method: Method, output: Output) -> Result<(), Failure> {
    let answer = client.request(method, "/api/v1/drain", "application/json")?.successful()?;
    told(&answer.text(), &answer.json()?, output)
}

pub(crate) fn shutdown(client: &Client, options: Shutdown) -> Result<(), Failure> {
    let mode = if options.now { "now" } else { "graceful" };
    let answer = client.send(Method::POST, "/api/v1/shutdown", &json!({ "mode": mode }))?.successful()?;
    match options.output.output {
        Format::Json => terminal::print(&answer.text()),
        Format::Table => terminal::print("the gateway shuts down\n"),
    }
}

fn told(text: &str, left: &Left, output: Output) -> Result<(), Failure> {
    let connections = plural(left.connections_active, "connection");
    match output.output {
        Format::Json => terminal::print(text),
        Format::Table => terminal::print(&format!("the gateway is {}, with {connections}\n", left.state)),
    }
}
