//! What configurations mean, and what their errors say.

use pypicache_core::cached_source::CacheOptions;
use pypicache_core::http_source::HttpOptions;

use super::*;

fn load(text: &str, overrides: &Overrides) -> Result<Configuration, ConfigError> {
    resolve(
        &ConfigFile::parse(Path::new("/etc/p.toml"), text.to_owned())?,
        overrides,
    )
}

fn upstreams(source: &SourceConfiguration) -> Vec<&str> {
    match &source.kind {
        SourceKind::Upstream(upstream) => upstream
            .upstreams
            .iter()
            .map(pypicache_core::http_source::IndexUrl::as_str)
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_said_means_pypi_on_loopback() {
    let configuration = load("", &Overrides::default()).unwrap();
    assert_eq!(configuration.listen.to_string(), LISTEN);
    assert_eq!(configuration.sources.len(), 1);
    assert_eq!(
        upstreams(&configuration.sources[0]),
        [pypicache_core::http_source::PYPI]
    );
}

#[test]
fn the_sample_is_what_it_says() {
    let configuration = load(include_str!("../sample.toml"), &Overrides::default()).unwrap();
    let names: Vec<_> = configuration
        .sources
        .iter()
        .map(|source| source.name.as_str())
        .collect();
    assert_eq!(names, ["private", "wheels", "pypi"]);
    assert_eq!(configuration.max_size, Some(50_000_000_000));
    assert!(
        matches!(&configuration.sources[0].kind, SourceKind::Hosted(hosted) if hosted.dir == Path::new("/var/lib/pypicache/v1/hosted/private"))
    );
    assert!(
        matches!(&configuration.sources[1].kind, SourceKind::Directory(dir) if dir == Path::new("/etc/wheels"))
    );
    assert_eq!(configuration.indexes[0].sources, [0, 2]);
    assert_eq!(configuration.data_dir, Path::new("/var/lib/pypicache"));
    assert_eq!(configuration.retention, RETENTION);
    assert_eq!(configuration.publishers.len(), 1);
    let rules = configuration.policy.unwrap();
    assert_eq!(
        (rules.rules.len(), rules.own_sources.len(), rules.dry_run),
        (2, 2, false)
    );
}

#[test]
fn only_loopback_is_open_without_being_said() {
    let is_open = |text: &str| load(text, &Overrides::default()).unwrap().anonymous_read;
    assert!(is_open("") && is_open("listen = \"[::1]:80\""));
    assert!(!is_open("listen = \"0.0.0.0:80\""));
    assert!(is_open(
        "listen = \"0.0.0.0:80\"\n[access]\nanonymous-read = true"
    ));
    assert!(!is_open("[access]\nanonymous-read = false"));
}

#[test]
fn what_is_wrong_with_a_teams_file_is_named() {
    for (text, key) in [
        ("[policy]\ncool-down = \"soon\"", "policy.cool-down"),
        ("[policy]\ncool-down-exempt = [\"x\"]", "policy.cool-down-exempt"),
        ("[[policy.rule]]\ndeny = []", "policy.rule"),
        ("[[policy.rule]]\nallow = [\"x\"]\ndeny = [\"x\"]", "policy.rule"),
        ("[[policy.rule]]\ndeny = [\"six<\"]", "policy.rule"),
        ("[tls]\ncert = \"c.pem\"", "tls.cert"),
        ("[tls]\nkey = \"k.pem\"", "tls.key"),
        ("trusted-proxies = [\"proxy\"]", "trusted-proxies"),
        ("path-prefix = \"pypi\"", "path-prefix"),
        ("external-url = \"team\"", "external-url"),
        (
            "[[access.publisher]]\nissuer = \"github\"",
            "access.publisher.claims",
        ),
        (
            "[[access.publisher]]\nissuer = \"me\"\nclaims = { a = \"b\" }",
            "access.publisher.issuer",
        ),
        ("[data]\nretention = \"long\"", "data.retention"),
        (
            "[[source]]\nname = \"a\"\nhosted = true\noverlay = [\"-\"]",
            "source.overlay",
        ),
        (
            "[[source]]\nname = \"a\"\nhosted = true\nmax-upload-size = \"big\"",
            "source.max-upload-size",
        ),
    ] {
        let error = load(text, &Overrides::default()).unwrap_err().to_string();
        assert!(
            error.starts_with("/etc/p.toml:") && error.contains(key),
            "{text}: {error}"
        );
    }
}

#[test]
fn choices_of_a_source_are_what_the_sample_says_they_are() {
    let configuration = load(include_str!("../sample.toml"), &Overrides::default()).unwrap();
    let SourceKind::Upstream(upstream) = &configuration.sources[2].kind else {
        panic!("it has an upstream")
    };
    let defaults = UpstreamConfiguration::new(Vec::new());
    assert_eq!(upstream.timeout, Some(HttpOptions::default().page_timeout));
    assert_eq!(
        upstream.negative_lifetime,
        Some(CacheOptions::default().negative_lifetime)
    );
    assert_eq!(
        (
            upstream.vanished,
            upstream.unreachable,
            upstream.files,
            upstream.forbidden
        ),
        (
            defaults.vanished,
            defaults.unreachable,
            defaults.files,
            defaults.forbidden
        )
    );
    let claimed = &configuration.sources[0].projects;
    assert_eq!(
        claimed.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["acme-*"]
    );
}

#[test]
fn flags_beat_the_file() {
    let overrides = Overrides {
        listen: Some("127.0.0.1:0".into()),
        cache_dir: Some("/tmp/c".into()),
        upstreams: vec!["http://team.example:6283/simple".into(), "pypi".into()],
        offline: true,
        dir: Some("mine".into()),
        ..Overrides::default()
    };
    let configuration = load(include_str!("../sample.toml"), &overrides).unwrap();
    assert_eq!(configuration.listen.port(), 0);
    assert!(configuration.offline);
    assert_eq!(configuration.cache_dir, Path::new("/tmp/c"));
    assert_eq!(configuration.sources[0].name, "dir");
    assert_eq!(
        configuration.indexes[0].sources,
        [1, 3],
        "the same sources as before"
    );
    assert_eq!(
        upstreams(&configuration.sources[3])[0],
        "http://team.example:6283/simple/"
    );
}

#[test]
fn errors_name_file_line_and_key() {
    let cases = [
        ("listen = \"x\"", "/etc/p.toml:1: listen: \"x\" is no address"),
        (
            "\n[cache]\nmax-size = \"many\"",
            "/etc/p.toml:3: cache.max-size: this is no size",
        ),
        (
            "[cache]\ndir = \"s3://bucket/x\"",
            "/etc/p.toml:2: cache.dir: object stores are not supported",
        ),
        (
            "[[source]]\nname = \"a\"\nupstream = \"htp://x\"",
            "/etc/p.toml:3: source.upstream: this is no URL of an index",
        ),
        (
            "[[source]]\nname = \"a\"",
            "/etc/p.toml:2: source: source \"a\" needs exactly one of",
        ),
        (
            "[[source]]\nname = \"simple\"\nhosted = true",
            "/etc/p.toml:2: source.name: \"simple\" is no name",
        ),
        (
            "[[source]]\nname = \"a\"\nhosted = true\n[[source]]\nname = \"a\"\nhosted = true",
            "/etc/p.toml:5: source.name: there are two",
        ),
        (
            "[[index]]\nname = \"t\"\nsources = [\"nobody\"]",
            "/etc/p.toml:3: index.sources: there is no source named \"nobody\"",
        ),
        (
            "[[source]]\nname = \"a\"\nupstream = \"pypi\"\ntimeout = 0",
            "/etc/p.toml:4: source.timeout: this has to be more",
        ),
        (
            "[[source]]\nname = \"a\"\nupstream = \"pypi\"\nmax-stale = \"soon\"",
            "/etc/p.toml:4: source.max-stale: this is no time",
        ),
        (
            "[[source]]\nname = \"a\"\nupstream = \"pypi\"\nprojects = [\"*\"]",
            "/etc/p.toml:4: source.projects: ",
        ),
        (
            "[[source]]\nname = \"a\"\nupstream = \"pypi\"\nfiles = \"burn\"",
            "/etc/p.toml:4: files: unknown variant `burn`",
        ),
        ("lisen = \"x\"", "/etc/p.toml:1: lisen: unknown field"),
        ("a = [", "/etc/p.toml:1: a: "),
    ];
    for (text, expected) in cases {
        let error = load(text, &Overrides::default()).unwrap_err().to_string();
        assert!(
            error.starts_with(expected),
            "{text}\n  gives {error}\n  not   {expected}"
        );
    }
}

#[test]
fn a_wrong_flag_is_named() {
    let overrides = Overrides {
        upstreams: vec!["nonsense".into()],
        ..Overrides::default()
    };
    assert!(
        load("", &overrides)
            .unwrap_err()
            .to_string()
            .starts_with("--upstream: this is no URL")
    );
}

#[test]
fn passwords_are_never_shown() {
    let text = "[[source]]\nname = \"a\"\nupstream = \"https://h.example/simple/\"\nusername = \"ann\"\npassword = \"s3cret\"";
    let configuration = load(text, &Overrides::default()).unwrap();
    assert!(!format!("{configuration:?}").contains("s3cret"));
}
