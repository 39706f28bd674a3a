//! Several sources and several indexes: who answers for a name, and who is never asked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use pypicache_tests::client::{get, get_json};
use pypicache_tests::package::Wheel;
use pypicache_tests::process::Server;
use pypicache_tests::upstream::Upstream;
use url::Url;

const JSON: (&str, &str) = ("accept", "application/vnd.pypi.simple.v1+json");

/// Two indexes in order, as a configuration file says it.
fn chain(root: &std::path::Path, first: &Url, second: &Url) -> Server {
    let config = root.join("chain.toml");
    let source = |name: &str, url: &Url| format!("[[source]]\nname = \"{name}\"\nupstream = \"{url}\"\n");
    std::fs::write(&config, source("private", first) + &source("pypi", second)).unwrap();
    Server::start(root, &["--config", config.to_str().unwrap()])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_owner_of_a_name_answers_for_all_of_it() {
    let (root, private, public) = (
        tempfile::tempdir().unwrap(),
        Upstream::start().await,
        Upstream::start().await,
    );
    let (ours, theirs) = (
        Wheel::new("acme", "1.0").build(),
        Wheel::new("acme", "99.0").build(),
    );
    private.add("acme", ours.clone());
    public.add("acme", theirs.clone());
    public.add("six", Wheel::new("six", "1.17.0").build());
    let cache = chain(root.path(), &private.url(), &public.url());
    let page = cache.index().join("acme/").unwrap();
    let files = get_json(&page).await.json()["files"].clone();
    assert_eq!(files.as_array().unwrap().len(), 1);
    assert_eq!(files[0]["filename"], ours.filename);
    let path = |upstream: &Upstream, package| {
        cache
            .url
            .join(&format!("files/pypi{}", upstream.file_url(package).path()))
            .unwrap()
    };
    assert_eq!(
        get(&path(&public, &theirs), &[]).await.status.as_u16(),
        404,
        "not by its link either"
    );
    assert_eq!(
        public.requests().len(),
        0,
        "a name of the first is never asked of the second"
    );
    assert_eq!(
        get_json(&cache.index().join("six/").unwrap())
            .await
            .status
            .as_u16(),
        200
    );
    let list = get(&cache.index(), &[JSON]).await.json();
    assert_eq!(list["projects"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_first_cannot_tell_the_second_is_not_asked() {
    let (root, mut private, public) = (
        tempfile::tempdir().unwrap(),
        Upstream::start().await,
        Upstream::start().await,
    );
    public.add("acme", Wheel::new("acme", "99.0").build());
    let url = private.url();
    private.stop().await;
    let cache = chain(root.path(), &url, &public.url());
    assert_eq!(
        get_json(&cache.index().join("acme/").unwrap())
            .await
            .status
            .as_u16(),
        504
    );
    let path = cache
        .url
        .join("files/pypi/packages/acme-99.0-py3-none-any.whl")
        .unwrap();
    assert_eq!(get(&path, &[]).await.status.as_u16(), 504);
    assert_eq!(public.requests().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn further_indexes_have_their_own_path() {
    let (root, upstream) = (tempfile::tempdir().unwrap(), Upstream::start().await);
    let package = Wheel::new("six", "1.17.0").build();
    upstream.add("six", package.clone());
    let config = root.path().join("p.toml");
    let text = format!(
        "[[source]]\nname = \"private\"\nhosted = true\n[[source]]\nname = \"pypi\"\nupstream = \"{}\"\n[[index]]\nname = \"only-ours\"\nsources = [\"private\"]\n[[index]]\nname = \"all\"\nsources = [\"private\", \"pypi\"]\n",
        upstream.url()
    );
    std::fs::write(&config, text).unwrap();
    let cache = Server::start(root.path(), &["--config", config.to_str().unwrap()]);
    assert_eq!(
        get_json(&cache.url.join("only-ours/simple/six/").unwrap())
            .await
            .status
            .as_u16(),
        404
    );
    let page = cache.url.join("all/simple/six/").unwrap();
    let file = page
        .join(get_json(&page).await.json()["files"][0]["url"].as_str().unwrap())
        .unwrap();
    assert!(file.path().starts_with("/all/files/pypi/"), "{file}");
    assert_eq!(get(&file, &[]).await.bytes(), &package.bytes);
    // A tier in front of such an index keeps the paths that it has there.
    let near_root = tempfile::tempdir().unwrap();
    let near = Server::start(
        near_root.path(),
        &["--upstream", cache.url.join("all/simple/").unwrap().as_str()],
    );
    let near_page = near.index().join("six/").unwrap();
    let href = get_json(&near_page).await.json()["files"][0]["url"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        near_page.join(&href).unwrap().path(),
        file.path().strip_prefix("/all").unwrap()
    );
}
