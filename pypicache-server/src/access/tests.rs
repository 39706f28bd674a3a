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
    let name = |headers: &HeaderMap| access.caller(headers, FROM).unwrap().name().map(str::to_owned);
    for headers in [
        basic("__token__", &secret),
        basic("ann", &secret),
        basic("", &secret),
        with(&format!("Bearer {secret}")),
        with(&format!("bearer {secret}")),
    ] {
        assert_eq!(name(&headers).as_deref(), Some("ci"));
    }
    assert_eq!(name(&HeaderMap::new()), None);
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
            matches!(access.caller(&basic("u", &text), FROM), Err(Refusal::Unknown(_))),
            "{text}"
        );
    }
    for text in ["Basic", "Basic !!!", "Basic dQ==", "Digest x", "Bearer"] {
        let access = Access::with_tokens(TokenFile::new(directory.path(), Clock::system()));
        assert!(access.caller(&with(text), FROM).is_err(), "{text}");
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
    let works = |secret: &SecretString| access.caller(&basic("u", secret.expose_secret()), FROM).is_ok();
    assert!(works(&short) && works(&long));
    clock.advance(Duration::from_secs(3600));
    assert!(!works(&short) && works(&long));
    assert_eq!(file().revoke("long").unwrap().len(), 1);
    assert!(!works(&long));
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
    let guess = || {
        access
            .caller(&basic("u", "pypicache-00000000-11"), FROM)
            .unwrap_err()
    };
    assert!((0..10).all(|_| matches!(guess(), Refusal::Unknown(_))));
    assert!(matches!(guess(), Refusal::TooOften(_)));
    assert!(access.caller(&basic("u", secret.expose_secret()), FROM).is_ok());
}
