//! What the server says: a code of three digits and a text, on one line or on several (RFC 959, 4.2).

/// A reply. A command has exactly one that is final: what does a command returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    /// The code.
    pub(super) code: u16,
    /// What stands before the last line: the first line, and those in between.
    before: Vec<Vec<u8>>,
    last: Vec<u8>,
}

impl Reply {
    /// On one line.
    pub(super) fn new(code: u16, text: impl Into<Vec<u8>>) -> Self {
        Reply { code, before: Vec::new(), last: text.into() }
    }

    /// On several: the first, those in between, which begin with a space on the wire, and the last.
    pub(super) fn lines(
        code: u16,
        first: &str,
        between: impl IntoIterator<Item = Vec<u8>>,
        last: &str,
    ) -> Self {
        let before = std::iter::once(first.into()).chain(between).collect();
        Reply { code, before, last: last.into() }
    }

    /// As it goes over the wire. A line end in a name would end the reply early, so it is shown as `?`.
    pub(super) fn write(&self, output: &mut Vec<u8>) {
        for (number, line) in self.before.iter().enumerate() {
            match number {
                0 => output.extend_from_slice(format!("{}-", self.code).as_bytes()),
                _ => output.push(b' '),
            }
            push_line(output, line);
        }
        output.extend_from_slice(format!("{} ", self.code).as_bytes());
        push_line(output, &self.last);
    }
}

fn push_line(output: &mut Vec<u8>, line: &[u8]) {
    push_name(output, line);
    output.extend_from_slice(b"\r\n");
}

/// A name, or whatever holds one, without the bytes that would end its line.
pub(super) fn push_name(output: &mut Vec<u8>, name: &[u8]) {
    output.extend(name.iter().map(|byte| if matches!(byte, b'\r' | b'\n' | 0) { b'?' } else { *byte }));
}

/// A name in double quotes, its own ones doubled (RFC 959, appendix II), and a text behind it.
pub(super) fn quoted(name: &[u8], text: &str) -> Vec<u8> {
    let mut line = vec![b'"'];
    for byte in name {
        line.push(*byte);
        if *byte == b'"' {
            line.push(b'"');
        }
    }
    line.push(b'"');
    line.extend_from_slice(text.as_bytes());
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reply: &Reply, expected: &[u8]) {
        let mut output = Vec::new();
        reply.write(&mut output);
        assert_eq!(output, expected);
    }

    #[test]
    fn one_line_or_several() {
        check(&Reply::new(200, "Fine."), b"200 Fine.\r\n");
        let between = [b"SIZE".to_vec(), b"230 x".to_vec()];
        check(
            &Reply::lines(211, "Features:", between, "End"),
            b"211-Features:\r\n SIZE\r\n 230 x\r\n211 End\r\n",
        );
    }

    #[test]
    fn a_name_cannot_end_a_reply_and_its_quotes_are_doubled() {
        check(
            &Reply::new(257, quoted(b"/a\"b\r\n221 x\xff", " made.")),
            b"257 \"/a\"\"b??221 x\xff\" made.\r\n",
        );
    }
}
