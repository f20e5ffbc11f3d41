//! `polygate completions` and `polygate man`: for shells and manuals, made of the command line itself.

use std::io;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::exit::{Exit, Failure};
use super::{Cli, terminal};

/// Options of `completions`.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn completions(options: Completions) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "polygate", &mut text);
    terminal::print(&String::from_utf8_lossy(&text))
}

/// The manual page in roff, every command in it.
pub(crate) fn man() -> Result<(), Failure> {
    let mut text = Vec::new();
    page(&mut text)
        .map_err(|error| Failure::new(Exit::Failure, format!("cannot write the manual: {error}")))?;
    terminal::print(&String::from_utf8_lossy(&text))
}

fn page(text: &mut Vec<u8>) -> io::Result<()> {
    let mut command = Cli::command();
    command.build();
    clap_mangen::Man::new(command.clone()).render(text)?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let name = format!("polygate {}", sub.get_name());
        let sub = sub.clone().display_name(name.clone());
        text.extend_from_slice(format!(".SH \"{}\"\n", name.to_uppercase()).as_bytes());
        let man = clap_mangen::Man::new(sub);
        man.render_synopsis_section(text)?;
        man.render_description_section(text)?;
        man.render_options_section(text)?;
    }
    Ok(())
}
