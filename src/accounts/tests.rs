//! Tests of accounts: who is let in, and what becomes of the files.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::config::{Durability, Size};

struct Fixture {
    accounts: Accounts,
    settings: config::Accounts,
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = config::Accounts {
            database: folder.path().join("accounts.db"),
            root: folder.path().join("files"),
            quota: Size::kib(1),
            registration: true,
            durability: Durability::None,
        };
        Fixture { accounts: Accounts::open(&settings).unwrap(), settings, folder }
    }

    fn files(&self, name: &str) -> PathBuf {
        self.folder.path().join("files").join(name)
    }

    async fn login(&self, name: &str, password: &str) -> Result<Login, LoginError> {
        self.accounts.login(name, password, &Peer::Unnamed).await
    }
}

#[tokio::test]
async fn only_name_and_password_together_let_in() {
    let fixture = Fixture::new();
    fixture.accounts.register("ann", "sesame").await.unwrap();
    assert!(matches!(fixture.accounts.register("ann", "x").await, Err(AccountError::Exists)));
    assert!(matches!(fixture.accounts.register("", "x").await, Err(AccountError::Name)));
    assert!(matches!(fixture.accounts.register("bob", "").await, Err(AccountError::Password)));
    let changes = Changes { quota: Some(Some(1 << 63)), ..Changes::default() };
    let refused = fixture.accounts.create("bob", "secret", &changes).await;
    assert!(matches!(refused, Err(AccountError::TooLarge)));
    assert_eq!(&*fixture.login("ann", "sesame").await.unwrap().name, "ann");
    assert!(fixture.accounts.find("ann").await.unwrap().last_login_at.is_some());
    assert!(matches!(fixture.login("ann", "x").await, Err(LoginError::WrongPassword)));
    for name in ["eve", "", "../ann", "ANN"] {
        assert!(matches!(fixture.login(name, "sesame").await, Err(LoginError::UnknownName)), "{name}");
    }
    let disabled = Changes { disabled: Some(true), ..Changes::default() };
    fixture.accounts.change("ann", disabled).await.unwrap();
    assert!(matches!(fixture.login("ann", "sesame").await, Err(LoginError::Disabled)));
    // Whether an account is disabled is for those to know who have its password.
    assert!(matches!(fixture.login("ann", "x").await, Err(LoginError::WrongPassword)));
}

#[tokio::test]
async fn a_reload_changes_the_quota_of_those_who_have_none_of_their_own() {
    let mut fixture = Fixture::new();
    fixture.accounts.register("ann", "p").await.unwrap();
    let own = Changes { quota: Some(Some(7)), ..Changes::default() };
    fixture.accounts.create("bob", "p", &own).await.unwrap();
    let (ann, bob) = (fixture.login("ann", "p").await.unwrap(), fixture.login("bob", "p").await.unwrap());
    assert_eq!((ann.home.usage().quota(), bob.home.usage().quota()), (1024, 7));
    (fixture.settings.quota, fixture.settings.registration) = (Size::kib(2), false);
    fixture.accounts.configure(&fixture.settings);
    assert_eq!((ann.home.usage().quota(), bob.home.usage().quota()), (2048, 7));
    assert!(matches!(fixture.accounts.register("eve", "p").await, Err(AccountError::RegistrationOff)));
    let none = Changes { quota: Some(None), ..Changes::default() };
    fixture.accounts.change("bob", none).await.unwrap();
    assert_eq!(bob.home.usage().quota(), 2048);
    assert_eq!(fixture.login("bob", "p").await.unwrap().home.usage().quota(), 2048);
}

#[tokio::test]
async fn whoever_gets_the_name_of_a_removed_account_does_not_get_its_files() {
    let fixture = Fixture::new();
    fixture.accounts.register("ann", "p").await.unwrap();
    let ann = fixture.login("ann", "p").await.unwrap();
    fs::write(fixture.files("ann/letter"), "dear").unwrap();
    fixture.accounts.remove("ann").await.unwrap();
    assert!(ann.home.find(&crate::storage::HomePath::ROOT).await.is_err(), "she is still in");
    assert!(matches!(fixture.accounts.remove("ann").await, Err(AccountError::NotFound)));
    fixture.accounts.register("ann", "q").await.unwrap();
    assert_eq!(fs::read_dir(fixture.files("ann")).unwrap().count(), 0);
    let aside = fs::read_dir(fixture.files(".removed")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(fs::read_to_string(aside.join("letter")).unwrap(), "dear");
}

#[tokio::test]
async fn every_login_of_an_account_is_counted_together() {
    let fixture = Fixture::new();
    fixture.accounts.register("ann", "p").await.unwrap();
    fs::write(fixture.files("ann/a"), "12345").unwrap();
    let (one, two) = (fixture.login("ann", "p").await.unwrap(), fixture.login("ann", "p").await.unwrap());
    one.home.counted().await.unwrap();
    assert_eq!(two.home.usage().used(), 5);
    two.home.remove(&crate::storage::HomePath::file("a").unwrap()).await.unwrap();
    assert_eq!(one.home.usage().used(), 0);
    assert_eq!(fixture.accounts.list("", 9).await.unwrap().len(), 1);
    assert_eq!(fixture.accounts.count().await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn failures_make_the_next_attempts_wait_and_success_does_not() {
    let fixture = Fixture::new();
    fixture.accounts.register("ann", "p").await.unwrap();
    let started = tokio::time::Instant::now();
    let mut waits = Vec::new();
    for password in ["x"; 8].into_iter().chain(["p", "p"]) {
        let before = tokio::time::Instant::now();
        let _ = fixture.login("ann", password).await;
        waits.push(before.elapsed().as_millis());
    }
    // The clock of the test stands still but for sleeps: what is left of a penalty then is waited for.
    assert!(waits[..4].iter().all(|wait| *wait == 0), "{waits:?}");
    assert!(waits[8] > 0, "{waits:?}");
    assert_eq!(waits[9], 0, "{waits:?}");
    assert!(started.elapsed().as_secs() < 20, "{waits:?}");
}
