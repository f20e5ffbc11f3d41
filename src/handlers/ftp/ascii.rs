//! TYPE A: lines end with CR LF on the wire and with LF in files (RFC 959, 3.1.1.1), right across any cut.

/// From a file to the wire: a LF gets its CR, unless it has one.
#[derive(Debug, Default)]
pub(super) struct ToWire {
    after_cr: bool,
}

impl ToWire {
    /// Appends what `input` becomes, at most twice as many bytes.
    pub(super) fn push(&mut self, input: &[u8], output: &mut Vec<u8>) {
        for byte in input {
            if *byte == b'\n' && !self.after_cr {
                output.push(b'\r');
            }
            output.push(*byte);
            self.after_cr = *byte == b'\r';
        }
    }
}

/// From the wire to a file: CR LF becomes LF; any other CR stays.
#[derive(Debug, Default)]
pub(super) struct FromWire {
    /// A CR was the last byte, and is held until it is known what follows.
    held: bool,
}

impl FromWire {
    /// Appends what `input` becomes, at most one byte more.
    pub(super) fn push(&mut self, input: &[u8], output: &mut Vec<u8>) {
        for byte in input {
            if std::mem::take(&mut self.held) && *byte != b'\n' {
                output.push(b'\r');
            }
            if *byte == b'\r' {
                self.held = true;
            } else {
                output.push(*byte);
            }
        }
    }

    /// The data has ended.
    pub(super) fn finish(self, output: &mut Vec<u8>) {
        if self.held {
            output.push(b'\r');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn to_wire(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut codec, mut output) = (ToWire::default(), Vec::new());
        pieces.iter().for_each(|piece| codec.push(piece, &mut output));
        output
    }

    fn from_wire(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut codec, mut output) = (FromWire::default(), Vec::new());
        pieces.iter().for_each(|piece| codec.push(piece, &mut output));
        codec.finish(&mut output);
        output
    }

    #[test]
    fn line_ends_change_and_other_bytes_do_not() {
        assert_eq!(to_wire(&[b"a\nb\r\n\n\rc"]), b"a\r\nb\r\n\r\n\rc");
        assert_eq!(from_wire(&[b"a\r\nb\n\r\r\n\rc\r"]), b"a\nb\n\r\n\rc\r");
    }

    proptest! {
        #[test]
        fn a_cut_changes_nothing(bytes in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'x')], 0..24), cut in 0..24usize) {
            let (first, second) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(to_wire(&[first, second]), to_wire(&[&bytes]));
            prop_assert_eq!(from_wire(&[first, second]), from_wire(&[&bytes]));
        }

        #[test]
        fn text_comes_back_as_it_was(text in "[a-z\n]{0,40}") {
            prop_assert_eq!(from_wire(&[&to_wire(&[text.as_bytes()])]), text.as_bytes());
        }
    }
}
