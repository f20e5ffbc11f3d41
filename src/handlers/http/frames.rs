//! Where in its frames an HTTP/2 client is (RFC 9113, 4.1). hyper tells of a request when its header block is
//! complete; one that never is, and a frame that stops in the middle, must be seen by the clocks all the same.

/// HEADERS and CONTINUATION, and the flag that ends a header block (RFC 9113, 6.2, 6.10).
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// The length of a frame's head.
const HEAD: usize = 9;

/// Follows the frames that a client sends, behind the preface.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; HEAD],
    /// How much of the head has come.
    has: usize,
    /// How much of the payload is to come.
    left: usize,
    in_header_block: bool,
}

impl Frames {
    /// Takes what has come; says whether something became complete with it.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> bool {
        let mut has_ended = false;
        while !bytes.is_empty() {
            if self.has < HEAD {
                let n = bytes.len().min(HEAD - self.has);
                self.head[self.has..self.has + n].copy_from_slice(&bytes[..n]);
                self.has += n;
                bytes = &bytes[n..];
                if self.has < HEAD {
                    return has_ended;
                }
                self.begin();
            }
            let n = bytes.len().min(self.left);
            self.left -= n;
            bytes = &bytes[n..];
            if self.left == 0 {
                self.has = 0;
                has_ended |= !self.in_header_block;
            }
        }
        has_ended
    }

    fn begin(&mut self) {
        let [a, b, c, kind, flags, ..] = self.head;
        self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        if matches!(kind, HEADERS | CONTINUATION) {
            self.in_header_block = flags & END_HEADERS == 0;
        }
    }

    /// Whether something has begun that is not complete.
    pub(super) fn is_partial(&self) -> bool {
        self.has > 0 || self.in_header_block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], is_partial: bool) {
        let mut whole = Frames::default();
        whole.take(bytes);
        assert_eq!(whole.is_partial(), is_partial, "{bytes:?}");
        let mut cut = Frames::default();
        for byte in bytes.chunks(1) {
            cut.take(byte);
        }
        assert_eq!(cut.is_partial(), is_partial, "{bytes:?}, byte by byte");
    }

    #[test]
    fn a_frame_and_a_header_block_are_partial_until_they_end() {
        check(b"", false);
        check(b"\0\0\0\x04\0\0\0\0\0", false);
        check(b"\0\0\0\x04\0\0\0\0", true);
        check(b"\0\0\x02\x00\0\0\0\0\x01a", true);
        check(b"\0\0\x02\x00\0\0\0\0\x01ab", false);
        check(b"\0\0\x01\x01\0\0\0\0\x01a", true);
        check(b"\0\0\x01\x01\0\0\0\0\x01a\0\0\x01\x09\0\0\0\0\x01b", true);
        check(b"\0\0\x01\x01\0\0\0\0\x01a\0\0\x01\x09\x04\0\0\0\x01b", false);
        check(b"\0\0\x01\x01\x04\0\0\0\x01a\0\0\0\x04\0\0\0\0\0", false);
    }
}
