//! Values with a unit: durations and sizes, each with its own grammar and schema.

use std::time::Duration;

/// A duration that is never zero and cannot be `"off"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(Duration);

impl Period {
    /// As the standard type.
    pub const fn get(self) -> Duration {
        self.0
    }
}

/// A duration, or `"off"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeout(Option<Duration>);

impl Timeout {
    /// No limit: `"off"`.
    pub const OFF: Timeout = Timeout(None);

    /// So many seconds.
    pub const fn after_secs(seconds: u64) -> Self {
        Timeout(Some(Duration::from_secs(seconds)))
    }

    /// As the standard type; none is off.
    pub const fn get(self) -> Option<Duration> {
        self.0
    }
}

/// A number of bytes, never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

impl Size {
    /// In bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// So many KiB.
    pub const fn kib(n: u64) -> Self {
        Size(n * 1024)
    }
}

impl serde::Serialize for Timeout {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            None => serializer.serialize_str("off"),
            Some(d) => serializer.collect_str(&format_args!("{}ms", d.as_millis())),
        }
    }
}

impl serde::Serialize for Size {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}B", self.0))
    }
}
