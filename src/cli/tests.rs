//! The command line as a whole: what parses, and what the help says.

use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::*;

fn parse(line: &str) -> Result<Cli, ErrorKind> {
    Cli::try_parse_from(line.split(' ')).map_err(|error| error.kind())
}

#[test]
fn the_definitions_are_sound() {
    Cli::command().debug_assert();
}

#[test]
fn run_is_the_default() {
    assert!(parse("polygate").unwrap().command.is_none());
    let cli = parse("polygate --config a.toml").unwrap();
    assert!(cli.command.is_none());
    assert_eq!(cli.global.config, Some("a.toml".into()));
    assert!(matches!(parse("polygate run b.toml").unwrap().command, Some(Command::Run { file: Some(_) })));
}

#[test]
fn global_options_may_stand_on_either_side() {
    for line in ["polygate --admin http://h:1 listeners", "polygate listeners --admin http://h:1"] {
        assert_eq!(parse(line).unwrap().global.admin, Some(AdminUrl::Http("h:1".into())), "{line}");
    }
}

#[test]
fn what_is_wrong_is_refused() {
    let wrong = [
        "polygate nonsense",
        "polygate run a b",
        "polygate kill x",
        "polygate kill",
        "polygate config",
        "polygate listeners -o yaml",
        "polygate listeners --admin ftp://x",
        "polygate connections --min-age 5",
        "polygate connections --limit 0",
        "polygate connections --transport sctp",
        "polygate connections --interval 2s",
        "polygate connections --watch --interval 1ms",
        "polygate kill 7 --transport tcp",
    ];
    for line in wrong {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn a_wrong_command_line_is_64_and_help_is_0() {
    let code = |is_error, line: &str| usage(is_error, line.split(' ').map(str::to_owned)) as u8;
    assert_eq!(code(true, "polygate nonsense"), 64);
    assert_eq!(code(false, "polygate --help"), 0);
    assert_eq!(code(true, "polygate healthcheck --nonsense"), 1);
}

#[test]
fn the_help_is_the_golden_one() {
    let mut command = Cli::command();
    command.build();
    let mut help = command.render_help().to_string();
    assert!(help.lines().count() <= 60, "the help has {} lines", help.lines().count());
    append_subcommands(&mut command, &mut help);
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/help.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(golden, &help).unwrap();
    }
    let expected = std::fs::read_to_string(golden).unwrap_or_default();
    assert_eq!(help, expected, "UPDATE=1 cargo test rewrites {golden}");
}

fn append_subcommands(command: &mut clap::Command, help: &mut String) {
    for sub in command.get_subcommands_mut() {
        let title = sub.get_bin_name().unwrap_or_default().to_owned();
        help.push_str(&format!("\n==== {title} ====\n{}", sub.render_help()));
        append_subcommands(sub, help);
    }
}
