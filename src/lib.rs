//! polygate: a configurable multi-protocol network gateway.

pub mod admin;
pub mod config;
pub mod gateway;
pub mod handler;
pub mod handlers;
pub mod listener;
pub mod metrics;
pub mod net;
pub mod stats;
pub mod supervisor;
pub mod version;
