//! Limits that fit the process: what RLIMIT_NOFILE does not allow is lowered, with a warning.

use crate::config::{Config, Diagnostic, Severity};

/// Descriptors of the process itself: standard streams, epoll, timers, the log, a file being read.
const OWN: u64 = 32;

/// What is kept for the admin API at most, so that it answers while the data plane is saturated.
const ADMIN_RESERVE: u64 = 128;

/// What refused connections may hold while they are closed in order (`listener::GENTLE_REFUSALS`), at most.
const REFUSAL_RESERVE: u64 = crate::listener::GENTLE_REFUSALS as u64;

/// How many connections `nofile` descriptors leave room for.
pub fn room_for_connections(config: &Config, nofile: u64) -> usize {
    let sockets = config.listeners.iter().map(|l| l.bind.len()).sum::<usize>()
        + config.admin.bind.len()
        + config.admin.metrics_bind.len();
    let reserve = OWN + sockets as u64 + (ADMIN_RESERVE + REFUSAL_RESERVE).min(nofile / 4);
    usize::try_from(nofile.saturating_sub(reserve)).unwrap_or(usize::MAX).max(1)
}

/// The warning where `limits.max_connections` needs more descriptors than there are.
pub fn fit_limits(config: &Config, nofile: u64) -> Option<Diagnostic> {
    let room = room_for_connections(config, nofile);
    let wanted = config.limits.max_connections;
    let message = format!(
        "limits.max_connections is lowered from {wanted} to {room}: the process may open {nofile} files"
    );
    let help = "raise the limit on open files (ulimit -n, LimitNOFILE=) or lower max_connections";
    (wanted > room).then(|| warning("/limits/max_connections".into(), message, help))
}

/// The warning for a key that a reload cannot change.
pub(super) fn restart_required(key: &str) -> Diagnostic {
    let message = format!("{key} keeps its old value until a restart");
    warning(format!("/{}", key.replace('.', "/")), message, "restart the gateway to change it")
}

/// A warning that belongs to no place in the text.
fn warning(pointer: String, message: String, help: &str) -> Diagnostic {
    Diagnostic {
        severity: Severity::Warning,
        file: None,
        pointer,
        line: 1,
        column: 1,
        length: 1,
        message,
        help: Some(help.into()),
    }
}

/// The soft limit on open files (RLIMIT_NOFILE, `getrlimit(2)`).
pub fn open_files_limit() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_kept_and_small_limits_stay_usable() {
        let config = Config::empty();
        assert_eq!(room_for_connections(&config, 20_000), 20_000 - 32 - 192);
        assert_eq!(room_for_connections(&config, 128), 128 - 32 - 32);
        assert_eq!(room_for_connections(&config, 4), 1);
        assert!(fit_limits(&config, 20_000).is_none());
        let warning = fit_limits(&config, 1024).unwrap();
        assert!(warning.message.contains("from 10000 to 800"), "{}", warning.message);
    }
}
