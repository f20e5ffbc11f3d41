//! Tells the program what it was built from: the git revision and the compiler's version.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=POLYGATE_REVISION");
    // A build without the repository, in a container for example, may say what it builds.
    let given = std::env::var("POLYGATE_REVISION").ok().filter(|revision| !revision.is_empty());
    if let Some(revision) = given.or_else(git_revision) {
        println!("cargo::rustc-env=POLYGATE_REVISION={revision}");
    }
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    if let Some(version) = output(&rustc, &["--version"]) {
        let version = version.trim_start_matches("rustc ").split(' ').next().unwrap_or_default();
        println!("cargo::rustc-env=POLYGATE_RUSTC={version}");
    }
}

/// The commit of this very repository: sources unpacked somewhere inside another one have none.
fn git_revision() -> Option<String> {
    let top = output("git", &["rev-parse", "--show-toplevel"])?;
    let here = std::env::var("CARGO_MANIFEST_DIR").ok()?;
    if Path::new(&top).canonicalize().ok()? != Path::new(&here).canonicalize().ok()? {
        return None;
    }
    // The log of HEAD grows with every commit and every checkout.
    if let Some(log) = output("git", &["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    output("git", &["rev-parse", "--short=12", "HEAD"])
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
