//! The effective configuration as a file again: TOML or JSON of the same shape as what users write.
//!
//! What is rendered loads to the same configuration. Left out is therefore what would be refused (keys
//! that do not fit a listener) or would change a meaning (`max_connections_per_ip` where loopback is
//! spared because the key was not written). Secrets are hidden, so that what had one must get it again: a
//! token's `sha256` reads "hidden". Handlers that nobody uses are not in effect and so not here.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::access::Token;
use super::check::fit;
use super::endpoint::Endpoint;
use super::model::{Admin, Config, Listener};

impl Config {
    /// The effective configuration as TOML.
    pub fn to_toml(&self) -> String {
        // JSON without nulls is TOML but for dates, so this cannot fail.
        toml::to_string_pretty(&self.to_json()).unwrap_or_default()
    }

    /// The effective configuration as JSON of the same shape.
    pub fn to_json(&self) -> Value {
        let mut root = json!({
            "version": self.version,
            "state_dir": self.state_dir.display().to_string(),
            "admin": self.admin.table(),
            "log": self.log,
            "runtime": self.runtime,
            "reload": self.reload,
            "shutdown": self.shutdown,
            "limits": self.limits,
            "accounts": {
                "database": self.accounts.database.display().to_string(),
                "root": self.accounts.root.display().to_string(),
                "quota": self.accounts.quota,
                "registration": self.accounts.registration,
                "durability": self.accounts.durability,
            },
        });
        let listeners: Map<String, Value> =
            self.listeners.iter().map(|listener| (listener.name.clone(), listener.table())).collect();
        root["listeners"] = Value::Object(listeners);
        root["handlers"] = Value::Object(self.handlers());
        if !self.upstreams.is_empty() {
            let upstreams = self.upstreams.iter().map(|one| (one.name.clone(), json!(one)));
            root["upstreams"] = Value::Object(upstreams.collect());
        }
        as_written(&mut root);
        root
    }

    /// The SHA-256 of the TOML and of the tokens, which it does not show: equal where the effective
    /// configurations are equal.
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new_with_prefix(self.to_toml());
        self.admin.tokens.iter().for_each(|token| hash.update(token.sha256.0));
        hash.finalize().into()
    }

    /// `[handlers]`: what the listeners use, each once.
    fn handlers(&self) -> Map<String, Value> {
        let mut handlers = Map::new();
        for handler in self.listeners.iter().map(|listener| &listener.handler) {
            let mut entry = json!({ "type": handler.kind });
            if let (Value::Object(entry), Value::Object(options)) = (&mut entry, &handler.options) {
                entry.extend(options.clone());
            }
            handlers.insert(handler.name.clone(), entry);
        }
        handlers
    }
}

impl Admin {
    fn table(&self) -> Value {
        let bind = |endpoints: &[Endpoint]| match endpoints.is_empty() {
            true => json!("off"),
            false => json!(endpoints),
        };
        let mut admin = json!({
            "bind": bind(&self.bind),
            "hosts": self.hosts,
            "metrics_bind": bind(&self.metrics_bind),
            "open": self.open,
        });
        if let Some(tls) = &self.tls {
            admin["tls"] = json!(tls);
        }
        let mut tokens = Map::new();
        for token in &self.tokens {
            let file = token.file.as_ref().map(|path| path.display().to_string());
            if token.name == Token::OF_FILE {
                admin["token_file"] = json!(file);
            } else {
                let sha256 = file.is_none().then_some("hidden");
                tokens.insert(
                    token.name.clone(),
                    json!({ "role": token.role, "file": file, "sha256": sha256 }),
                );
            }
        }
        admin["tokens"] = Value::Object(tokens);
        admin
    }
}

impl Listener {
    /// The listener as its table in the file.
    pub fn to_json(&self) -> Value {
        let mut table = self.table();
        as_written(&mut table);
        table
    }

    fn table(&self) -> Value {
        let mut tables = Map::new();
        for (name, table) in [
            ("limits", json!(self.limits)),
            ("timeouts", json!(self.timeouts)),
            ("socket", json!(self.socket)),
            ("datagrams", json!(self.datagrams)),
        ] {
            let mut table = table;
            if let Value::Object(keys) = &mut table {
                keys.retain(|key, _| self.shows(name, key));
                if !keys.is_empty() {
                    tables.insert(name.into(), table);
                }
            }
        }
        let mut listener = json!({
            "bind": self.bind,
            "handler": self.handler.name,
            "allow": self.allow,
            "deny": self.deny,
        });
        if let Value::Object(keys) = &mut listener {
            if let Some(tls) = &self.tls {
                keys.insert("tls".into(), json!(tls));
            }
            if let Some(proxy) = &self.proxy_protocol {
                keys.insert("proxy_protocol".into(), json!(proxy));
            }
            keys.extend(tables);
        }
        listener
    }

    fn shows(&self, table: &str, key: &str) -> bool {
        let bind: Vec<&Endpoint> = self.bind.iter().collect();
        let spared = key == "max_connections_per_ip" && self.limits.per_ip_spares_loopback;
        let flows = self.handler.keeps_flows;
        !spared && fit::fits(table, key, &bind, flows).is_ok()
    }
}

/// Leaves out what has no value, for TOML has no null, and doubles the `$` that would start a `${…}`.
fn as_written(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            entries.retain(|_, entry| !entry.is_null());
            entries.values_mut().for_each(as_written);
        }
        Value::Array(items) => items.iter_mut().for_each(as_written),
        Value::String(text) if text.contains("${") => *text = text.replace("${", "$${"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use crate::config::testing::valid;

    #[track_caller]
    fn round_trip(text: &str) {
        let first = valid(text).config;
        let rendered = first.to_toml();
        let second = valid(&rendered).config;
        assert_eq!(second, first, "{rendered}");
        assert_eq!(second.hash(), first.hash());
        let toml: serde_json::Value = toml::from_str(&rendered).unwrap();
        assert_eq!(toml, first.to_json());
    }

    #[test]
    fn what_is_rendered_loads_to_the_same_configuration() {
        round_trip("");
        round_trip(
            r#"
            admin = { bind = "off", hosts = ["gw"] }
            log.level = "info,polygate=debug"
            reload = { drain = "1m", watch = true, watch_interval = "500ms" }
            shutdown = { delay = "90s", grace = "off" }
            defaults.socket = { unix_mode = "0600", nodelay = false, backlog = 7 }
            defaults.timeouts.idle = "90m"
            [listeners.a]
            bind = ["tcp://[::1]:0", "udp://localhost:53"]
            handler = "hi"
            allow = ["10.0.0.0/8", "::1"]
            limits = { max_connections_per_ip = 3, overload = "reset" }
            datagrams = { max_size = "1500B", trusted = [] }
            [listeners.b]
            bind = ["unix://@x", "fd+unixgram://y"]
            handler = "lines"
            socket.receive_buffer = "1MB"
            [listeners.c]
            bind = "unixgram://run/c"
            handler = "upper"
            [handlers.hi]
            type = "echo"
            greeting = "a\r\n\"b\" $${x} $$${y} $"
            [handlers.lines]
            type = "upper"
            "#
            .replace("\"lines\"", "\"loud\"")
            .replace("handlers.lines", "handlers.loud")
            .as_str(),
        );
    }

    #[test]
    fn values_are_shown_in_the_files_own_grammar() {
        let text = valid("[listeners.a]\nbind = \"tcp://127.0.0.1:1\"\nhandler = \"echo\"").config.to_toml();
        for part in ["idle = \"5m\"", "lifetime = \"off\"", "chunk = \"16KiB\"", "grace = \"8s\""] {
            assert!(text.contains(part), "{text}");
        }
    }
}
