//! `polygate config`: the effective configuration, the schema of the file, and a file to start from.

use clap::{Subcommand, ValueEnum};
use hyper::Method;
use polygate::config::{load_file, schema_text};

use polygate::handlers::builtin;

use super::exit::Failure;
use super::{Global, client, find, terminal};

/// Every key, explained.
const EXAMPLE: &str = include_str!("../../config/reference.toml");

/// What to show.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the JSON Schema of the configuration, for editors
    Schema,
    /// Print the effective configuration, every default filled in
    Show {
        /// Ask the running gateway instead of reading the file
        #[arg(long)]
        running: bool,
        /// TOML or JSON
        #[arg(short, long, value_enum, default_value_t = Format::Toml)]
        output: Format,
    },
    /// Print a configuration with every key, its default and what it means
    Example,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Toml,
    Json,
}

pub(crate) fn run(global: &Global, command: &Command) -> Result<(), Failure> {
    let text = match *command {
        Command::Schema => schema_text(&builtin()),
        Command::Example => EXAMPLE.to_owned(),
        Command::Show { running: false, output } => of_file(global, output)?,
        Command::Show { running: true, output } => running(global, output)?,
    };
    terminal::print(&text)
}

fn of_file(global: &Global, format: Format) -> Result<String, Failure> {
    let path = find::config(None, global.config.as_deref())?;
    let config = load_file(&path, &builtin())?.config;
    Ok(match format {
        Format::Toml => config.to_toml(),
        Format::Json => format!("{:#}\n", config.to_json()),
    })
}

fn running(global: &Global, format: Format) -> Result<String, Failure> {
    let accept = match format {
        Format::Toml => "application/toml",
        Format::Json => "application/json",
    };
    let answer = client(global)?.request(Method::GET, "/api/v1/config", accept)?;
    Ok(answer.successful()?.text())
}
