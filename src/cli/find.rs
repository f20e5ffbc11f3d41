//! Finding the configuration: what was named, else the usual places.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::exit::{Exit, Failure};

/// The variable that names the configuration.
const VARIABLE: &str = "POLYGATE_CONFIG";

/// Where a configuration is looked for when none is named, in this order.
const PLACES: [&str; 2] = ["config/polygate.toml", "/etc/polygate/polygate.toml"];

/// What the search asks the system; tests answer in its place.
pub(crate) struct System<'a> {
    /// Looks a variable of the environment up.
    pub(crate) env: &'a dyn Fn(&str) -> Option<OsString>,
    /// Whether something is at that path.
    pub(crate) exists: &'a dyn Fn(&Path) -> bool,
}

/// The configuration to use. A file that is named is taken, whether or not it is there: reading it says
/// more than the search could.
pub(crate) fn config(file: Option<&Path>, option: Option<&Path>) -> Result<PathBuf, Failure> {
    let system = System { env: &|name| std::env::var_os(name), exists: &exists };
    find(named(file, option)?, &system)
}

/// What FILE and `--config` name together.
pub(crate) fn named<'a>(
    file: Option<&'a Path>,
    option: Option<&'a Path>,
) -> Result<Option<&'a Path>, Failure> {
    match (file, option) {
        (Some(file), Some(option)) if file != option => {
            let (file, option) = (file.display(), option.display());
            Err(Failure::new(Exit::Usage, format!("FILE is {file} and --config is {option}: name one")))
        }
        (file, option) => Ok(file.or(option)),
    }
}

/// The search itself.
pub(crate) fn find(named: Option<&Path>, system: &System<'_>) -> Result<PathBuf, Failure> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    if let Some(path) = (system.env)(VARIABLE).filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let found = PLACES.iter().map(Path::new).find(|path| (system.exists)(path));
    found.map(Path::to_owned).ok_or_else(none)
}

fn none() -> Failure {
    let places = PLACES.map(|place| format!("  {place}: not there\n")).concat();
    Failure {
        exit: Exit::Config,
        report: format!("looked for a configuration in\n  ${VARIABLE}: not set\n{places}"),
        message: "no configuration found; name one with --config FILE, or start from what \
                  `polygate config example` prints"
            .into(),
    }
}

/// Whether something is there, even if it may not be looked at: reading then says why.
fn exists(path: &Path) -> bool {
    match path.symlink_metadata() {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(named: Option<&str>, env: Option<&str>, there: &[&str], expected: Option<&str>) {
        let system = System {
            env: &|name| env.filter(|_| name == "POLYGATE_CONFIG").map(Into::into),
            exists: &|path| there.iter().any(|place| Path::new(place) == path),
        };
        let found = find(named.map(Path::new), &system).ok();
        assert_eq!(found.as_deref(), expected.map(Path::new));
    }

    #[test]
    fn what_is_named_wins_then_the_variable_then_the_usual_places() {
        let both = ["config/polygate.toml", "/etc/polygate/polygate.toml"];
        check(Some("a.toml"), Some("b.toml"), &both, Some("a.toml"));
        check(None, Some("b.toml"), &both, Some("b.toml"));
        check(None, Some(""), &both, Some("config/polygate.toml"));
        check(None, None, &both, Some("config/polygate.toml"));
        check(None, None, &both[1..], Some("/etc/polygate/polygate.toml"));
        check(None, None, &[], None);
    }

    #[test]
    fn a_failed_search_names_the_places() {
        let failure = none();
        assert_eq!(failure.exit, Exit::Config);
        for place in ["$POLYGATE_CONFIG", "config/polygate.toml", "/etc/polygate/polygate.toml"] {
            assert!(failure.report.contains(place), "{place}");
        }
    }

    #[test]
    fn a_file_and_an_option_that_differ_are_a_usage_error() {
        let (a, b) = (Path::new("a"), Path::new("b"));
        assert_eq!(named(Some(a), Some(b)).unwrap_err().exit, Exit::Usage);
        assert_eq!(named(Some(a), Some(a)).unwrap(), Some(a));
        assert_eq!(named(None, Some(b)).unwrap(), Some(b));
        assert_eq!(named(None, None).unwrap(), None);
    }
}
