//! The other side of the benches and the long runs, one program with a word for each part:
//!
//! - `tokio-tcp`, `tokio-tcp-current`, `tokio-udp`: bare echoes to compare with
//! - `hyper`: a bare HTTP server to compare with
//! - `tcp`, `udp`, `http`: closed loops that keep a fixed number of requests under way and count them
//! - `bulk`, `connects`: a lot of bytes through a proxy, and new connections
//! - `idle`: many connections that do nothing, and what each costs the process that holds them
//! - `soak`: clients of every transport that notice a lost byte, a reset or a lost datagram
//! - `churn`, `crowd`: connections that are reset at once, and more of them than there is room for
//!
//! Options are `key=value`; results are one line of `key=value`, for the scripts.

mod args;
mod carried;
mod churn;
mod echoes;
mod http;
mod idle;
mod process;
mod soak;
mod tcp;
mod udp;

use std::process::ExitCode;

use args::{Args, Failure};

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let word = words.next().unwrap_or_default();
    match run(&word, &Args::new(words)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("polygate-bench {word}: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(word: &str, args: &Args) -> Result<(), Failure> {
    match word {
        "tokio-tcp" => echoes::tcp_multi_thread(args),
        "tokio-tcp-current" => echoes::tcp_current_thread(args),
        "tokio-udp" => echoes::udp(args),
        "hyper" => http::hyper(args),
        "tcp" => tcp::run(args),
        "udp" => udp::run(args),
        "http" => http::run(args),
        "bulk" => carried::bulk(args),
        "connects" => carried::connects(args),
        "idle" => idle::run(args),
        "soak" => soak::run(args),
        "churn" => churn::churn(args),
        "crowd" => churn::crowd(args),
        _ => Err(
            "one of tokio-tcp, tokio-tcp-current, tokio-udp, hyper, tcp, udp, http, bulk, connects, idle, soak, churn, crowd"
                .into(),
        ),
    }
}
