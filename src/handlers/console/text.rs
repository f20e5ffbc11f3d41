//! What clients say, as text.

/// Bytes become text although characters are cut between two reads.
#[derive(Debug, Default)]
pub(super) struct Text {
    /// The beginning of a character.
    cut: Vec<u8>,
}

impl Text {
    pub(super) fn take(&mut self, bytes: &[u8]) -> String {
        self.cut.extend_from_slice(bytes);
        let all = std::mem::take(&mut self.cut);
        let whole = all.len() - cut_off(&all);
        self.cut = all[whole..].to_vec();
        String::from_utf8_lossy(&all[..whole]).into_owned()
    }

    pub(super) fn rest(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.cut)).into_owned()
    }
}

/// How many of the last bytes begin a character that is not complete.
fn cut_off(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let length = match bytes[bytes.len() - back] {
            0b1100_0000..=0b1101_1111 => 2,
            0b1110_0000..=0b1110_1111 => 3,
            0b1111_0000..=0b1111_0111 => 4,
            0b1000_0000..=0b1011_1111 => continue,
            _ => 1,
        };
        return if length > back { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_may_be_cut_anywhere() {
        let all = "aé€😀z";
        for cut in 0..=all.len() {
            let mut text = Text::default();
            let (first, second) = all.as_bytes().split_at(cut);
            assert_eq!(text.take(first) + &text.take(second) + &text.rest(), all, "cut at {cut}");
        }
        let mut text = Text::default();
        assert_eq!(text.take(b"\xff\x80\xe2\x82") + &text.rest(), "\u{fffd}\u{fffd}\u{fffd}");
        let mut text = Text::default();
        assert_eq!(text.take(b"\x80\x80\x80\x80"), "\u{fffd}".repeat(4));
    }
}
