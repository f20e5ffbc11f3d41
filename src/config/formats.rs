//! What a JSON Schema says about a single value: formats, ranges and lengths.
//!
//! A format of ours names a type with a `FromStr`, and that gives the message.

use std::str::FromStr;

use serde_json::{Map, Value};

use super::access::TokenHash;
use super::endpoint::Endpoint;
use super::file::AdminBind;
use super::model::UnixMode;
use super::text::{BadValue, FilePath, HostName, LogFilter, Name, Network};
use super::tree::Tree;
use super::values::{Period, Size, Timeout};

/// A schema's keywords.
type Rules = Map<String, Value>;

/// Looks at a string.
pub(super) fn check(rules: &Rules, text: &str) -> Result<(), BadValue> {
    let characters = text.chars().count();
    let bound = |key: &str| rules.get(key).and_then(Value::as_u64);
    if bound("minLength").is_some_and(|least| (characters as u64) < least) {
        return Err(match characters {
            0 => BadValue::new("the string is empty"),
            _ => BadValue::new("the string is too short"),
        });
    }
    if let Some(most) = bound("maxLength")
        && characters as u64 > most
    {
        return Err(BadValue::new(format!("the string is too long: at most {most} characters are possible")));
    }
    match rules.get("format").and_then(Value::as_str).unwrap_or_default() {
        "duration" => parse::<Period>(text),
        "timeout" => parse::<Timeout>(text),
        "size" => parse::<Size>(text),
        "endpoint" => parse::<Endpoint>(text),
        "admin-endpoint" => parse::<AdminBind>(text),
        "name" => parse::<Name>(text),
        "network" => parse::<Network>(text),
        "host-name" => parse::<HostName>(text),
        "log-filter" => parse::<LogFilter>(text),
        "path" => parse::<FilePath>(text),
        "unix-mode" => parse::<UnixMode>(text),
        "sha256" => parse::<TokenHash>(text),
        _ => Ok(()),
    }
}

fn parse<T: FromStr<Err = BadValue>>(text: &str) -> Result<(), BadValue> {
    text.parse::<T>().map(drop)
}

/// How a value of the schema's format is written, as advice where another type was found.
pub(super) fn example(rules: &Rules) -> Option<String> {
    let example = match rules.get("format").and_then(Value::as_str)? {
        "duration" => "a duration is a string with units, for example \"30s\" or \"1h 30m\"",
        "timeout" => "a duration is a string with units, for example \"30s\", or \"off\"",
        "size" => "a size is a string with a unit, for example \"64KiB\" or \"1MB\"",
        "endpoint" | "admin-endpoint" => "an endpoint is a string, for example \"tcp://127.0.0.1:7007\"",
        "network" => "a network is a string, for example \"10.0.0.0/8\"",
        "unix-mode" => "a mode is a string of octal digits, for example \"0660\"",
        _ => return None,
    };
    Some(example.into())
}

/// Looks at a number.
pub(super) fn range(rules: &Rules, value: &Tree) -> Result<(), BadValue> {
    let least = rules.get("minimum");
    let most = rules.get("maximum");
    let limits = || match (least, most) {
        (Some(least), Some(most)) => format!("expected {least} to {most}"),
        (Some(least), None) => format!("expected at least {least}"),
        (None, Some(most)) => format!("expected at most {most}"),
        (None, None) => "expected a number of 64 bits".into(),
    };
    let outside = match value {
        Tree::Integer(Some(number)) => {
            let number = i128::from(*number);
            least.and_then(whole).is_some_and(|least| number < least)
                || most.and_then(whole).is_some_and(|most| number > most)
        }
        Tree::Integer(None) => return Err(BadValue::new(format!("the number is too large: {}", limits()))),
        Tree::Float(number) => {
            !number.is_finite()
                || least.and_then(Value::as_f64).is_some_and(|least| *number < least)
                || most.and_then(Value::as_f64).is_some_and(|most| *number > most)
        }
        _ => false,
    };
    if !outside {
        return Ok(());
    }
    let found = match value {
        Tree::Integer(Some(number)) => number.to_string(),
        Tree::Float(number) => number.to_string(),
        _ => "it".into(),
    };
    Err(BadValue::new(format!("{found} is out of range: {}", limits())))
}

fn whole(limit: &Value) -> Option<i128> {
    limit.as_i64().map(i128::from).or_else(|| limit.as_u64().map(i128::from)).or_else(|| {
        // Some bounds come as 1.0; none that matters has a fraction or does not fit.
        limit.as_f64().map(|limit| limit as i128)
    })
}

/// Looks at the length of an array.
pub(super) fn length(rules: &Rules, found: usize) -> Result<(), BadValue> {
    let bound = |key: &str| rules.get(key).and_then(Value::as_u64);
    if let Some(least) = bound("minItems")
        && (found as u64) < least
    {
        return Err(match found {
            0 => BadValue::new("the list is empty: expected at least one element"),
            _ => BadValue::new(format!("expected at least {least} elements, found {found}")),
        });
    }
    if let Some(most) = bound("maxItems")
        && found as u64 > most
    {
        return Err(BadValue::new(format!("expected at most {most} elements, found {found}")));
    }
    Ok(())
}
