//! The `polygate connect` lines of the examples and of the page for those who come from `socketserver`, run as they stand
//! there but for the ports, which the kernel chooses.

use std::fs;
use std::path::Path;

use super::Gateway;
use crate::documents::blocks;
use crate::examples_config::free;

/// Examples whose clients wait for somebody who types.
const INTERACTIVE: [&str; 2] = ["console", "udp-console"];

/// Splits at spaces outside of double quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            other => words.last_mut().unwrap().push(other),
        }
    }
    words
}

/// Runs the lines against a gateway on that configuration, and counts them.
#[track_caller]
fn run<'a>(config: &str, lines: impl Iterator<Item = &'a str>) -> usize {
    let gateway = Gateway::start(&free(config));
    let endpoints: Vec<String> = gateway
        .said()
        .iter()
        .filter_map(|line| Some(line.strip_prefix("listening ")?.split_once(' ')?.1.to_owned()))
        .collect();
    let mut count = 0;
    for line in lines.filter(|line| line.starts_with("polygate connect ")) {
        let mut words = words(line);
        let scheme = words[2].split_once("://").unwrap().0.to_owned() + "://";
        words[2] = endpoints.iter().find(|endpoint| endpoint.starts_with(&scheme)).unwrap().clone();
        let arguments: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        let ended = gateway.cli(&arguments);
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{line}: {}", ended.stdout);
        count += 1;
    }
    count
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn what_the_examples_say_of_their_clients_works() {
    let mut count = 0;
    for entry in fs::read_dir(root().join("config/examples")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# ")).collect();
        let named = lines.iter().any(|line| line.starts_with("polygate connect "));
        if named && !INTERACTIVE.contains(&path.file_stem().unwrap().to_str().unwrap()) {
            count += run(&text, lines.into_iter());
        }
    }
    assert!(count >= 6, "{count} lines were found");
}

#[test]
fn the_four_classes_answer_as_the_page_says() {
    let page = fs::read_to_string(root().join("docs/from-socketserver.md")).unwrap();
    let (_, config) = blocks(&page, "toml").remove(0);
    let (_, commands) = blocks(&page, "sh").remove(0);
    assert_eq!(run(&config, commands.lines()), 4);
}
