//! Collects findings while a text is looked at, and turns byte positions into lines and columns.

use std::ops::Range;

use super::diagnostic::{Diagnostic, Severity};
use super::text::BadValue;
use super::tree::{Node, Pointer};

/// The findings of one text so far.
pub(super) struct Report<'a> {
    text: &'a str,
    file: Option<String>,
    /// Where each line starts, in bytes.
    lines: Vec<usize>,
    findings: Vec<Diagnostic>,
}

impl<'a> Report<'a> {
    pub(super) fn new(text: &'a str, file: Option<String>) -> Self {
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Report { text, file, lines: std::iter::once(0).chain(starts).collect(), findings: Vec::new() }
    }

    /// A finding at a range of bytes.
    pub(super) fn add(&mut self, severity: Severity, span: Range<usize>, at: &Pointer, what: BadValue) {
        let (line, column, length) = self.place(span);
        let finding = Diagnostic {
            severity,
            file: self.file.clone(),
            pointer: at.as_str().into(),
            line,
            column,
            length,
            message: what.message,
            help: what.help,
        };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// An error at a range of bytes.
    pub(super) fn error(&mut self, span: Range<usize>, at: &Pointer, what: BadValue) {
        self.add(Severity::Error, span, at, what);
    }

    /// A finding at the value that the pointer names, or at the key of the nearest table that holds it.
    pub(super) fn at_value(&mut self, severity: Severity, root: &Node, at: &Pointer, what: BadValue) {
        let (node, exact) = root.nearest(at);
        let span = if exact { node.span.clone() } else { node.key() };
        self.add(severity, span, at, what);
    }

    /// A finding at the key that the pointer names, or at that of the nearest table that holds it.
    pub(super) fn at_key(&mut self, severity: Severity, root: &Node, at: &Pointer, what: BadValue) {
        let (node, _) = root.nearest(at);
        self.add(severity, node.key(), at, what);
    }

    /// Whether an error was found.
    pub(super) fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// The line of a byte, from 1.
    pub(super) fn line(&self, byte: usize) -> usize {
        self.lines.partition_point(|start| *start <= byte)
    }

    /// All findings, sorted by position.
    pub(super) fn finish(mut self) -> Vec<Diagnostic> {
        self.findings.sort_by(|a, b| {
            let place = |d: &Diagnostic| (d.line, d.column, d.severity);
            place(a).cmp(&place(b)).then_with(|| a.message.cmp(&b.message))
        });
        self.findings
    }

    /// Line, column and length in characters; what goes on in a further line is not counted.
    fn place(&self, span: Range<usize>) -> (usize, usize, usize) {
        let start = span.start.min(self.text.len());
        let line = self.line(start);
        let before = self.text.get(self.lines[line - 1]..start).unwrap_or_default();
        let marked = self.text.get(start..span.end.min(self.text.len())).unwrap_or_default();
        let marked = marked.lines().next().unwrap_or_default();
        let column = before.trim_start_matches('\u{feff}').chars().count() + 1;
        (line, column, marked.chars().count().max(1))
    }
}
