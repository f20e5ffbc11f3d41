//! The built-in handlers. A new one is a file here, its `mod` line and its line in [`builtin`].

/// A closed set of label values.
macro_rules! closed {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(dead_code, reason = "the set is the contract's; what cannot happen is told as 0")]
        pub(super) enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// The label values, in order.
            pub(super) const NAMES: &'static [&'static str] = &[$($text,)+];

            #[allow(dead_code, reason = "not every set is told elsewhere")]
            pub(super) fn name(self) -> &'static str {
                Self::NAMES[self as usize]
            }
        }
    };
}

pub mod chargen;
pub mod console;
pub mod daytime;
pub mod discard;
pub mod echo;
pub mod exec;
pub mod forward;
pub mod ftp;
pub mod http;
pub mod json_ftp;
mod peers;
pub mod reply;
pub mod runner;
pub mod time;
mod told;
pub mod upper;

pub use chargen::Chargen;
pub use console::Console;
pub use daytime::Daytime;
pub use discard::Discard;
pub use echo::Echo;
pub use exec::Exec;
pub use forward::Forward;
pub use ftp::Ftp;
pub use http::Http;
pub use json_ftp::JsonFtp;
pub use reply::Reply;
pub use runner::Runner;
pub use time::Time;
pub use upper::Upper;

use crate::config::{Finding, Size};
use crate::handler::Registry;

/// The table of the handlers that come with polygate.
pub fn builtin() -> Registry {
    Registry::new()
        .both::<Chargen>()
        .both::<Console>()
        .both::<Daytime>()
        .both::<Discard>()
        .both::<Echo>()
        .both::<Exec>()
        .both::<Forward>()
        .stream::<Ftp>()
        .stream::<Http>()
        .stream::<JsonFtp>()
        .both::<Reply>()
        .stream::<Runner>()
        .both::<Time>()
        .both::<Upper>()
}

/// The `chunk` of handlers that answer what one read gives.
const DEFAULT_CHUNK: Size = Size::kib(16);

/// Says so if a `chunk` is larger than a conn may have queued (64 KiB).
fn check_chunk(chunk: Size) -> Option<Finding> {
    (chunk > Size::kib(64)).then(|| Finding::error(&["chunk"], "expected a size from \"1B\" to \"64KiB\""))
}

/// What is wrong with a program and its arguments.
fn check_argv(path: &[&str], argv: &[String]) -> Option<Finding> {
    let Some(program) = argv.first() else {
        return Some(Finding::error(path, "expected a program and its arguments, found nothing"));
    };
    if argv.iter().any(|part| part.contains('\0')) {
        return Some(Finding::error(path, "an argument cannot hold a NUL character"));
    }
    let file = std::path::Path::new(program);
    if !file.is_absolute() {
        let finding = Finding::error(path, format!("expected an absolute path, found `{program}`"));
        return Some(finding.help("no shell and no PATH is asked for the program"));
    }
    (!file.exists()).then(|| Finding::warning(path, format!("there is no program `{program}`")))
}
