//! What the command line takes from the rest of the program, in one place.

use std::sync::Arc;

use polygate::config::{Catalog, Config, Diagnostic, HandlerType};

struct Nothing;

impl Catalog for Nothing {
    fn types(&self) -> Vec<&dyn HandlerType> {
        Vec::new()
    }
}

/// The handler types.
pub(crate) fn catalog() -> Arc<dyn Catalog> {
    Arc::new(Nothing)
}

/// The warning for limits that do not fit so many file descriptors.
pub(crate) fn fit_limits(_config: &Config, _nofile: u64) -> Option<Diagnostic> {
    None
}

/// Every key of a configuration, explained.
pub(crate) const REFERENCE: &str = include_str!("../../config/polygate.toml");
