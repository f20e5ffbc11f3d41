//! What this program was built from.

/// The version in Cargo.toml.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The git revision, or `unknown`.
pub const REVISION: &str = match option_env!("POLYGATE_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};

/// The compiler's version, or `unknown`.
pub const RUSTC: &str = match option_env!("POLYGATE_RUSTC") {
    Some(version) => version,
    None => "unknown",
};
