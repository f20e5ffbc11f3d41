//! `polygate log-level`: shows the level of the log, or changes it for a while.

use clap::Args;
use hyper::Method;
use polygate::config::Period;
use serde::Deserialize;
use serde_json::json;

use super::client::Client;
use super::exit::Failure;
use super::table::duration;
use super::{Format, Output, terminal};

/// Options of `log-level`.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The new level: a filter as in log.level, for example debug or info,polygate::conn=warn
    level: Option<String>,
    /// After so long the configured level is back, for example 10m
    #[arg(long = "for", value_name = "DURATION", value_parser = period, requires = "level")]
    at_most: Option<Period>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Deserialize)]
struct Level {
    level: String,
    for_seconds: Option<f64>,
}

fn period(text: &str) -> Result<Period, String> {
    text.parse::<Period>().map_err(|error| error.to_string())
}

pub(crate) fn run(client: &Client, options: &Options) -> Result<(), Failure> {
    let answer = match &options.level {
        None => client.get("/api/v1/log")?,
        Some(level) => {
            let seconds = options.at_most.map(|limit| limit.get().as_secs_f64());
            let body = json!({ "level": level, "for_seconds": seconds });
            client.send(Method::PUT, "/api/v1/log", &body)?.successful()?
        }
    };
    if options.output.output == Format::Json {
        return terminal::print(&answer.text());
    }
    let Level { level, for_seconds } = answer.json()?;
    let until = for_seconds.map_or(String::new(), |left| format!(", for {} more", duration(left)));
    terminal::print(&format!("{level}{until}\n"))
}
