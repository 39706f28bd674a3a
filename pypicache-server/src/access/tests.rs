use std::time::Duration;

use hyper::header::HeaderValue;
use jiff::Timestamp;
use pypicache_core::Clock;
use pypicache_core::model::{NamePattern, ProjectName};
use tokens::NewToken;

use super::*;

fn new(name: &str, role: Role) -> NewToken {
    NewToken {
        name: name.to_owned(),
        scopes: role.scopes(),
        projects: Vec::new(),
        sources: Vec::new(),
        expires: None,
    }
}

fn with(authorization: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, HeaderValue::from_str(authorization).unwrap());
    headers
}

fn basic(user: &str, password: &str) -> HeaderMap {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    with(&format!("Basic {pair}"))
}

const FROM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

#[tokio::test]
async fn tokens_are_taken_in_every_way_that_clients_have() {
    let directory = tempfile::tempdir().unwrap();
    let file = || TokenFile::new(directory.path(), Clock::system());
    let (_, secret) = file().create(new("ci", Role::Developer)).unwrap();
    let (access, secret) = (Access::with_tokens(file()), secret.expose_secret().to_owned());
    let name = async |headers: &HeaderMap| {
        access
            .caller(headers, FROM)
            .await
            .unwrap()
            .name()
            .map(str::to_owned)
    };
    for headers in [
        basic("__token__", &secret),
        basic("ann", &secret),
        basic("", &secret),
        with(&format!("Bearer {secret}")),
        with(&format!("bearer {secret}")),
    ] {
        assert_eq!(name(&headers).await.as_deref(), Some("ci"));
    }
    assert_eq!(name(&HeaderMap::new()).await, None);
    let stored = std::fs::read_to_string(directory.path().join("v1/tokens.json")).unwrap();
    assert!(
        !stored.contains(secret.rsplit('-').next().unwrap()),
        "the secret is not written down"
    );
}

#[tokio::test]
async fn what_is_nearly_a_token_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let (_, secret) = TokenFile::new(directory.path(), Clock::system())
        .create(new("ci", Role::Admin))
        .unwrap();
    let secret = secret.expose_secret().to_owned();
    let wrong = [
        secret[..secret.len() - 1].to_owned(),
        format!("{secret}0"),
        format!("{secret}-"),
        secret.to_uppercase(),
        secret.replacen(char::is_numeric, "", 1),
        "pypicache".to_owned(),
        "pypicache--".to_owned(),
        String::new(),
        "é".repeat(3000),
    ];
    for text in wrong {
        let access = Access::with_tokens(TokenFile::new(directory.path(), Clock::system()));
        assert!(
            matches!(
                access.caller(&basic("u", &text), FROM).await,
                Err(Refusal::Unknown(_))
            ),
            "{text}"
        );
    }
    for text in ["Basic", "Basic !!!", "Basic dQ==", "Digest x", "Bearer"] {
        let access = Access::with_tokens(TokenFile::new(directory.path(), Clock::system()));
        assert!(access.caller(&with(text), FROM).await.is_err(), "{text}");
    }
}

#[tokio::test]
async fn revoked_and_expired_tokens_are_noticed_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::manual();
    let file = || TokenFile::new(directory.path(), clock.clone());
    let in_an_hour = Timestamp::try_from(clock.now() + Duration::from_secs(3600)).unwrap();
    let short = NewToken {
        expires: Some(in_an_hour),
        ..new("short", Role::Admin)
    };
    let (short, long) = (
        file().create(short).unwrap().1,
        file().create(new("long", Role::Admin)).unwrap().1,
    );
    let access = Access::with_tokens(file());
    let works = async |secret: &SecretString| {
        access
            .caller(&basic("u", secret.expose_secret()), FROM)
            .await
            .is_ok()
    };
    assert!(works(&short).await && works(&long).await);
    clock.advance(Duration::from_secs(3600));
    assert!(!works(&short).await && works(&long).await);
    assert_eq!(file().revoke("long").unwrap().len(), 1);
    assert!(!works(&long).await);
    assert_eq!(file().list().unwrap().len(), 1);
}

#[tokio::test]
async fn grants_are_for_what_they_name() {
    let directory = tempfile::tempdir().unwrap();
    let file = || TokenFile::new(directory.path(), Clock::system());
    let limited = NewToken {
        projects: vec![NamePattern::parse("acme-*").unwrap()],
        sources: vec!["private".to_owned()],
        ..new("ci", Role::Developer)
    };
    let (_, secret) = file().create(limited).unwrap();
    let caller = Access::with_tokens(file())
        .caller(&basic("u", secret.expose_secret()), FROM)
        .await
        .unwrap();
    assert!(caller.has(Scope::Upload).is_ok() && caller.has(Scope::Manage).is_err());
    let Caller::Known(grant) = caller else {
        panic!("it is known")
    };
    let project = |name| ProjectName::parse(name).unwrap();
    assert!(
        grant.covers_project(&project("acme-x")).is_ok() && grant.covers_project(&project("acmex")).is_err()
    );
    assert!(grant.covers_source("private").is_ok() && grant.covers_source("other").is_err());
}

#[tokio::test(start_paused = true)]
async fn guessing_is_slowed_and_right_tokens_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let file = || TokenFile::new(directory.path(), Clock::system());
    let (_, secret) = file().create(new("ci", Role::Admin)).unwrap();
    let access = Access::with_tokens(file());
    let guess = async || {
        access
            .caller(&basic("u", "pypicache-00000000-11"), FROM)
            .await
            .unwrap_err()
    };
    for _ in 0..10 {
        assert!(matches!(guess().await, Refusal::Unknown(_)));
    }
    assert!(matches!(guess().await, Refusal::TooOften(_)));
    assert!(
        access
            .caller(&basic("u", secret.expose_secret()), FROM)
            .await
            .is_ok()
    );
}

/// Cheap hashes of `s3cret` and `other`.
fn users(directory: &std::path::Path) -> std::path::PathBuf {
    let path = directory.join("htpasswd");
    let line = |user: &str, password: &str| format!("{user}:{}\n", bcrypt::hash(password, 4).unwrap());
    let text = format!(
        "# users\n{}{}eve:$apr1$x$y\n",
        line("ann", "s3cret"),
        line("bob", "other")
    );
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn users_have_passwords_and_one_role() {
    let directory = tempfile::tempdir().unwrap();
    let path = users(directory.path());
    let access = Access::default().with_users(Htpasswd::new(&path, Role::Developer));
    let name = async |user: &str, password: &str| {
        access
            .caller(&basic(user, password), FROM)
            .await
            .ok()
            .and_then(|caller| caller.name().map(str::to_owned))
    };
    // Twice: worked out, and remembered.
    for _ in 0..2 {
        assert_eq!(name("ann", "s3cret").await.as_deref(), Some("ann"));
    }
    for (user, password) in [
        ("ann", "other"),
        ("bob", "s3cret"),
        ("nobody", "s3cret"),
        ("eve", ""),
        ("", "s3cret"),
        ("ann", ""),
    ] {
        assert_eq!(name(user, password).await, None, "{user}");
    }
    let caller = access.caller(&basic("ann", "s3cret"), FROM).await.unwrap();
    assert!(caller.has(Scope::Upload).is_ok() && caller.has(Scope::Manage).is_err());
    // A changed password counts at once.
    let later = std::time::SystemTime::now() + Duration::from_secs(5);
    std::fs::write(&path, format!("ann:{}\n", bcrypt::hash("new", 4).unwrap())).unwrap();
    std::fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(later)
        .unwrap();
    assert_eq!(name("ann", "s3cret").await, None);
    assert_eq!(name("ann", "new").await.as_deref(), Some("ann"));
}

#[tokio::test(start_paused = true)]
async fn passwords_are_not_even_looked_at_after_too_many_wrong_ones() {
    let directory = tempfile::tempdir().unwrap();
    let access = Access::default().with_users(Htpasswd::new(&users(directory.path()), Role::Installer));
    for _ in 0..10 {
        assert!(matches!(
            access.caller(&basic("ann", "guess"), FROM).await,
            Err(Refusal::Unknown(_))
        ));
    }
    assert!(
        matches!(
            access.caller(&basic("ann", "s3cret"), FROM).await,
            Err(Refusal::TooOften(_))
        ),
        "the right one comes too late"
    );
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(access.caller(&basic("ann", "s3cret"), FROM).await.is_ok());
}

#[test]
fn the_password_that_nobody_has_takes_as_long_as_any() {
    assert!(!bcrypt::verify("x", super::htpasswd::NOBODY).unwrap());
}
