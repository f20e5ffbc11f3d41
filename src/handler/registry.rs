//! The handler types that a gateway knows, and how one is made without knowing which.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::{
    BuildError, Context, Counter, DatagramHandler, DatagramService, Handler, RejectReason, StreamHandler,
    StreamService,
};
use crate::config::{
    Catalog, ClientPem, Finding, Findings, HandlerType, MinVersion, Pem, PemError, Timeouts, Transports,
    Validity,
};
use crate::net::tls::{Acceptor, Connector};

/// A handler made for a listener.
#[derive(Clone)]
pub struct Built {
    /// Its type's name.
    pub kind: &'static str,
    /// For connections.
    pub stream: Option<Arc<dyn StreamService>>,
    /// For datagrams.
    pub datagram: Option<Arc<dyn DatagramService>>,
    /// What a connection hears that is turned away, by reason.
    pub refusals: Arc<[Option<Cow<'static, [u8]>>]>,
    /// What it counts.
    pub counters: Arc<[Counter]>,
    /// Whether it begins TLS itself.
    pub starts_tls: bool,
    /// Whether it keeps something for each sender of datagrams.
    pub keeps_flows: bool,
}

impl std::fmt::Debug for Built {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Built").field(&self.kind).finish()
    }
}

/// A type in the registry: what the configuration asks, and how to make one.
trait Kind: HandlerType {
    fn build(&self, options: &Value, context: &Context) -> Result<Built, BuildError>;
    fn as_type(&self) -> &dyn HandlerType;
    fn counters(&self) -> &'static [Counter];
    fn alpn(&self) -> &'static [&'static str];
}

/// The handler types that a gateway knows.
#[derive(Default)]
pub struct Registry(BTreeMap<&'static str, Box<dyn Kind>>);

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Registry {
    /// Without any.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a type for connections. One of the same name is replaced.
    #[must_use]
    pub fn stream<H: StreamHandler>(self) -> Self {
        self.add::<H>(Some(|handler| handler), None)
    }

    /// Adds a type for datagrams. One of the same name is replaced.
    #[must_use]
    pub fn datagram<H: DatagramHandler>(self) -> Self {
        self.add::<H>(None, Some(|handler| handler))
    }

    /// Adds a type for both. One of the same name is replaced.
    #[must_use]
    pub fn both<H: StreamHandler + DatagramHandler>(self) -> Self {
        self.add::<H>(Some(|handler| handler), Some(|handler| handler))
    }

    fn add<H: Handler>(mut self, stream: Option<Streams<H>>, datagram: Option<Datagrams<H>>) -> Self {
        self.0.insert(H::NAME, Box::new(Typed::<H> { stream, datagram }));
        self
    }

    /// What the types count, sorted by type and then as they declare it.
    pub fn counters(&self) -> Vec<Counter> {
        self.0.values().flat_map(|kind| kind.counters()).copied().collect()
    }

    /// The protocols that the type offers by ALPN.
    pub fn alpn(&self, kind: &str) -> &'static [&'static str] {
        self.0.get(kind).map_or(&[], |kind| kind.alpn())
    }

    /// Makes a handler of that type.
    ///
    /// # Errors
    /// What [`Handler::new`] says, or that there is no such type.
    pub fn build(&self, kind: &str, options: &Value, context: &Context) -> Result<Built, BuildError> {
        let kind = self.0.get(kind).ok_or_else(|| BuildError::new(format!("no handler type {kind}")))?;
        kind.build(options, context)
    }
}

impl Catalog for Registry {
    fn check_pem(&self, pem: &Pem) -> Result<Validity, PemError> {
        Acceptor::new(pem, MinVersion::V12, &[]).map(|acceptor| acceptor.validity())
    }

    fn check_client_pem(&self, pem: &ClientPem) -> Result<Option<Validity>, PemError> {
        Connector::client(pem).map(|(_, validity)| validity)
    }

    fn types(&self) -> Vec<&dyn HandlerType> {
        self.0.values().map(|kind| kind.as_type()).collect()
    }

    fn get(&self, name: &str) -> Option<&dyn HandlerType> {
        self.0.get(name).map(|kind| kind.as_type())
    }
}

type Streams<H> = fn(Arc<H>) -> Arc<dyn StreamService>;
type Datagrams<H> = fn(Arc<H>) -> Arc<dyn DatagramService>;

/// A handler type with the casts that its traits allow.
struct Typed<H> {
    stream: Option<Streams<H>>,
    datagram: Option<Datagrams<H>>,
}

impl<H: Handler> Typed<H> {
    /// Options that the configuration has let pass decode; what it has not (a handler's own rule for a
    /// string, say) is a finding like any other.
    fn decode(options: &Value) -> Result<H::Options, String> {
        serde_json::from_value(options.clone()).map_err(|error| error.to_string())
    }
}

impl<H: Handler> HandlerType for Typed<H> {
    fn name(&self) -> &'static str {
        H::NAME
    }

    fn transports(&self) -> Transports {
        // What it says, as far as it was registered for that.
        let streams = if self.stream.is_some() { Transports::STREAMS } else { Transports::NONE };
        let datagrams = if self.datagram.is_some() { Transports::DATAGRAMS } else { Transports::NONE };
        H::TRANSPORTS & (streams | datagrams)
    }

    fn schema(&self) -> Value {
        schemars::generate::SchemaSettings::draft07()
            .into_generator()
            .into_root_schema_for::<H::Options>()
            .into()
    }

    fn check(&self, options: &Value, transports: Transports) -> Findings {
        match Self::decode(options) {
            Ok(options) => H::check(&options, transports),
            Err(message) => vec![Finding::error(&[], message)],
        }
    }

    fn effective(&self, options: &Value) -> Result<Value, String> {
        let options = Self::decode(options)?;
        serde_json::to_value(options).map_err(|error| error.to_string())
    }

    fn check_in_public(&self, options: &Value, has_tls: bool) -> Findings {
        Self::decode(options).map(|options| H::check_in_public(&options, has_tls)).unwrap_or_default()
    }

    fn amplifies(&self, options: &Value) -> bool {
        Self::decode(options).is_ok_and(|options| H::amplifies(&options))
    }

    fn upstream(&self, options: &Value) -> Option<(&'static str, String)> {
        let options = Self::decode(options).ok()?;
        H::upstream(&options).map(|(key, name)| (key, name.to_owned()))
    }

    fn starts_tls(&self) -> bool {
        H::STARTS_TLS
    }

    fn keeps_flows(&self) -> bool {
        H::KEEPS_FLOWS
    }

    fn check_tls(&self, options: &Value, has_table: bool) -> Findings {
        Self::decode(options).map(|options| H::check_tls(&options, has_table)).unwrap_or_default()
    }

    fn default_timeouts(&self) -> Timeouts {
        H::default_timeouts()
    }
}

impl<H: Handler> Kind for Typed<H> {
    fn build(&self, options: &Value, context: &Context) -> Result<Built, BuildError> {
        let handler = Arc::new(H::new(Self::decode(options).map_err(BuildError::new)?, context)?);
        Ok(Built {
            kind: H::NAME,
            stream: self.stream.map(|cast| cast(handler.clone())),
            datagram: self.datagram.map(|cast| cast(handler.clone())),
            refusals: RejectReason::ALL.iter().map(|reason| H::refusal(*reason)).collect(),
            counters: handler.counters().into(),
            starts_tls: H::STARTS_TLS,
            keeps_flows: H::KEEPS_FLOWS,
        })
    }

    fn as_type(&self) -> &dyn HandlerType {
        self
    }

    fn counters(&self) -> &'static [Counter] {
        H::COUNTERS
    }

    fn alpn(&self) -> &'static [&'static str] {
        H::alpn()
    }
}
