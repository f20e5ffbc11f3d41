//! Options of the form `key=value`.

use std::str::FromStr;

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

pub struct Args(Vec<(String, String)>);

impl Args {
    pub fn new(words: impl Iterator<Item = String>) -> Self {
        Args(
            words
                .map(|word| {
                    word.split_once('=').map(|(k, v)| (k.into(), v.into())).unwrap_or((word, String::new()))
                })
                .collect(),
        )
    }

    /// The value, or none if the key is not there.
    pub fn find<T: FromStr>(&self, key: &str) -> Result<Option<T>, Failure> {
        let Some((_, value)) = self.0.iter().find(|(k, _)| k == key) else { return Ok(None) };
        value.parse().map(Some).map_err(|_| format!("{key}={value} is not understood").into())
    }

    pub fn get<T: FromStr>(&self, key: &str) -> Result<T, Failure> {
        self.find(key)?.ok_or_else(|| format!("{key}=… is missing").into())
    }

    pub fn or<T: FromStr>(&self, key: &str, default: T) -> Result<T, Failure> {
        Ok(self.find(key)?.unwrap_or(default))
    }
}
