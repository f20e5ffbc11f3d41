//! Passwords: argon2id (RFC 9106), at a fixed cost, so many at once and no more.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, Version};
use password_hash::{PasswordHasher, PasswordVerifier};

use crate::storage::Pool;

/// Memory in KiB and passes: what OWASP's password storage cheat sheet gives as the minimum for argon2id.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;

/// The most that a stored hash may cost, whoever wrote it into the database.
const MOST_MEMORY_KIB: u32 = 64 * 1024;
const MOST_PASSES: u32 = 8;

/// The most that are hashed at once: each takes 19 MiB and a core for some ten milliseconds.
const AT_ONCE: usize = 4;

/// Hashes and verifies passwords.
#[derive(Debug, Clone)]
pub(super) struct Passwords {
    pool: Pool,
    /// The hash of no password: what is verified where there is no account, so that it takes as long.
    dummy: String,
}

impl Passwords {
    /// Makes the dummy, so it takes as long as hashing a password.
    pub(super) fn new() -> Result<Self, String> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let nobody: String = std::iter::repeat_with(fastrand::alphanumeric).take(32).collect();
        Ok(Passwords { pool: Pool::new(cores.min(AT_ONCE)), dummy: hash(&nobody)? })
    }

    /// The hash to keep, as a PHC string with its own salt.
    pub(super) async fn hash(&self, password: String) -> Result<String, String> {
        self.pool.run(move || hash(&password)).await
    }

    /// Whether it is the password of that hash. Without a hash it never is, and takes as long.
    pub(super) async fn verify(&self, password: String, hash: Option<String>) -> bool {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.dummy.clone());
        self.pool.run(move || verify(&password, &hash)).await && known
    }
}

fn hasher() -> Result<Argon2<'static>, String> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).map_err(|error| error.to_string())?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn hash(password: &str) -> Result<String, String> {
    let hash = hasher()?.hash_password(password.as_bytes()).map_err(|error| error.to_string())?;
    Ok(hash.to_string())
}

fn verify(password: &str, hash: &str) -> bool {
    let Ok(parsed) = PasswordHash::new(hash) else { return false };
    // The hash says what it costs; a database from elsewhere may say too much.
    let affordable = Params::try_from(&parsed)
        .is_ok_and(|params| params.m_cost() <= MOST_MEMORY_KIB && params.t_cost() <= MOST_PASSES);
    affordable && Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_itself_passes() {
        let passwords = Passwords::new().unwrap();
        let hash = passwords.hash("sesame".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(passwords.verify("sesame".into(), Some(hash.clone())).await);
        assert!(!passwords.verify("Sesame".into(), Some(hash.clone())).await);
        assert!(!passwords.verify("sesame".into(), None).await);
        assert!(!passwords.verify("sesame".into(), Some("no hash".into())).await);
        let dear = hash.replace("m=19456", "m=1048576");
        assert!(!passwords.verify("sesame".into(), Some(dear)).await);
    }
}
