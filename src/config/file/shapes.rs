//! The shapes that values have in the file: tables with free names, lists, one value or several.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};

use crate::config::endpoint::Endpoint;
use crate::config::text::{BadValue, Name, text_value};

/// A table in the order of the file, whose keys are names of listeners or handlers.
#[derive(Debug)]
pub(in crate::config) struct Table<T>(pub(in crate::config) Vec<(String, T)>);

/// A list; none stands for an element in which something was found.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub(in crate::config) struct List<T>(pub(in crate::config) Vec<Option<T>>);

/// One value, or a list that is not empty.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(in crate::config) enum OneOrMany<T> {
    /// One value.
    One(T),
    /// A list.
    Many(Vec<Option<T>>),
}

/// What `admin.bind` holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) enum AdminBind {
    /// `"off"`
    Off,
    /// An endpoint.
    At(Endpoint),
}

impl<T> OneOrMany<T> {
    /// The elements that fit, each with its index if there is a list.
    pub(in crate::config) fn elements(&self) -> Vec<(Option<usize>, Option<&T>)> {
        match self {
            OneOrMany::One(one) => vec![(None, Some(one))],
            OneOrMany::Many(many) => {
                many.iter().enumerate().map(|(index, item)| (Some(index), item.as_ref())).collect()
            }
        }
    }
}

impl std::str::FromStr for AdminBind {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        if text == "off" { Ok(AdminBind::Off) } else { text.parse().map(AdminBind::At) }
    }
}

text_value!(AdminBind, "AdminBind", "admin-endpoint", "^(off|tcp://.+:[0-9]+|unix://.+)$|\\$\\{");

// === schemas and order ===

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
    }
}

impl<T: JsonSchema> JsonSchema for List<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("List_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let items = generator.subschema_for::<T>();
        json_schema!({ "type": "array", "items": items })
    }
}

impl<T: JsonSchema> JsonSchema for Table<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Table_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let names = generator.subschema_for::<Name>();
        let entry = generator.subschema_for::<T>();
        json_schema!({ "type": "object", "propertyNames": names, "additionalProperties": entry })
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Table<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for InOrder<T> {
            type Value = Vec<(String, T)>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(entries)
            }
        }

        deserializer.deserialize_map(InOrder(std::marker::PhantomData)).map(Table)
    }
}
