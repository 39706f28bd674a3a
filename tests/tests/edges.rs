//! The server's edge with the world: where its log goes, which host and path a request names, what browsers and clients of other
//! interfaces of PyPI are told, and what damage looks like from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use hyper::Method;
use pypicache_tests::client::{get, get_json, raw, send};
use pypicache_tests::laboratory::Laboratory;
use pypicache_tests::package::Wheel;
use pypicache_tests::process::{Server, command};
use pypicache_tests::python::{Environment, text};
use pypicache_tests::team::Team;
use pypicache_tests::upstream::Upstream;
use url::Url;

/// A server whose standard error is `stderr`'s end, and the first line of it.
fn served_into(
    upstream: &Url,
    root: &std::path::Path,
) -> (std::process::Child, std::process::ChildStderr, Url) {
    let mut child = command(root)
        .args(["serve", "--verbose", "--listen", "127.0.0.1:0", "--cache-dir"])
        .arg(root.join("cache"))
        .args(["--upstream", upstream.as_str()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::with_capacity(1, child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("listening on ") {
        line.clear();
        assert!(stderr.read_line(&mut line).unwrap() > 0);
    }
    let url = line
        .split("listening on ")
        .nth(1)
        .unwrap()
        .split_whitespace()
        .next()
        .unwrap();
    (child, stderr.into_inner(), url.parse().unwrap())
}

fn stopped(mut child: std::process::Child) -> std::process::ExitStatus {
    let status = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(status.success());
    child.wait().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_answered_whether_or_not_anybody_reads_the_log() {
    let upstream = Upstream::start().await;
    upstream.add("acme", Wheel::new("acme", "1.0").build());
    for is_gone in [true, false] {
        let root = tempfile::tempdir().unwrap();
        let (child, stderr, url) = served_into(&upstream.url(), root.path());
        // Gone, or there and not reading.
        let kept = (!is_gone).then_some(stderr);
        for number in 0..2_000 {
            let path = format!("simple/unknown-{number}{}/", "x".repeat(50));
            let path = if number % 100 == 0 { "simple/acme/" } else { &path };
            let status = get_json(&url.join(path).unwrap()).await.status;
            assert_eq!(status, if number % 100 == 0 { 200 } else { 404 });
        }
        assert!(stopped(child).success(), "gone: {is_gone}");
        drop(kept);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_do_their_work_whether_or_not_anybody_reads_what_they_print() {
    let root = tempfile::tempdir().unwrap();
    for arguments in [&["config", "check"][..], &["why", "six"], &["token", "list"]] {
        let mut child = command(root.path())
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        let code = child.wait().unwrap().code();
        assert!(matches!(code, Some(0..=2)), "{arguments:?}: {code:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_about_an_index_can_be_read_by_a_browser() {
    let laboratory = Laboratory::new("acme", Wheel::new("acme", "1.0").build()).await;
    let file = laboratory.file("acme").await;
    let page = laboratory.page("acme");
    let etag = get_json(&page).await.header("etag").to_owned();
    let json = ("accept", "application/vnd.pypi.simple.v1+json");
    type Case<'a> = (Url, Vec<(&'a str, &'a str)>, u16);
    let cases: [Case<'_>; 9] = [
        (page.clone(), vec![json], 200),
        (page.clone(), vec![json, ("if-none-match", &etag)], 304),
        (page.clone(), vec![("accept", "image/png")], 406),
        (laboratory.page("unknown"), vec![], 404),
        (page.join("../Acme/").unwrap(), vec![], 301),
        (page.join("../acme").unwrap(), vec![], 301),
        (file.clone(), vec![], 200),
        (file.clone(), vec![("range", "bytes=0-9")], 206),
        (file.clone(), vec![("range", "bytes=999999-")], 416),
    ];
    for (url, headers, status) in &cases {
        for method in [Method::GET, Method::HEAD] {
            let reply = send(method, url, headers).await;
            let got = (reply.status.as_u16(), reply.header("access-control-allow-origin"));
            assert!(
                got == (*status, "*") || got == (200, "*") && *status >= 206,
                "{url} {headers:?}: {got:?}"
            );
            assert!(
                reply
                    .header("access-control-expose-headers")
                    .contains("X-PyPI-Last-Serial")
            );
        }
    }
    let mut laboratory = laboratory;
    laboratory.upstream.stop().await;
    let reply = get(&laboratory.page("never-seen"), &[]).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("access-control-allow-origin")),
        (504, "*")
    );
    let reply = send(Method::POST, &page, &[]).await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("access-control-allow-origin")),
        (405, "*")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_spellings_of_a_path_lead_to_the_plain_one_by_one_redirect() {
    let laboratory = Laboratory::new("acme", Wheel::new("acme", "1.0").build()).await;
    let root = laboratory.cache.url.clone();
    let spellings = [
        "/simple//acme/",
        "//simple/acme/",
        "/simple/acme//",
        "/simple/./acme/",
        "/simple//Acme",
        "/held/simple//acme/",
    ];
    for spelling in spellings {
        let answer = raw(
            &root,
            format!("GET {spelling}?x=1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").as_bytes(),
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 301"), "{spelling}: {answer}");
        let location = answer
            .lines()
            .find_map(|line| line.strip_prefix("location: "))
            .unwrap()
            .trim();
        assert!(location.starts_with("../"), "{location}");
        let to = Url::parse(&format!("http://h{spelling}"))
            .unwrap()
            .join(location)
            .unwrap();
        let plain = if spelling.starts_with("/held") {
            "/held/simple/acme/"
        } else {
            "/simple/acme/"
        };
        assert_eq!(
            (to.host_str(), to.path(), to.query()),
            (Some("h"), plain, None),
            "{spelling}"
        );
    }
    for spelling in [
        "//evil.example/simple/acme/",
        "/simple/%2Facme/",
        "/simple//../acme/",
        "/files//pypi/acme-1.0.tar.gz",
    ] {
        let answer = raw(
            &root,
            format!("GET {spelling} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").as_bytes(),
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{spelling}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_names_one_host() {
    let laboratory = Laboratory::new("acme", Wheel::new("acme", "1.0").build()).await;
    let ask = async |version: &str, hosts: &str| {
        let request = format!("GET /simple/ HTTP/{version}\r\n{hosts}Connection: close\r\n\r\n");
        let answer = raw(&laboratory.cache.url, request.as_bytes()).await;
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    for (version, hosts, status) in [
        ("1.1", "", "400"),
        ("1.1", "Host: a\r\nHost: b\r\n", "400"),
        ("1.1", "Host: a\r\nHost: a\r\n", "400"),
        ("1.1", "Host: a b\r\n", "400"),
        ("1.1", "Host: ann@a\r\n", "400"),
        ("1.1", "Host: a/b\r\n", "400"),
        ("1.1", "Host: a:x\r\n", "400"),
        ("1.1", "Host: [::1]:80\r\n", "200"),
        ("1.1", "Host:\r\n", "200"),
        ("1.0", "", "200"),
        ("1.0", "Host: a\r\nHost: b\r\n", "400"),
    ] {
        assert_eq!(ask(version, hosts).await, status, "{version} {hosts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_pypis_other_interfaces_are_told_that_these_are_not_offered() {
    let laboratory = Laboratory::new("acme", Wheel::new("acme", "1.0").build()).await;
    let root = &laboratory.cache.url;
    for path in [
        "pypi/acme/json",
        "pypi/acme/json/",
        "pypi/acme/1.0/json",
        "acme/json",
    ] {
        let reply = get(&root.join(path).unwrap(), &[]).await;
        assert_eq!(reply.status, 404, "{path}");
        assert!(
            reply.json()["detail"].to_string().contains("JSON API"),
            "{path}: {}",
            reply.json()
        );
    }
    let call = b"<?xml version='1.0'?><methodCall><methodName>search</methodName></methodCall>";
    for path in ["pypi", "pypi/", "RPC2"] {
        let url = root.join(path).unwrap();
        let reply = pypicache_tests::client::post(&url, &[("content-type", "text/xml")], call.to_vec()).await;
        let body = String::from_utf8(reply.bytes().to_vec()).unwrap();
        // Uploads need a token, and XML-RPC goes to the same place.
        assert!(
            reply.status == 401 || body.contains("-32500"),
            "{path}: {} {body}",
            reply.status
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_of_a_hosted_project_is_told_as_what_it_is() {
    let team = Team::with("", "projects = [\"acme*\", \"other\"]\n", "").await;
    let token = team.token("developer", &[]);
    let upload = team.server.legacy();
    let environment = Environment::new(team.root.path(), "tools");
    for name in ["acme", "other"] {
        let wheel = Wheel::new(name, "1.0").build().write(team.root.path());
        pypicache_tests::python::succeeded(&environment.twine_upload(&upload, Some(&token), &[&wheel]));
    }
    let record = records_of(team.root.path(), "acme.json").remove(0);
    std::fs::write(&record, b"{\"files\": [").unwrap();
    let page = get_json(&team.server.index().join("acme/").unwrap()).await;
    assert_eq!(page.status, 500, "{}", page.json());
    let wheel = Wheel::new("acme", "2.0").build().write(team.root.path());
    let output = environment.twine_upload(&upload, Some(&token), &[&wheel]);
    assert!(
        !output.status.success() && text(&output).contains("damaged"),
        "{}",
        text(&output)
    );
    team.server.says("is damaged");
    team.server.says(record.to_str().unwrap());
    let ready = get(&team.server.url.join("-/ready").unwrap(), &[]).await;
    assert_eq!(ready.status, 503);
    assert!(
        ready.json()["detail"].to_string().contains("acme"),
        "{}",
        ready.json()
    );
    assert_eq!(
        get_json(&team.server.index().join("other/").unwrap())
            .await
            .status,
        200
    );
}

/// Where files of this name lie below a directory.
fn records_of(directory: &std::path::Path, name: &str) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory)
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => records_of(&path, name),
            false => Vec::from_iter((path.file_name().unwrap() == name).then_some(path)),
        })
        .collect()
}

/// What the installers print when a rule keeps something out.
#[tokio::test(flavor = "multi_thread")]
async fn installers_print_the_rule_that_keeps_something_out() {
    let upstream = Upstream::start().await;
    for version in ["1.0", "2.0"] {
        upstream.add("acme", Wheel::new("acme", version).build());
        upstream.add("half", Wheel::new("half", version).build());
    }
    let root = tempfile::tempdir().unwrap();
    let config = root.path().join("c.toml");
    let rules = format!(
        "[[source]]\nname = \"pypi\"\nupstream = \"{}\"\n[policy]\n[[policy.rule]]\nname = \"no-acme\"\ndeny = [\"acme\", \"half==2.0\"]\nreason = \"known to be broken\"\n",
        upstream.url()
    );
    std::fs::write(&config, rules).unwrap();
    let team = Server::start(root.path(), &["--config", config.to_str().unwrap()]);
    let below = tempfile::tempdir().unwrap();
    let laptop = Server::start(below.path(), &["--upstream", team.index().as_str()]);
    for index in [team.index(), laptop.index()] {
        let environment = Environment::new(root.path(), &format!("e-{}", index.port().unwrap()));
        let by_uv = text(&environment.uv_install(&index, &["acme"]));
        assert!(
            by_uv.contains("known to be broken") && by_uv.contains("no-acme"),
            "{by_uv}"
        );
        assert!(!by_uv.contains("credentials"), "{by_uv}");
        let by_pip = text(&environment.pip_install(&index, &["-vv", "acme"]));
        assert!(by_pip.contains("known to be broken"), "{by_pip}");
        let file = index.join("../files/pypi/").unwrap();
        let path = upstream
            .requests()
            .iter()
            .find(|seen| seen.path.contains("acme-"))
            .map(|seen| seen.path.clone());
        if let Some(path) = path {
            let url = file.join(path.trim_start_matches('/')).unwrap();
            let by_pip = text(&environment.pip_install(&index, &[url.as_str()]));
            assert!(by_pip.contains("known to be broken"), "{by_pip}");
        }
        // A release that is kept out is not there; the others are.
        let output = environment.uv_install(&index, &["half"]);
        assert!(
            output.status.success() && text(&output).contains("half==1.0"),
            "{}",
            text(&output)
        );
        let refused = text(&environment.uv_install(&index, &["half==2.0"]));
        assert!(refused.contains("no version of half==2.0"), "{refused}");
        let why = get(&index.join("../-/why/half").unwrap(), &[])
            .await
            .json()
            .to_string();
        assert!(why.contains("no-acme"), "{why}");
    }
}
