//! HASH: digests of files, in pieces on the pool for what blocks, so that a long one keeps nobody waiting.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};

use md5::Md5;
use sha1::Sha1;
use sha2::Sha256;
use sha2::digest::DynDigest;

use crate::storage::Home;

/// How much of a file is done before others have their turn.
const PIECE: u64 = 16 * 1024 * 1024;

/// How much is read at once.
const BUFFER: usize = 256 * 1024;

/// What is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Sha256,
    Sha1,
    Md5,
    Crc32,
}

impl Algorithm {
    pub(super) const ALL: [Algorithm; 4] =
        [Algorithm::Sha256, Algorithm::Sha1, Algorithm::Md5, Algorithm::Crc32];

    /// As the registry of hash names has it (IANA, FTP Commands and Extensions).
    pub(super) fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Sha1 => "SHA-1",
            Algorithm::Md5 => "MD5",
            Algorithm::Crc32 => "CRC32",
        }
    }

    pub(super) fn of(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| name.eq_ignore_ascii_case(algorithm.name().as_bytes()))
    }
}

enum State {
    Digest(Box<dyn DynDigest + Send>),
    Crc(crc32fast::Hasher),
}

impl State {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => State::Digest(Box::new(Sha256::default())),
            Algorithm::Sha1 => State::Digest(Box::new(Sha1::default())),
            Algorithm::Md5 => State::Digest(Box::new(Md5::default())),
            Algorithm::Crc32 => State::Crc(crc32fast::Hasher::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            State::Digest(digest) => digest.update(bytes),
            State::Crc(crc) => crc.update(bytes),
        }
    }

    /// In lower-case hexadecimal.
    fn finish(self) -> String {
        let bytes = match self {
            State::Digest(digest) => digest.finalize(),
            State::Crc(crc) => crc.finalize().to_be_bytes().into(),
        };
        bytes.iter().fold(String::new(), |mut hex, byte| {
            // Writing into a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

/// The digest of the next so many bytes of a file; fewer if it ends before.
pub(super) async fn of(
    home: &Home,
    mut file: File,
    mut left: u64,
    algorithm: Algorithm,
) -> io::Result<String> {
    let mut state = State::new(algorithm);
    while left > 0 {
        let piece = left.min(PIECE);
        let work = move || {
            let result = digest_piece(&mut file, piece, &mut state);
            (file, state, result)
        };
        let result;
        (file, state, result) = home.block(work).await;
        match result? {
            0 => break,
            n => left -= n,
        }
    }
    Ok(state.finish())
}

fn digest_piece(file: &mut File, piece: u64, state: &mut State) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER];
    let mut rest = file.take(piece);
    let mut seen = 0;
    loop {
        match rest.read(&mut buffer) {
            Ok(0) => return Ok(seen),
            Ok(n) => {
                state.update(&buffer[..n]);
                seen += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_algorithm_has_its_known_digest_of_abc() {
        let expected = [
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "a9993e364706816aba3e25717850c26c9cd0d89d",
            "900150983cd24fb0d6963f7d28e17f72",
            "352441c2",
        ];
        for (algorithm, expected) in Algorithm::ALL.into_iter().zip(expected) {
            let mut state = State::new(algorithm);
            state.update(b"a");
            state.update(b"bc");
            assert_eq!(state.finish(), expected, "{}", algorithm.name());
            assert_eq!(Algorithm::of(algorithm.name().to_lowercase().as_bytes()), Some(algorithm));
        }
    }
}
