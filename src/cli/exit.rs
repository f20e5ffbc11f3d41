//! How a command ends: the exit codes, which scripts depend on, and what is said when it fails.
//!
//! The numbers are those of `sysexits.h`, so that a supervisor can tell a wrong configuration, which
//! no restart cures, from a port that somebody else still holds.

use std::io::{self, ErrorKind};
use std::process::ExitCode;

use polygate::config::LoadError;
use polygate::supervisor::ReloadError;

use super::{findings, terminal};

/// An exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// It worked.
    Ok = 0,
    /// An unknown name or id, a failed `--expect`, a second signal, or anything without a code of its own.
    Failure = 1,
    /// The command line is wrong.
    Usage = 64,
    /// The admin API, or the endpoint of a client command, cannot be reached.
    Unavailable = 69,
    /// An endpoint could not be bound.
    CannotBind = 73,
    /// The system or the admin API refuses.
    NoPermission = 77,
    /// The configuration is wrong or cannot be read.
    Config = 78,
}

/// Why a command failed. What it prints on standard error is the report, then the message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The code.
    pub(crate) exit: Exit,
    /// Findings as they are to be shown; may be empty.
    pub(crate) report: String,
    /// One line that says what is wrong.
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Failure { exit, report: String::new(), message: message.into() }
    }

    /// Says it on standard error.
    pub(crate) fn print(&self) {
        terminal::complain(&format!("{}polygate: {}\n", self.report, self.message));
    }
}

// === impl Exit ===

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

impl Exit {
    /// For an error of the system on reading a configuration.
    pub(crate) fn of_read(error: &io::Error) -> Exit {
        match error.kind() {
            ErrorKind::PermissionDenied => Exit::NoPermission,
            _ => Exit::Config,
        }
    }

    /// For a configuration that could not be loaded.
    pub(crate) fn of_load(error: &LoadError) -> Exit {
        match error {
            LoadError::Unreadable(_, error) => Exit::of_read(error),
            LoadError::Syntax(..) | LoadError::Invalid(..) => Exit::Config,
        }
    }

    /// For a gateway that could not start.
    pub(crate) fn of_start(error: &ReloadError) -> Exit {
        match error {
            ReloadError::Load(error) => Exit::of_load(error),
            ReloadError::Build { reason, .. } if is_refusal(reason) => Exit::NoPermission,
            ReloadError::Build { .. } => Exit::Config,
            // EACCES and EPERM both.
            ReloadError::Bind { source, .. } if source.kind() == ErrorKind::PermissionDenied => {
                Exit::NoPermission
            }
            ReloadError::Bind { .. } => Exit::CannotBind,
            ReloadError::ShuttingDown => Exit::Failure,
        }
    }

    /// For an answer of the admin API that is no success.
    pub(crate) fn of_status(status: u16) -> Exit {
        match status {
            401 | 403 => Exit::NoPermission,
            409 => Exit::CannotBind,
            422 => Exit::Config,
            _ => Exit::Failure,
        }
    }
}

// === impl Failure ===

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        let exit = Exit::of_load(&error);
        match error {
            LoadError::Syntax(found, text) | LoadError::Invalid(found, text) => Failure {
                exit,
                report: findings::show(&found, &text, terminal::color_on_stderr()),
                message: format!("the configuration is invalid: {}", findings::count(&found)),
            },
            unreadable @ LoadError::Unreadable(..) => Failure::new(exit, unreadable.to_string()),
        }
    }
}

impl From<ReloadError> for Failure {
    fn from(error: ReloadError) -> Self {
        let exit = Exit::of_start(&error);
        match error {
            ReloadError::Load(error) => error.into(),
            error => Failure::new(exit, error.to_string()),
        }
    }
}

/// Whether the system refused what a handler needs, such as its folder. Handlers say why they cannot be built in words;
/// an error of the system has its number in them (EPERM 1, EACCES 13).
fn is_refusal(reason: &str) -> bool {
    ["(os error 1)", "(os error 13)"].iter().any(|error| reason.contains(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(code: rustix::io::Errno) -> Exit {
        let source = io::Error::from(code);
        Exit::of_start(&ReloadError::Bind { listener: "a".into(), endpoint: "b".into(), source })
    }

    #[test]
    fn a_bind_error_tells_permission_from_the_rest() {
        use rustix::io::Errno;
        assert_eq!(bind(Errno::ACCESS), Exit::NoPermission);
        assert_eq!(bind(Errno::PERM), Exit::NoPermission);
        assert_eq!(bind(Errno::ADDRINUSE), Exit::CannotBind);
        assert_eq!(bind(Errno::ADDRNOTAVAIL), Exit::CannotBind);
    }

    #[test]
    fn a_configuration_error_is_78_unless_reading_is_forbidden() {
        let unreadable = |kind| LoadError::Unreadable("x".into(), io::Error::from(kind));
        assert_eq!(Exit::of_load(&unreadable(ErrorKind::NotFound)), Exit::Config);
        assert_eq!(Exit::of_load(&unreadable(ErrorKind::PermissionDenied)), Exit::NoPermission);
        assert_eq!(Exit::of_load(&LoadError::Syntax(Vec::new(), String::new())), Exit::Config);
        let build = |reason: &str| {
            let reason = reason.to_owned();
            Exit::of_start(&ReloadError::Build { listener: "a".into(), handler: "b".into(), reason })
        };
        assert_eq!(build("c"), Exit::Config);
        assert_eq!(build(&format!("a.db: {}", io::Error::from_raw_os_error(2))), Exit::Config);
        assert_eq!(build(&format!("a.db: {}", io::Error::from_raw_os_error(13))), Exit::NoPermission);
        assert_eq!(build(&format!("a.db: {}", io::Error::from_raw_os_error(1))), Exit::NoPermission);
        assert_eq!(Exit::of_start(&ReloadError::ShuttingDown), Exit::Failure);
    }

    #[test]
    fn an_answer_of_the_admin_api_has_its_code() {
        for (status, code) in [(400, 1), (401, 77), (403, 77), (404, 1), (409, 73), (422, 78), (500, 1)] {
            assert_eq!(Exit::of_status(status) as u8, code, "{status}");
        }
    }
}
