//! Integration tests: a gateway in this process or as a program, and its clients over real sockets.
//!
//! One file a behaviour. Ports are chosen by the kernel, files are in temporary folders, so that all of it runs
//! in parallel.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod client;
mod ftp;
mod ftp_client;
mod ftp_simulation;
mod ftp_tls;
mod ftp_transfer;
mod harness;
mod program;
mod proxy_protocol;

mod admission;
mod clocks;
mod config_fixtures;
mod containers;
mod dashboards;
mod datagrams;
mod documents;
mod example;
mod examples_config;
mod exec;
mod flows;
mod forward;
mod forward_tls;
mod http;
mod http2;
mod http_rules;
mod inherited;
mod json_ftp;
mod kill;
mod limits;
mod process;
mod reference;
mod reload;
mod reload_drain;
mod reload_fails;
mod reload_sockets;
mod runner;
mod shutdown;
mod small_handlers;
mod storage;
mod storage_crash;
mod streams;
mod tidy;
mod tls;
mod tls_client;
mod unix_sockets;
mod watch;
