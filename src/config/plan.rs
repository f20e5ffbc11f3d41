//! The difference between the running configuration and a new one: pure, and the same for a reload,
//! its dry run and start-up (which compares with [`Config::empty`]).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::endpoint::{Endpoint, UnixAddress};
use super::model::{Config, Listener};

/// What changes with a new configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Listeners that are new, in the order of the file.
    pub added: Vec<String>,
    /// Listeners that go.
    pub removed: Vec<String>,
    /// Listeners that stay but differ.
    pub changed: Vec<Changed>,
    /// Listeners that stay as they are.
    pub unchanged: Vec<String>,
    /// Keys outside of `[listeners]` that differ, for example `log.level`.
    pub settings: Vec<String>,
    /// Keys that differ but keep their value until the next start.
    pub restart_required: Vec<String>,
}

/// A listener that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// Its name.
    pub name: String,
    /// The keys that differ, for example `bind`, `options.prefix` or `timeouts.idle`.
    pub what: Vec<String>,
}

impl Plan {
    /// Whether the configurations have the same effect.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.removed.is_empty()
            && self.changed.is_empty()
            && self.settings.is_empty()
            && self.restart_required.is_empty()
    }
}

/// The difference between two configurations.
pub fn plan(old: &Config, new: &Config) -> Plan {
    let mut plan = Plan { settings: settings(old, new), ..Plan::default() };
    let before = by_name(old);
    let after = by_name(new);
    for listener in &new.listeners {
        let name = listener.name.clone();
        match before.get(name.as_str()) {
            None => plan.added.push(name),
            Some(before) => match changes(before, listener) {
                what if what.is_empty() => plan.unchanged.push(name),
                what => plan.changed.push(Changed { name, what }),
            },
        }
    }
    let gone = old.listeners.iter().filter(|listener| !after.contains_key(listener.name.as_str()));
    plan.removed = gone.map(|listener| listener.name.clone()).collect();
    // Nothing runs yet where there is no folder: at start-up every value is taken as it is.
    if !old.state_dir.as_os_str().is_empty() {
        let mut note = |key: &str, differs: bool| {
            if differs {
                plan.restart_required.push(key.into());
            }
        };
        note("state_dir", old.state_dir != new.state_dir);
        note("runtime.workers", old.runtime != new.runtime);
        // As written: a folder that moves takes what is in it along.
        let differs = |get: fn(&Config) -> &PathBuf| within_state(old, get) != within_state(new, get);
        note("accounts.database", differs(|config| &config.accounts.database));
        note("accounts.root", differs(|config| &config.accounts.root));
    }
    plan
}

impl Config {
    /// Takes back what only a restart can change: `state_dir`, with the Unix sockets below it, `runtime`, and
    /// where accounts are.
    pub fn keep_running(&mut self, running: &Config) {
        let wanted = std::mem::replace(&mut self.state_dir, running.state_dir.clone());
        self.runtime = running.runtime.clone();
        self.accounts.database = running.accounts.database.clone();
        self.accounts.root = running.accounts.root.clone();
        let binds = self.listeners.iter_mut().flat_map(|listener| &mut listener.bind);
        for endpoint in binds.chain(&mut self.admin.bind).chain(&mut self.admin.metrics_bind) {
            if let Endpoint::Unix(UnixAddress::Path(path)) | Endpoint::Unixgram(UnixAddress::Path(path)) =
                endpoint
                && let Ok(relative) = path.strip_prefix(&wanted)
            {
                *path = running.state_dir.join(relative);
            }
        }
    }
}

/// A path as it stands to `state_dir`.
fn within_state(config: &Config, get: fn(&Config) -> &PathBuf) -> &Path {
    let path = get(config);
    path.strip_prefix(&config.state_dir).unwrap_or(path)
}

fn by_name(config: &Config) -> HashMap<&str, &Listener> {
    config.listeners.iter().map(|listener| (listener.name.as_str(), listener)).collect()
}

fn settings(old: &Config, new: &Config) -> Vec<String> {
    let mut keys = Vec::new();
    differing("admin", &serde(&old.admin), &serde(&new.admin), &mut keys);
    other_files("admin.tls", old.admin.tls != new.admin.tls, &mut keys);
    differing("log", &serde(&old.log), &serde(&new.log), &mut keys);
    differing("upstreams", &upstreams(old), &upstreams(new), &mut keys);
    for one in &new.upstreams {
        let before = old.upstreams.iter().find(|before| before.name == one.name);
        let differ = before.is_some_and(|before| before.tls != one.tls);
        other_files(&format!("upstreams.{}.tls", one.name), differ, &mut keys);
    }
    differing("reload", &serde(&old.reload), &serde(&new.reload), &mut keys);
    differing("shutdown", &serde(&old.shutdown), &serde(&new.shutdown), &mut keys);
    differing("limits", &serde(&old.limits), &serde(&new.limits), &mut keys);
    for key in ["quota", "registration", "durability"] {
        let value = |config: &Config| serde(&config.accounts).get(key).cloned().unwrap_or_default();
        differing(&format!("accounts.{key}"), &value(old), &value(new), &mut keys);
    }
    keys
}

fn upstreams(config: &Config) -> Value {
    config
        .upstreams
        .iter()
        .map(|one| (one.name.clone(), serde(one)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn changes(old: &Listener, new: &Listener) -> Vec<String> {
    let mut keys = Vec::new();
    differing("bind", &serde(&old.bind), &serde(&new.bind), &mut keys);
    if old.handler.name != new.handler.name || old.handler.kind != new.handler.kind {
        keys.push("handler".into());
    }
    if old.handler.kind == new.handler.kind {
        differing("options", &old.handler.options, &new.handler.options, &mut keys);
    }
    differing("allow", &serde(&old.allow), &serde(&new.allow), &mut keys);
    differing("deny", &serde(&old.deny), &serde(&new.deny), &mut keys);
    differing("limits", &serde(&old.limits), &serde(&new.limits), &mut keys);
    let per_ip = "limits.max_connections_per_ip";
    if old.limits.per_ip_spares_loopback != new.limits.per_ip_spares_loopback
        && !keys.iter().any(|key| key == per_ip)
    {
        keys.push(per_ip.into());
    }
    differing("timeouts", &serde(&old.timeouts), &serde(&new.timeouts), &mut keys);
    differing("socket", &serde(&old.socket), &serde(&new.socket), &mut keys);
    differing("datagrams", &serde(&old.datagrams), &serde(&new.datagrams), &mut keys);
    differing("proxy_protocol", &serde(&old.proxy_protocol), &serde(&new.proxy_protocol), &mut keys);
    differing("tls", &serde(&old.tls), &serde(&new.tls), &mut keys);
    other_files("tls", old.tls != new.tls, &mut keys);
    keys
}

/// A table of TLS that differs without a key that does: other certificates are in the files.
fn other_files(table: &str, differ: bool, keys: &mut Vec<String>) {
    if differ && !keys.iter().any(|key| key.starts_with(table)) {
        keys.push(table.into());
    }
}

/// Collects the paths of the leaves that differ; a list is a leaf.
fn differing(path: &str, old: &Value, new: &Value, out: &mut Vec<String>) {
    if old == new {
        return;
    }
    let (Value::Object(before), Value::Object(after)) = (old, new) else {
        out.push(path.into());
        return;
    };
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    for key in after.keys().chain(gone) {
        let value = |entries: &serde_json::Map<String, Value>| entries.get(key).cloned().unwrap_or_default();
        differing(&format!("{path}.{key}"), &value(before), &value(after), out);
    }
}

fn serde(value: &impl Serialize) -> Value {
    // Plain data with string keys: this cannot fail.
    serde_json::to_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::valid;

    const BASE: &str = r#"
        [listeners.a]
        bind = "tcp://127.0.0.1:7007"
        handler = "echo"
        [listeners.b]
        bind = "unix://run/b.sock"
        handler = "upper"
    "#;

    /// Compares the base with what comes of it when the first text is replaced by the second.
    #[track_caller]
    fn check(from: &str, to: &str, expected: Plan) {
        assert!(BASE.contains(from), "{from}");
        let (old, new) = (valid(BASE).config, valid(&BASE.replacen(from, to, 1)).config);
        assert_eq!(plan(&old, &new), expected);
    }

    fn base() -> Plan {
        Plan { unchanged: vec!["a".into(), "b".into()], ..Plan::default() }
    }

    #[track_caller]
    fn changed(from: &str, to: &str, what: &[&str]) {
        let what = what.iter().map(ToString::to_string).collect();
        let changed = vec![Changed { name: "a".into(), what }];
        check(from, to, Plan { changed, unchanged: vec!["b".into()], ..Plan::default() });
    }

    #[test]
    fn the_same_text_changes_nothing() {
        check("echo", "echo", base());
        let config = valid(BASE).config;
        assert!(plan(&config, &config).is_empty());
    }

    #[test]
    fn a_key_of_a_listener() {
        changed("7007", "7008", &["bind"]);
        changed("\"echo\"", "\"upper\"", &["handler"]);
        changed("\"echo\"", "\"echo\"\nallow = [\"::1\"]", &["allow"]);
        changed("\"echo\"", "\"echo\"\ntimeouts.idle = \"1s\"", &["timeouts.idle"]);
        changed(
            "\"echo\"",
            "\"echo\"\nlimits.max_connections_per_ip = 1000",
            &["limits.max_connections_per_ip"],
        );
        changed("\"echo\"", "\"echo\"\nsocket.send_buffer = \"1MB\"", &["socket.send_buffer"]);
        changed(
            "[listeners.a]",
            "[handlers.echo]\ntype = \"echo\"\nprefix = \"x\"\n[listeners.a]",
            &["options.prefix"],
        );
        let limits = "limits.max_connections = 5\n[listeners.a]\nlimits.max_connections = 10000";
        let changed = vec![Changed { name: "b".into(), what: vec!["limits.max_connections".into()] }];
        let settings = vec!["limits.max_connections".into()];
        check(
            "[listeners.a]",
            limits,
            Plan { changed, settings, unchanged: vec!["a".into()], ..Plan::default() },
        );
    }

    #[test]
    fn listeners_come_and_go() {
        let (old, new) = (valid(BASE).config, valid(&BASE.replace("listeners.a", "listeners.c")).config);
        let expected = Plan {
            added: vec!["c".into()],
            removed: vec!["a".into()],
            unchanged: vec!["b".into()],
            ..Plan::default()
        };
        assert_eq!(plan(&old, &new), expected);
        let start = plan(&Config::empty(), &old);
        assert_eq!((start.added.len(), start.restart_required.len()), (2, 0));
    }

    #[test]
    fn settings_outside_of_the_listeners() {
        let check = |text: &str, settings: &[&str], restart: &[&str]| {
            let (old, new) = (valid(BASE).config, valid(&format!("{text}\n{BASE}")).config);
            let mut plan = plan(&old, &new);
            plan.changed.clear();
            assert_eq!(
                (plan.settings, plan.restart_required),
                (strings(settings), strings(restart)),
                "{text}"
            );
        };
        fn strings(words: &[&str]) -> Vec<String> {
            words.iter().map(ToString::to_string).collect()
        }
        check("admin.bind = \"off\"", &["admin.bind"], &[]);
        check("log = { level = \"warn\", format = \"json\" }", &["log.level", "log.format"], &[]);
        check("shutdown.grace = \"1s\"", &["shutdown.grace"], &[]);
        check("runtime.workers = 2", &[], &["runtime.workers"]);
        check("state_dir = \"/tmp/x\"", &[], &["state_dir"]);
        let accounts = "accounts = { quota = \"1MB\", registration = true, durability = \"none\" }";
        check(accounts, &["accounts.quota", "accounts.registration", "accounts.durability"], &[]);
        let places = "accounts = { database = \"a.db\", root = \"/srv/files\" }";
        check(places, &[], &["accounts.database", "accounts.root"]);
    }

    #[test]
    fn what_needs_a_restart_can_be_taken_back() {
        let old = valid(BASE).config;
        let text = "state_dir = \"/tmp/x\"\nruntime.workers = 2\naccounts.root = \"homes\"";
        let mut new = valid(&format!("{text}\n{BASE}")).config;
        new.keep_running(&old);
        assert!(plan(&old, &new).is_empty());
    }
}
