//! Replaces `${VAR}`, `${VAR:-default}`, `${VAR:?message}` and `${file:PATH}` in string values.
//!
//! This happens once, after the text has been parsed: what is put in is not looked at again, and keys
//! are left alone. `$${` is a literal `${`.

use std::cell::RefCell;
use std::path::Path;

use super::ReadFile;
use super::report::Report;
use super::text::BadValue;
use super::tree::{Node, Pointer, Tree};

/// The largest file that `${file:…}` reads.
const LARGEST_FILE: u64 = 1 << 20;

/// Where values come from.
pub(super) struct Sources<'a> {
    /// Looks a variable of the environment up.
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    /// What relative paths of files are relative to.
    pub(super) folder: &'a Path,
    /// The files that were read.
    pub(super) files: RefCell<Vec<ReadFile>>,
}

impl Sources<'_> {
    /// Replaces in every string of the tree; one that cannot be replaced is reported and broken.
    pub(super) fn apply(&self, node: &mut Node, at: &Pointer, report: &mut Report<'_>) {
        match &mut node.value {
            Tree::String { text, whole } if text.contains("${") => match self.expand(text) {
                Ok((replaced, all)) => {
                    *text = replaced;
                    *whole = all;
                }
                Err(error) => {
                    report.error(node.span.clone(), at, error);
                    node.value = Tree::Broken;
                }
            },
            Tree::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.apply(item, &at.child(index), report);
                }
            }
            Tree::Table(entries) => {
                for (key, entry) in entries.iter_mut() {
                    self.apply(entry, &at.child(key), report);
                }
            }
            _ => {}
        }
    }

    /// The text with everything replaced, and whether it was exactly one `${…}`.
    fn expand(&self, text: &str) -> Result<(String, bool), BadValue> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        let mut whole = false;
        while let Some(start) = rest.find("${") {
            let (before, from) = rest.split_at(start);
            if let Some(kept) = before.strip_suffix('$') {
                out.push_str(kept);
                out.push_str("${");
                rest = &from[2..];
                continue;
            }
            let Some(end) = from.find('}') else {
                return Err(BadValue::new("a `${` is not closed")
                    .help("write `${NAME}`, or `$${` for the two characters themselves"));
            };
            out.push_str(before);
            out.push_str(&self.value(&from[2..end])?);
            whole = start == 0 && end + 1 == from.len() && rest.len() == text.len();
            rest = &from[end + 1..];
        }
        out.push_str(rest);
        Ok((out, whole))
    }

    /// The value of what stands between `${` and `}`.
    fn value(&self, inside: &str) -> Result<String, BadValue> {
        if inside.contains("${") {
            return Err(BadValue::new("`${…}` cannot stand inside another one"));
        }
        if let Some(path) = inside.strip_prefix("file:") {
            return self.read(Path::new(path));
        }
        let (name, rest) = match inside.find(':') {
            Some(at) => inside.split_at(at),
            None => (inside, ""),
        };
        let letters = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !letters || name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(BadValue::new(format!("`{}` is not the name of a variable", name.escape_debug()))
                .help("a name has letters, digits and `_`, and does not start with a digit"));
        }
        let found = (self.env)(name);
        if rest.is_empty() {
            return found.ok_or_else(|| {
                BadValue::new(format!("the environment variable `{name}` is not set"))
                    .help(format!("set it, or give a default: `${{{name}:-default}}`"))
            });
        }
        // As in a shell, an empty variable is as good as none where there is a default or message.
        let found = found.filter(|value| !value.is_empty());
        if let Some(default) = rest.strip_prefix(":-") {
            return Ok(found.unwrap_or_else(|| default.into()));
        }
        if let Some(message) = rest.strip_prefix(":?") {
            let message = if message.is_empty() { "is not set" } else { message };
            return found
                .ok_or_else(|| BadValue::new(format!("the environment variable `{name}`: {message}")));
        }
        Err(BadValue::new(format!("`{}` is not understood after `{name}`", rest.escape_debug()))
            .help(format!("write `${{{name}:-default}}` or `${{{name}:?message}}`")))
    }

    /// The text of a file without its last line break.
    pub(super) fn read(&self, path: &Path) -> Result<String, BadValue> {
        let path = self.folder.join(path);
        let shown = path.display();
        let unreadable =
            |error: std::io::Error| BadValue::new(format!("the file `{shown}` cannot be read: {error}"));
        let facts = std::fs::metadata(&path).map_err(unreadable)?;
        if facts.is_dir() {
            return Err(BadValue::new(format!("`{shown}` is a folder: expected a file")));
        }
        if facts.len() > LARGEST_FILE {
            return Err(BadValue::new(format!("the file `{shown}` is larger than 1MiB")));
        }
        let mut text = std::fs::read_to_string(&path).map_err(unreadable)?;
        self.files.borrow_mut().push(ReadFile::new(path.clone(), text.as_bytes()));
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources() -> Sources<'static> {
        Sources {
            env: &|name| match name {
                "HOST" => Some("gateway".into()),
                "EMPTY" => Some(String::new()),
                "DOLLAR" => Some("${HOST}".into()),
                _ => None,
            },
            files: RefCell::default(),
            folder: Path::new("/nonexistent"),
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &str, whole: bool) {
        let got = sources().expand(text).map_err(|error| error.to_string());
        assert_eq!(got, Ok((expected.to_owned(), whole)), "{text}");
    }

    #[test]
    fn variables_are_replaced_once() {
        check("${HOST}", "gateway", true);
        check("a ${HOST} b", "a gateway b", false);
        check("${HOST}${HOST}", "gatewaygateway", false);
        check("${NONE:-x y}", "x y", true);
        check("${EMPTY:-x}", "x", true);
        check("${EMPTY}", "", true);
        check("${NONE:-}", "", true);
        check("$${HOST}", "${HOST}", false);
        check("$${A} ${HOST} $$", "${A} gateway $$", false);
        check("${DOLLAR}", "${HOST}", true);
        check("${HOST:?must be set}", "gateway", true);
    }

    #[test]
    fn what_cannot_be_replaced_says_why() {
        let fails = |text: &str, part: &str| {
            let error = sources().expand(text).expect_err(text).message;
            assert!(error.contains(part), "{text}: {error}");
        };
        fails("${NONE}", "`NONE` is not set");
        fails("${NONE:?name the host}", "`NONE`: name the host");
        fails("${EMPTY:?name the host}", "name the host");
        fails("${HOST", "not closed");
        fails("${}", "not the name");
        fails("${1A}", "not the name");
        fails("${A B}", "not the name");
        fails("${HOST:+x}", "not understood");
        fails("${NONE:-${HOST}}", "inside another");
        fails("${file:none.txt}", "cannot be read");
    }

    #[test]
    fn files_are_read_relative_to_the_folder_without_their_last_line_end() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), "a\nb\r\n").unwrap();
        let sources = Sources { env: &|_| None, folder: folder.path(), files: RefCell::default() };
        assert_eq!(sources.expand("<${file:secret}>").unwrap(), ("<a\nb>".into(), false));
    }
}
