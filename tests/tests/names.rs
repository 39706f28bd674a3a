//! Names of ours: never asked of others, not taken from the public by an upload, reported where they appear elsewhere; and
//! overlays, the one way to a page of two sources.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use pypicache_tests::client::{get, get_json};
use pypicache_tests::form::Form;
use pypicache_tests::package::Wheel;
use pypicache_tests::process::Server;
use pypicache_tests::python::{Environment, text};
use pypicache_tests::team::Team;
use pypicache_tests::upstream::Upstream;

const JSON: (&str, &str) = ("accept", "application/vnd.pypi.simple.v1+json");

/// Whether the public index has heard of a name, in whatever request.
fn has_heard(upstream: &Upstream, name: &str) -> bool {
    let file = name.replace('-', "_");
    let about = |path: &str| path.contains(name) || path.contains(&file);
    upstream.requests().iter().any(|seen| about(&seen.path))
}

/// Everything that somebody may ask about a name.
async fn ask_everything(server: &Server, name: &str) -> Vec<u16> {
    let file = format!("{}-99.0-py3-none-any.whl", name.replace('-', "_"));
    let mut statuses = Vec::new();
    for path in [
        format!("simple/{name}/"),
        format!("held/simple/{name}/"),
        format!("files/pypi/packages/{file}"),
        format!("files/pypi/packages/{file}.metadata"),
        format!("files/private/{name}/{file}"),
        format!("-/why/{name}"),
        "simple/".to_owned(),
    ] {
        let reply = get(
            &server.url.join(&path).unwrap(),
            &[("cache-control", "no-cache"), JSON],
        )
        .await;
        statuses.push(reply.status.as_u16());
    }
    statuses
}

#[tokio::test(flavor = "multi_thread")]
async fn our_names_are_never_asked_of_others_in_any_order_of_events() {
    let two = "projects = [\"acme-*\"]\n[[source]]\nname = \"tools\"\nhosted = true\n";
    let mut team = Team::with("", two, "").await;
    let token = team.token("admin", &[]);
    // Somebody has registered our names in public, with versions beyond ours.
    for name in ["acme-one", "acme-two"] {
        team.upstream.add(name, Wheel::new(name, "99.0").build());
    }
    let upload = async |team: &Team, name: &'static str, version: &str| {
        let form = Form::of(name, version, &Wheel::new(name, version).build());
        form.send(&team.server.legacy(), Some(&token))
            .await
            .status
            .as_u16()
    };
    // A name that the configuration does not claim is asked for once, before it becomes ours.
    assert_eq!(upload(&team, "tool", "1.0").await, 200);
    team.upstream.add("tool", Wheel::new("tool", "99.0").build());
    team.upstream.forget();
    let hosted = team.root.path().join(".local/share/pypicache/v1/hosted/private");
    for event in [
        "before any upload",
        "uploaded",
        "upstream down",
        "upstream back",
        "restarted",
        "deleted",
        "unreadable",
        "restored",
    ] {
        match event {
            "uploaded" => assert_eq!(upload(&team, "acme-one", "1.0").await, 200),
            "upstream down" => team.upstream.stop().await,
            "upstream back" => team.upstream.restart().await,
            "restarted" => team.crash(),
            "deleted" => drop(team.done(&["delete", "acme-one", "--all"], &token)),
            // What cannot be read is not absent.
            "unreadable" => std::fs::write(hosted.join("projects/acme-one.json"), "{").unwrap(),
            "restored" => std::fs::remove_file(hosted.join("projects/acme-one.json")).unwrap(),
            _ => {}
        }
        for name in ["acme-one", "acme-two", "tool"] {
            let statuses = ask_everything(&team.server, name).await;
            assert!(
                !has_heard(&team.upstream, name),
                "{event}: {name} was asked for ({statuses:?})"
            );
        }
        if event == "unreadable" {
            let page = get_json(&team.url("simple/acme-one/")).await;
            assert_eq!(page.status.as_u16(), 500, "not absent, and not somebody else's");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_laptop_does_not_ask_past_the_team_for_what_it_got_there() {
    let (mut team, home) = (Team::start().await, tempfile::tempdir().unwrap());
    let token = team.token("admin", &[]);
    team.upstream
        .add("acme-one", Wheel::new("acme-one", "99.0").build());
    let form = Form::of("acme-one", "1.0", &Wheel::new("acme-one", "1.0").build());
    assert_eq!(
        form.send(&team.server.legacy(), Some(&token))
            .await
            .status
            .as_u16(),
        200
    );
    let equals = [team.server.index().to_string(), team.upstream.url().to_string()];
    let config = home.path().join("laptop.toml");
    let text = format!("[[source]]\nname = \"pypi\"\nupstream = {equals:?}\n");
    std::fs::write(&config, text).unwrap();
    let laptop = Server::start(home.path(), &["--config", config.to_str().unwrap()]);
    let page = laptop.index().join("acme-one/").unwrap();
    assert_eq!(get_json(&page).await.json()["files"].as_array().unwrap().len(), 1);
    team.server.kill();
    for _ in 0..3 {
        let held = get(&page, &[("cache-control", "no-cache"), JSON]).await.json();
        assert_eq!(held["files"][0]["filename"], "acme_one-1.0-py3-none-any.whl");
    }
    assert!(!has_heard(&team.upstream, "acme-one"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_project_is_not_taken_over_by_an_upload() {
    let team = Team::with("", "", "").await;
    let token = team.token("developer", &[]);
    team.upstream.add("six", Wheel::new("six", "1.0").build());
    let form = |name: &str| Form::of(name, "9.0", &Wheel::new(name, "9.0").build());
    let refused = form("six").send(&team.server.legacy(), Some(&token)).await;
    let told = String::from_utf8_lossy(refused.bytes()).into_owned();
    assert_eq!(refused.status.as_u16(), 409, "{told}");
    assert!(
        told.contains("exists already at a source behind") && told.contains("projects ="),
        "{told}"
    );
    let mut team = team;
    team.upstream.stop().await;
    let unknown = form("new-tool").send(&team.server.legacy(), Some(&token)).await;
    assert_eq!(
        unknown.status.as_u16(),
        503,
        "nobody can tell whether it is public"
    );
    team.upstream.restart().await;
    assert_eq!(
        form("new-tool")
            .send(&team.server.legacy(), Some(&token))
            .await
            .status
            .as_u16(),
        200
    );
    let page = get_json(&team.url("simple/six/")).await.json();
    assert_eq!(page["files"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_ours_that_appear_elsewhere_are_reported_and_not_served() {
    let team = Team::start().await;
    let token = team.token("developer", &[]);
    assert_eq!(
        Form::of("acme-one", "1.0", &Wheel::new("acme-one", "1.0").build())
            .send(&team.server.legacy(), Some(&token))
            .await
            .status
            .as_u16(),
        200
    );
    for name in ["acme-one", "acme-squatted", "six"] {
        team.upstream.add(name, Wheel::new(name, "99.0").build());
    }
    for _ in 0..2 {
        let list = get(&team.server.index(), &[JSON]).await.json();
        let names: Vec<_> = list["projects"]
            .as_array()
            .unwrap()
            .iter()
            .map(|project| project["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["acme-one", "six"]);
    }
    let audit = std::fs::read_to_string(
        team.root
            .path()
            .join(".local/share/pypicache/v1/audit/audit.jsonl"),
    )
    .unwrap();
    let alarms: Vec<_> = audit
        .lines()
        .filter(|line| line.contains("name-elsewhere"))
        .collect();
    assert_eq!(alarms.len(), 2, "once for each name: {alarms:?}");
    assert!(alarms.iter().any(|line| line.contains("acme-squatted")));
    let metrics = get(&team.url("metrics"), &[]).await;
    assert!(String::from_utf8_lossy(metrics.bytes()).contains("pypicache_alarms_total 2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn own_wheels_are_laid_over_a_public_project_where_that_was_said() {
    let (team, home) = (
        Team::with("", "overlay = [\"torch\"]", "").await,
        tempfile::tempdir().unwrap(),
    );
    let token = team.token("developer", &[]);
    team.upstream.add("torch", Wheel::new("torch", "2.0").build());
    team.upstream.add("torch", Wheel::new("torch", "2.1").build());
    let form = |version: &str| Form::of("torch", version, &Wheel::new("torch", version).build());
    let plain = form("2.2").send(&team.server.legacy(), Some(&token)).await;
    assert_eq!(
        plain.status.as_u16(),
        400,
        "a plain version could be taken for the project's own"
    );
    let ours = form("2.1+acme.1").send(&team.server.legacy(), Some(&token)).await;
    assert_eq!(ours.status.as_u16(), 200, "{:?}", ours.body);
    let tagged = Form::of("torch", "2.0", &Wheel::new("torch", "2.0").build())
        .named("torch-2.0-1acme-py3-none-any.whl");
    assert_eq!(
        tagged
            .send(&team.server.legacy(), Some(&token))
            .await
            .status
            .as_u16(),
        200
    );

    let home_of_laptop = tempfile::tempdir().unwrap();
    let laptop = team.laptop(home_of_laptop.path());
    for server in [&team.server, &laptop] {
        let page = get_json(&server.index().join("torch/").unwrap()).await.json();
        let sources: Vec<_> = page["files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| file["_source"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(
            sources,
            ["pypi", "pypi", "private", "private"],
            "marked, at every tier"
        );
        assert!(
            page["versions"]
                .as_array()
                .unwrap()
                .contains(&"2.1+acme.1".into())
        );
    }
    let html = get(&team.url("simple/torch/"), &[("accept", "text/html")]).await;
    assert_eq!(
        String::from_utf8_lossy(html.bytes())
            .matches("data-source=\"private\"")
            .count(),
        2
    );
    for (name, requirement, version) in [("any", "torch", "2.1+acme.1"), ("theirs", "torch===2.1", "2.1")] {
        let uv = Environment::new(home.path(), name).uv_install(&laptop.index(), &[requirement]);
        assert!(
            text(&uv).contains(&format!("torch=={version}\n")),
            "{}",
            text(&uv)
        );
    }
    let public = team.url(&format!(
        "files/pypi{}",
        team.upstream.file_url(&Wheel::new("torch", "2.1").build()).path()
    ));
    assert_eq!(get(&public, &[]).await.status.as_u16(), 200);
    assert_eq!(get_json(&team.url("simple/six/")).await.status.as_u16(), 404);
}
