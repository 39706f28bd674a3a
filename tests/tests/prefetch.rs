//! Asking ahead: what an installer will ask for is there when it asks; within bounds, behind the guard, never a wheel.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use pypicache_tests::client::{Reply, get};
use pypicache_tests::package::Wheel;
use pypicache_tests::process::Server;
use pypicache_tests::python::{Environment, text};
use pypicache_tests::tiers::Tiers;
use pypicache_tests::upstream::{Fault, Gate, Host, Upstream};
use pypicache_tests::virtually::quiet;

const PIP: &str = r#"pip/26.3 {"cpu":"x86_64","distro":{"libc":{"lib":"glibc","version":"2.36"}},"implementation":{"name":"CPython"},"python":"3.11.2","system":{"name":"Linux"}}"#;

/// An index where `first` requires `second`, and that `third`.
async fn chain_of_three() -> Upstream {
    let upstream = Upstream::start().await;
    upstream.add("first", Wheel::new("first", "1.0").requires("second>=1").build());
    upstream.add("first", Wheel::new("first", "0.9").requires("elsewhere").build());
    upstream.add("second", Wheel::new("second", "2.0").requires("third").build());
    upstream.add("third", Wheel::new("third", "3.0").build());
    upstream
}

fn source(upstream: &Upstream) -> String {
    format!("[[source]]\nname = \"pypi\"\nupstream = \"{}\"\n", upstream.url())
}

/// A tier that asks ahead.
async fn ahead(sources: &str) -> Tiers {
    let mut tiers = Tiers::none();
    tiers.add_with("prefetch = true\n", sources).await;
    tiers
}

fn gets(upstream: &Upstream) -> Vec<String> {
    let requests = upstream.requests().into_iter();
    requests
        .filter(|seen| seen.method == "GET")
        .map(|seen| seen.path)
        .collect()
}

async fn page_as(tiers: &Tiers, agent: &str, project: &str) -> Reply {
    let url = tiers.url(&format!("simple/{project}/"));
    get(
        &url,
        &[
            ("user-agent", agent),
            ("accept", "application/vnd.pypi.simple.v1+json"),
        ],
    )
    .await
}

/// Lets the tier come to rest, and says what the upstream was asked for.
async fn asked(upstream: &Upstream) -> Vec<String> {
    let (mut paths, mut rests) = (Vec::new(), 0);
    while rests < 50 {
        quiet().await;
        let now = gets(upstream);
        rests = if now.len() == paths.len() { rests + 1 } else { 0 };
        paths = now;
    }
    let short = |path: String| {
        path.rsplit('/')
            .find(|part| !part.is_empty())
            .unwrap_or_default()
            .to_owned()
    };
    let mut paths: Vec<_> = paths.into_iter().map(short).collect();
    paths.sort();
    paths
}

fn counter(metrics: &Reply, name: &str) -> u64 {
    let text = String::from_utf8(metrics.bytes().to_vec()).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with(&format!("pypicache_prefetch_{name}_total{{index=\"/\"}}")));
    line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_installer_asks_for_next_is_there_already() {
    let upstream = chain_of_three().await;
    let tiers = ahead(&source(&upstream)).await;
    page_as(&tiers, PIP, "first").await;
    let metadata =
        ["first-1.0", "second-2.0", "third-3.0"].map(|name| format!("{name}-py3-none-any.whl.metadata"));
    let [first, second, third] = metadata.each_ref().map(String::as_str);
    assert_eq!(
        asked(&upstream).await,
        ["first", first, "second", second, "third", third]
    );
    for project in ["second", "third"] {
        assert!(
            page_as(&tiers, PIP, project)
                .await
                .header("cache-status")
                .ends_with("; hit")
        );
    }
    let metadata = tiers
        .get("files/pypi/packages/third-3.0-py3-none-any.whl.metadata")
        .await;
    assert_eq!(
        asked(&upstream).await.len(),
        6,
        "nothing is asked for twice, and no wheel at all"
    );
    let metrics = tiers.get("metrics").await;
    assert_eq!(counter(&metrics, "fetched"), 5);
    assert!(counter(&metrics, "metadata_bytes") > 100);
    assert_eq!(
        counter(&metrics, "used"),
        2 + u64::from(metadata.status.is_success())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_asked_ahead_for_others_or_where_it_is_switched_off() {
    let upstream = chain_of_three().await;
    let tiers = ahead(&source(&upstream)).await;
    page_as(&tiers, "Mozilla/5.0 (X11; Linux)", "first").await;
    assert_eq!(asked(&upstream).await, ["first"]);
    let mut without = Tiers::none();
    without.add(&source(&upstream)).await;
    upstream.forget();
    page_as(&without, PIP, "first").await;
    assert_eq!(asked(&upstream).await, ["first"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_page_leads_to_a_bounded_number_of_questions() {
    let upstream = Upstream::start().await;
    let mut root = Wheel::new("root", "1.0");
    for number in 0..60 {
        let name = format!("leaf-{number}");
        root = root.requires(&name);
        upstream.add(&name, Wheel::new(&name, "1.0").build());
    }
    upstream.add("root", root.build());
    let tiers = ahead(&source(&upstream)).await;
    page_as(&tiers, PIP, "root").await;
    let count = asked(&upstream).await.len();
    assert_eq!(count, 1 + 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_asked_ahead_give_way_to_clients() {
    let upstream = chain_of_three().await;
    let gate = Gate::default();
    for number in 0..3 {
        let name = format!("slow-{number}");
        upstream.add(&name, Wheel::new(&name, "1.0").build());
        upstream.script(
            &format!("/simple/{name}/"),
            None,
            Fault::HoldAfter(10, gate.clone()),
        );
    }
    let tiers = ahead(&source(&upstream)).await;
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..3 {
        let url = tiers.url(&format!("simple/slow-{number}/"));
        clients.spawn(async move { get(&url, &[]).await });
    }
    while upstream.count("slow-") < 3 {
        quiet().await;
    }
    page_as(&tiers, PIP, "first").await;
    assert_eq!(asked(&upstream).await, ["first", "slow-0", "slow-1", "slow-2"]);
    gate.open();
    clients.join_all().await;
    assert_eq!(asked(&upstream).await.len(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claimed_name_is_not_asked_ahead_of_anybody_else() {
    let (public, private) = (Upstream::start().await, Upstream::start().await);
    public.add(
        "first",
        Wheel::new("first", "1.0")
            .requires("acme-tools")
            .requires("second")
            .build(),
    );
    public.add("acme-tools", Wheel::new("acme-tools", "9.0").build());
    public.add("second", Wheel::new("second", "1.0").build());
    private.add(
        "acme-tools",
        Wheel::new("acme-tools", "1.0").requires("second").build(),
    );
    let sources = format!(
        "[[source]]\nname = \"ours\"\nupstream = \"{}\"\nprojects = [\"acme-*\"]\n[[source]]\nname = \"pypi\"\nupstream = \"{}\"\n",
        private.url(),
        public.url()
    );
    let tiers = ahead(&sources).await;
    page_as(&tiers, PIP, "first").await;
    let asked_in_public = asked(&public).await;
    assert!(
        asked_in_public.contains(&"second".to_owned()),
        "{asked_in_public:?}"
    );
    assert_eq!(public.count("acme"), 0);
    assert_eq!((private.count("/acme-tools/"), private.count("second")), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn real_installers_get_what_was_fetched_ahead() {
    for installer in ["pip", "uv"] {
        let (root, upstream) = (tempfile::tempdir().unwrap(), chain_of_three().await);
        let server = Server::start(root.path(), &["--upstream", upstream.url().as_str()]);
        let environment = Environment::new(root.path(), "venv");
        let output = match installer {
            "pip" => environment.pip_install(&server.index(), &["first"]),
            _ => environment.uv_install(&server.index(), &["first"]),
        };
        assert!(output.status.success(), "{}", text(&output));
        let metrics = get(&server.index().join("../metrics").unwrap(), &[]).await;
        let mut seen = gets(&upstream);
        seen.sort();
        assert_eq!(
            seen.len(),
            9,
            "{installer}: each page, METADATA and wheel once: {seen:?}"
        );
        let (fetched, used) = (counter(&metrics, "fetched"), counter(&metrics, "used"));
        assert!(
            fetched >= 1 && used == fetched,
            "{installer}: {fetched} fetched, {used} used"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_to_the_host_of_the_files_is_made_ready_once() {
    let upstream = chain_of_three().await;
    let tiers = ahead(&source(&upstream)).await;
    for project in ["first", "second", "third"] {
        page_as(&tiers, "curl/8", project).await;
    }
    asked(&upstream).await;
    let heads = upstream
        .requests()
        .into_iter()
        .filter(|seen| seen.method == "HEAD");
    let heads: Vec<_> = heads.map(|seen| (seen.host, seen.path)).collect();
    assert!(
        matches!(&heads[..], [(Host::Files, path)] if path.ends_with("/first-0.9-py3-none-any.whl")),
        "{heads:?}"
    );
    assert_eq!(gets(&upstream).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_refuses_heads_is_not_asked_with_every_page() {
    let upstream = chain_of_three().await;
    upstream.script(".whl", None, Fault::Answer(403, Vec::new(), "".into()));
    let tiers = ahead(&source(&upstream)).await;
    for project in ["first", "second", "third"] {
        page_as(&tiers, "curl/8", project).await;
        asked(&upstream).await;
    }
    let heads = upstream
        .requests()
        .into_iter()
        .filter(|seen| seen.method == "HEAD");
    assert_eq!(heads.count(), 1);
}
