//! A client of the `json-ftp` handler: JSON objects out, fixed words and counts in, none with a delimiter.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::TcpStream;

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::exit::{Exit, Failure};
use super::super::terminal::escape;
use super::address::Address;
use super::progress::{Broken, copy};
use super::reply::broken;
use super::{Entry, Moved, Open, Remote};

const WELCOME: &str = "欢迎使用... ";
const LOGGED_IN: &str = "登陆成功";
const WRONG_PASSWORD: &str = "密码错误";
const UNKNOWN_NAME: &str = "用户名不存在";
const INVALID: &str = "Invalid command...";
const START: &str = "Start";

/// The longest listing.
const LARGEST_LISTING: usize = 64 * 1024 * 1024;

/// A connection that is logged in.
pub(super) struct JsonFtp {
    stream: TcpStream,
    server: String,
}

#[derive(Debug, Deserialize)]
struct Listed {
    name: String,
    size: u64,
    modified: String,
}

impl JsonFtp {
    pub(super) fn login(
        stream: TcpStream,
        url: &Address,
        user: &str,
        password: &str,
    ) -> Result<Self, Failure> {
        let mut client = JsonFtp { stream, server: url.server() };
        client.hear(&[WELCOME])?;
        client.say(&json!({ "cmd": "check_user", "username": user, "password": password }))?;
        let said = client.hear(&[LOGGED_IN, WRONG_PASSWORD, UNKNOWN_NAME, INVALID])?;
        let why = match said.as_str() {
            LOGGED_IN => return Ok(client),
            WRONG_PASSWORD => "wrong password",
            UNKNOWN_NAME => "there is no such account",
            _ => "no name or password that can be",
        };
        let message = format!("{} refuses the login of {}: {why}", client.server, escape(user));
        Err(Failure::new(Exit::NoPermission, message))
    }

    fn say(&mut self, object: &Value) -> Result<(), Failure> {
        let text = object.to_string();
        self.stream.write_all(text.as_bytes()).map_err(|error| broken(&self.server, &error))
    }

    /// One of these words, or a count. Nothing ends an answer but its own last byte, so a count is what one read
    /// gives; the server sends it with one write.
    fn hear(&mut self, words: &[&str]) -> Result<String, Failure> {
        let mut heard = Vec::new();
        loop {
            let mut piece = [0; 1024];
            match self.stream.read(&mut piece) {
                Ok(0) => {
                    let error = std::io::Error::other("it closed the connection");
                    return Err(broken(&self.server, &error));
                }
                Ok(count) => heard.extend_from_slice(&piece[..count]),
                Err(error) => return Err(broken(&self.server, &error)),
            }
            let is_count = heard.iter().all(u8::is_ascii_digit);
            if is_count || words.iter().any(|word| word.as_bytes() == heard) {
                // Digits, or a word that is UTF-8.
                return Ok(String::from_utf8_lossy(&heard).into_owned());
            }
            if !words.iter().any(|word| word.as_bytes().starts_with(&heard)) {
                let said = escape(&String::from_utf8_lossy(&heard));
                let message = format!("{} does not speak json-ftp: it said \"{said}\"", self.server);
                return Err(Failure::new(Exit::Failure, message));
            }
        }
    }

    fn failed(&self, message: &str) -> Failure {
        Failure::new(Exit::Failure, format!("{} {message}", self.server))
    }

    fn entries(&mut self) -> Result<Vec<Entry>, Failure> {
        self.say(&json!({ "cmd": "ls" }))?;
        let mut heard = Vec::new();
        let mut piece = vec![0; 64 * 1024];
        while heard.last() != Some(&b'\n') {
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(self.failed("closed the connection in the middle of a listing")),
                Ok(count) => heard.extend_from_slice(&piece[..count]),
                Err(error) => return Err(broken(&self.server, &error)),
            }
            if heard == INVALID.as_bytes() || heard.len() > LARGEST_LISTING {
                return Err(self.failed("cannot list"));
            }
        }
        let listed: Vec<Listed> =
            serde_json::from_slice(&heard).map_err(|_| self.failed("sent a listing that is no JSON"))?;
        let entry = |it: Listed| Entry {
            name: it.name,
            kind: "file".into(),
            size_bytes: Some(it.size),
            modified: Some(it.modified),
        };
        Ok(listed.into_iter().map(entry).collect())
    }
}

impl Remote for JsonFtp {
    fn put(&mut self, name: &str, file: &mut File, size: u64, resume: bool) -> Result<Moved, Failure> {
        let shown = escape(name);
        self.say(&json!({ "cmd": "put", "filename": name, "filesize": size }))?;
        let said = self.hear(&[START, INVALID])?;
        let offset = match said.as_str() {
            START => 0,
            INVALID => {
                let why = "the name, the quota, or a file of that name with another size";
                return Err(self.failed(&format!("refuses {shown}: {why}")));
            }
            // None that fits is none that was meant.
            count => count.parse().ok().filter(|held| *held <= size).ok_or_else(|| {
                self.failed(&format!("says that it holds {count} bytes of {size} of {shown}"))
            })?,
        };
        if offset > 0 && !resume {
            // To leave now is to write nothing: the server would take what comes for the rest.
            return Err(self
                .failed(&format!("holds {offset} of {size} bytes of {shown} already: --continue goes on")));
        }
        if offset == size && size > 0 {
            return Ok(Moved { offset, bytes: 0 });
        }
        let here = |error| Failure::new(Exit::Failure, format!("the file here: {error}"));
        file.seek(SeekFrom::Start(offset)).map_err(here)?;
        match copy(file, &mut self.stream, size - offset, offset, Some(size)) {
            Ok(bytes) if bytes == size - offset => {
                // A put that is complete is answered by nothing; the listing tells.
                let whole = |it: &Entry| it.name == name && it.size_bytes == Some(size);
                match self.entries()?.iter().any(whole) {
                    true => Ok(Moved { offset, bytes }),
                    false => Err(self.failed(&format!("does not list {shown} with {size} bytes"))),
                }
            }
            Ok(_) => Err(Failure::new(Exit::Failure, "the file has become shorter while it was sent")),
            Err(Broken::Source(error)) => Err(here(error)),
            Err(Broken::Sink(error)) => Err(broken(&self.server, &error)),
        }
    }

    fn get(&mut self, name: &str, have: u64, open: Open<'_>) -> Result<Moved, Failure> {
        let shown = escape(name);
        self.say(&json!({ "cmd": "get", "filename": name, "offset": have }))?;
        let said = self.hear(&[INVALID])?;
        if said == INVALID {
            let why = if have > 0 { ", or not so long as what is here" } else { "" };
            return Err(self.failed(&format!("has no {shown}{why}")));
        }
        let size: u64 = said.parse().map_err(|_| self.failed("says no size that can be"))?;
        if have > size {
            return Err(
                self.failed(&format!("has {size} bytes of {shown}, and here are {have}: it is another file"))
            );
        }
        if have == size && size > 0 {
            return Ok(Moved { offset: have, bytes: 0 });
        }
        let mut sink = open()?;
        self.stream.write_all(START.as_bytes()).map_err(|error| broken(&self.server, &error))?;
        match copy(&mut self.stream, &mut *sink, size - have, have, Some(size)) {
            Ok(bytes) if bytes == size - have => Ok(Moved { offset: have, bytes }),
            Ok(_) => Err(self.failed("closed the connection: --continue goes on")),
            Err(Broken::Source(error)) => Err(broken(&self.server, &error)),
            Err(Broken::Sink(error)) => Err(Failure::new(Exit::Failure, format!("the file here: {error}"))),
        }
    }

    fn list(&mut self, name: &str) -> Result<Vec<Entry>, Failure> {
        let mut entries = self.entries()?;
        if !name.is_empty() {
            entries.retain(|entry| entry.name == name);
            if entries.is_empty() {
                return Err(self.failed(&format!("has no {}", escape(name))));
            }
        }
        Ok(entries)
    }
}
