//! The text as a tree in which every key and value knows its place.
//!
//! TOML's own spanned table is kept in the order of the file but borrows from the text; this one is
//! owned, so that `${…}` can be replaced in it, and addresses its nodes by JSON Pointer.

use std::fmt;
use std::ops::Range;

use toml::de::{DeTable, DeValue};
use toml::map::Map;

/// A value with its place.
#[derive(Debug)]
pub(super) struct Node {
    /// Where the value stands; for a table with a header of its own, its name in the header.
    pub(super) span: Range<usize>,
    /// Where the key stands; none for the root and the elements of arrays.
    pub(super) key_span: Option<Range<usize>>,
    /// The value.
    pub(super) value: Tree,
}

/// A TOML value.
#[derive(Debug)]
pub(super) enum Tree {
    /// A string. `whole` says that it was exactly one `${…}`, so that it may stand for another type.
    String { text: String, whole: bool },
    /// An integer; none if it has more than 64 bits.
    Integer(Option<i64>),
    /// A float.
    Float(f64),
    /// A boolean.
    Boolean(bool),
    /// A date or time.
    Datetime,
    /// An array.
    Array(Vec<Node>),
    /// A table, in the order of the file.
    Table(Map<String, Node>),
    /// A value in which something was found already: nothing more is said about it.
    Broken,
}

/// A JSON Pointer (RFC 6901).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Pointer(String);

impl Node {
    /// The tree of a parsed text.
    pub(super) fn root(table: &toml::Spanned<DeTable<'_>>, text: &str) -> Node {
        Node { span: 0..0, key_span: None, value: tree_of_table(table.get_ref(), text) }
    }

    /// The tree of a value that stands alone, which a replaced `${…}` gave; every node has the place given.
    pub(super) fn alone(value: &DeValue<'_>, span: Range<usize>) -> Tree {
        match value {
            DeValue::Array(items) => {
                let node = |item: &toml::Spanned<DeValue<'_>>| Node {
                    span: span.clone(),
                    key_span: None,
                    value: Node::alone(item.get_ref(), span.clone()),
                };
                Tree::Array(items.iter().map(node).collect())
            }
            DeValue::Table(_) => Tree::Broken,
            scalar => tree_of(scalar, ""),
        }
    }

    /// The entries, if it is a table.
    pub(super) fn table(&self) -> Option<&Map<String, Node>> {
        match &self.value {
            Tree::Table(entries) => Some(entries),
            _ => None,
        }
    }

    /// The entry of that key, if it is a table that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.table()?.get(key)
    }

    /// The node at the pointer, or the last one on the way that exists.
    pub(super) fn nearest(&self, pointer: &Pointer) -> (&Node, bool) {
        let mut node = self;
        for token in pointer.tokens() {
            let next = match &node.value {
                Tree::Table(entries) => entries.get(token.as_str()),
                Tree::Array(items) => token.parse::<usize>().ok().and_then(|i| items.get(i)),
                _ => None,
            };
            match next {
                Some(next) => node = next,
                None => return (node, false),
            }
        }
        (node, true)
    }

    /// Where the key stands, or the value if it has none.
    pub(super) fn key(&self) -> Range<usize> {
        self.key_span.clone().unwrap_or_else(|| self.span.clone())
    }
}

fn tree_of_table(table: &DeTable<'_>, text: &str) -> Tree {
    let mut entries = Map::with_capacity(table.len());
    for (key, value) in table {
        let inline = |open: &str| text.get(value.span()).is_some_and(|at| at.starts_with(open));
        let span = match value.get_ref() {
            DeValue::Table(_) if !inline("{") => key.span(),
            DeValue::Array(_) if inline("[[") || !inline("[") => key.span(),
            _ => value.span(),
        };
        let node = Node { span, key_span: Some(key.span()), value: tree_of(value.get_ref(), text) };
        entries.insert(key.get_ref().to_string(), node);
    }
    Tree::Table(entries)
}

fn tree_of(value: &DeValue<'_>, text: &str) -> Tree {
    match value {
        DeValue::String(string) => Tree::String { text: string.to_string(), whole: false },
        DeValue::Integer(integer) => {
            Tree::Integer(i64::from_str_radix(integer.as_str(), integer.radix()).ok())
        }
        DeValue::Float(float) => Tree::Float(float.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(boolean) => Tree::Boolean(*boolean),
        DeValue::Datetime(_) => Tree::Datetime,
        DeValue::Array(items) => Tree::Array(
            items
                .iter()
                .map(|item| Node { span: item.span(), key_span: None, value: tree_of(item.get_ref(), text) })
                .collect(),
        ),
        DeValue::Table(table) => tree_of_table(table, text),
    }
}

impl Tree {
    /// What it is, with its article, for "expected …, found …".
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Tree::String { .. } => "a string",
            Tree::Integer(_) => "an integer",
            Tree::Float(_) => "a float",
            Tree::Boolean(_) => "a boolean",
            Tree::Datetime => "a date or time",
            Tree::Array(_) => "an array",
            Tree::Table(_) => "a table",
            Tree::Broken => "something else",
        }
    }
}

impl Pointer {
    /// The root.
    pub(super) const fn root() -> Self {
        Pointer(String::new())
    }

    /// One level down.
    pub(super) fn child(&self, token: impl fmt::Display) -> Self {
        let token = token.to_string().replace('~', "~0").replace('/', "~1");
        Pointer(format!("{}/{token}", self.0))
    }

    /// Several levels down.
    pub(super) fn path<T: fmt::Display>(&self, tokens: impl IntoIterator<Item = T>) -> Self {
        tokens.into_iter().fold(self.clone(), |at, token| at.child(token))
    }

    /// As written in RFC 6901.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    fn tokens(&self) -> impl Iterator<Item = String> {
        self.0.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~"))
    }
}
