//! What the configuration asks of the handlers without knowing them.

use serde_json::Value;

use super::diagnostic::Severity;
use super::endpoint::Transports;
use super::model::Timeouts;
use super::tls::{ClientPem, Pem, PemError, Validity};

/// The handler types that a configuration may name.
pub trait Catalog: Send + Sync {
    /// Every type, sorted by name.
    fn types(&self) -> Vec<&dyn HandlerType>;

    /// The type of that name.
    fn get(&self, name: &str) -> Option<&dyn HandlerType> {
        self.types().into_iter().find(|t| t.name() == name)
    }

    /// Looks at a certificate, its key and the roots of the clients, and says from when to when it is valid.
    ///
    /// # Errors
    /// Which of them is not what it should be.
    fn check_pem(&self, pem: &Pem) -> Result<Validity, PemError>;

    /// The same of what a client trusts and shows; the validity is that of what it shows.
    ///
    /// # Errors
    /// Which of them is not what it should be; [`PemError::ClientCa`] is of the roots.
    fn check_client_pem(&self, pem: &ClientPem) -> Result<Option<Validity>, PemError> {
        let _ = pem;
        Ok(None)
    }
}

/// One handler type, as the configuration sees it.
pub trait HandlerType: Send + Sync {
    /// Its name, for example `echo`.
    fn name(&self) -> &'static str;
    /// The transports that it can serve.
    fn transports(&self) -> Transports;
    /// The JSON Schema of its options (schemars' output for the `Options` type).
    fn schema(&self) -> Value;
    /// Looks at options that fit the schema. `transports` are those of one listener that uses them.
    fn check(&self, options: &Value, transports: Transports) -> Findings;
    /// What to warn of where an endpoint for connections is reachable from other machines.
    /// `has_tls` says that the listener has a certificate.
    fn check_in_public(&self, options: &Value, has_tls: bool) -> Findings {
        let _ = (options, has_tls);
        Vec::new()
    }
    /// The options with every default filled in; the error is serde's, for what the schema let pass.
    fn effective(&self, options: &Value) -> Result<Value, String>;
    /// Whether an answer can be longer than its question: a warning on a public `udp` endpoint.
    fn amplifies(&self, options: &Value) -> bool;
    /// The upstream that the options name, and the option that does.
    fn upstream(&self, options: &Value) -> Option<(&'static str, String)> {
        let _ = options;
        None
    }
    /// Whether it begins TLS itself, inside its protocol: then a listener's `tls` only says with what certificate.
    fn starts_tls(&self) -> bool {
        false
    }
    /// Whether it keeps something for each sender of datagrams, so that `timeouts.idle` is for them, too.
    fn keeps_flows(&self) -> bool {
        false
    }
    /// Looks at options where the listener has a `tls` table, or has none.
    fn check_tls(&self, options: &Value, has_table: bool) -> Findings {
        let _ = (options, has_table);
        Vec::new()
    }
    /// The timeouts where neither the listener nor `[defaults]` says anything.
    fn default_timeouts(&self) -> Timeouts;
}

/// What a handler finds wrong with its options.
pub type Findings = Vec<Finding>;

/// One finding: a key path into the options, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Error or warning.
    pub severity: Severity,
    /// Keys from the options' root, for example `["commands", "seq", "argv"]`; empty is the whole table.
    pub path: Vec<String>,
    /// What is wrong and what was expected.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Finding {
    /// An error at an option.
    pub fn error(path: &[&str], message: impl Into<String>) -> Self {
        Finding {
            severity: Severity::Error,
            path: path.iter().map(ToString::to_string).collect(),
            message: message.into(),
            help: None,
        }
    }

    /// A warning at an option.
    pub fn warning(path: &[&str], message: impl Into<String>) -> Self {
        Finding { severity: Severity::Warning, ..Finding::error(path, message) }
    }

    /// The same with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
