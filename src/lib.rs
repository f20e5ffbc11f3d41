//! polygate: a configurable multi-protocol network gateway.

pub mod config;
