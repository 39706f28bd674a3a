//! Several upstreams of one source, one of which comes and goes: a laptop whose team cache is reachable at work only.

use std::time::Duration;

use futures_util::future::join_all;
use pypicache_tests::client::get;
use pypicache_tests::package::{Package, Wheel, noise, plain};
use pypicache_tests::tiers::Tiers;
use pypicache_tests::upstream::{BlackHole, Fault, Upstream};
use pypicache_tests::virtually::{pass, virtually};

use crate::{detail, ms};

/// Two indexes with the same public packages, and a laptop in front that prefers the first.
struct Roaming {
    team: Upstream,
    origin: Upstream,
    laptop: Tiers,
}

impl Roaming {
    async fn new(settings: &str) -> Self {
        let (team, origin) = (Upstream::start().await, Upstream::start().await);
        for upstream in [&team, &origin] {
            for name in ["six", "flask", "numpy", "attrs"] {
                upstream.add(name, Wheel::new(name, "1.0").build());
            }
        }
        let mut laptop = Tiers::none();
        let upstreams = format!("upstream = [\"{}\", \"{}\"]", team.url(), origin.url());
        laptop
            .add(&format!("[[source]]\nname = \"pypi\"\n{upstreams}\n{settings}"))
            .await;
        Self { team, origin, laptop }
    }
}

#[tokio::test(start_paused = true)]
async fn off_the_network_installs_go_on_and_back_on_it_the_team_is_asked_again() {
    let mut roaming = Roaming::new("").await;
    let laptop = &roaming.laptop;
    let (reply, _) = virtually(laptop.page("six")).await;
    assert_eq!(reply.status.as_u16(), 200);
    assert_eq!(
        (roaming.team.count("six"), roaming.origin.count("")),
        (1, 0),
        "who is preferred is asked"
    );

    roaming.team.stop().await;
    let hole = BlackHole::at(roaming.team.address()).await;
    let (first, waited) = virtually(laptop.page("flask")).await;
    assert_eq!((first.status.as_u16(), roaming.origin.count("flask")), (200, 1));
    assert!(waited <= ms(560), "a connection has half a second: {waited:?}");
    for name in ["numpy", "attrs"] {
        let (next, waited) = virtually(laptop.page(name)).await;
        assert_eq!(next.status.as_u16(), 200);
        assert!(waited <= ms(100), "{name}: {waited:?}");
    }
    let (absent, _) = virtually(laptop.page("nobody-has-this")).await;
    assert_eq!(absent.status.as_u16(), 404, "an equal's word counts");

    drop(hole);
    roaming.team.restart().await;
    roaming.team.forget();
    pass(Duration::from_secs(9)).await;
    roaming.laptop.age(Duration::from_secs(700));
    for name in ["six", "flask", "numpy"] {
        virtually(roaming.laptop.page(name)).await;
    }
    assert_eq!(roaming.team.count("/simple/"), 3, "back by itself");
}

#[tokio::test(start_paused = true)]
async fn one_question_at_a_time_finds_out_whether_it_is_back() {
    let roaming = Roaming::new("").await;
    roaming.team.script("/", None, Fault::Hang);
    virtually(roaming.laptop.page("six")).await;
    roaming.team.forget();
    for round in 1..=3 {
        pass(Duration::from_secs(9)).await;
        let names: Vec<_> = (0..50).map(|number| format!("round-{round}-{number}")).collect();
        let all = join_all(names.iter().map(|name| roaming.laptop.page(name)));
        let (replies, waited) = virtually(all).await;
        assert!(replies.iter().all(|reply| reply.status.as_u16() == 404));
        assert!(waited <= ms(150), "nobody waits for the probe: {waited:?}");
        assert_eq!(roaming.team.requests().len(), round, "one probe");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_preferred_upstream_costs_half_the_time_and_a_hedge_less() {
    for (settings, most) in [("", 940), ("hedge = \"100 ms\"\n", 140)] {
        let roaming = Roaming::new(settings).await;
        roaming
            .team
            .script("/", None, Fault::Delay(Duration::from_secs(3)));
        let (reply, waited) = virtually(roaming.laptop.page("six")).await;
        assert_eq!(reply.status.as_u16(), 200);
        assert!(waited <= ms(most), "{settings}: {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_is_continued_from_the_other_upstream() {
    let mut roaming = Roaming::new("").await;
    let package = plain("big-1.0.tar.gz", noise(1_000_000));
    roaming.team.add("big", package.clone());
    roaming.origin.add("big", package.clone());
    let (url, _) = virtually(roaming.laptop.file("big")).await;
    roaming
        .team
        .script("/packages/", Some(1), Fault::CutAfter(400_000));
    // From then on it refuses.
    roaming
        .team
        .script("/packages/", None, Fault::Document(403, "text/plain", "".into()));
    let (reply, _) = virtually(get(&url, &[])).await;
    assert_eq!(reply.bytes(), &package.bytes);
    let continued: Vec<_> = roaming
        .origin
        .requests()
        .into_iter()
        .filter(|seen| seen.path.contains("big-1.0"))
        .collect();
    assert_eq!(continued.len(), 1);
    assert_eq!(continued[0].headers["range"], "bytes=400000-");
    roaming.team.stop().await;
}

/// A team cache with packages of its own in front of an index, and a laptop in front of both.
struct Office {
    origin: Upstream,
    team: Tiers,
    laptop: Tiers,
    ours: Package,
}

impl Office {
    async fn new(laptop_sources: impl FnOnce(&str, &str) -> String) -> Self {
        let origin = Upstream::start().await;
        origin.add("six", Wheel::new("six", "1.0").build());
        // Somebody took the name on the public index.
        origin.add("acme-tools", Wheel::new("acme-tools", "99.0").build());
        let ours = Wheel::new("acme-tools", "1.0").build();
        let mut team = Tiers::none();
        let wheels = team.directory(0);
        std::fs::create_dir_all(&wheels).unwrap();
        std::fs::write(wheels.join(&ours.filename), &ours.bytes).unwrap();
        team.add(&format!(
            "[[source]]\nname = \"private\"\ndir = {:?}\n[[source]]\nname = \"pypi\"\nupstream = \"{}\"\n",
            wheels.display().to_string(),
            origin.url()
        ))
        .await;
        let mut laptop = Tiers::none();
        laptop
            .add(&laptop_sources(
                team.url("simple/").as_str(),
                origin.url().as_str(),
            ))
            .await;
        Self {
            origin,
            team,
            laptop,
            ours,
        }
    }

    fn private_requests(&self) -> usize {
        self.origin.count("acme")
    }
}

#[tokio::test(start_paused = true)]
async fn held_private_names_are_never_asked_of_the_public_index() {
    let mut office = Office::new(|team, origin| {
        format!("[[source]]\nname = \"pypi\"\nupstream = [\"{team}\", \"{origin}\"]\n")
    })
    .await;
    let (page, _) = virtually(office.laptop.page("acme-tools")).await;
    assert_eq!(page.json()["files"][0]["filename"], office.ours.filename);
    let (file, _) = virtually(office.laptop.file("acme-tools")).await;
    assert!(file.path().starts_with("/files/private/"), "{file}");

    office.team.stop().await;
    office.laptop.age(Duration::from_secs(700));
    let (public, _) = virtually(office.laptop.page("six")).await;
    assert_eq!(
        public.status.as_u16(),
        200,
        "public names go on from the other upstream"
    );
    let (held, _) = virtually(office.laptop.page("acme-tools")).await;
    assert_eq!((held.status.as_u16(), held.bytes()), (200, page.bytes()));
    let (cold, _) = virtually(get(&file, &[])).await;
    assert_eq!(cold.status.as_u16(), 504);
    assert!(
        detail(&cold).contains("it is not asked, since the project belongs to"),
        "{}",
        detail(&cold)
    );
    assert_eq!(office.private_requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn claimed_names_are_asked_of_their_source_only_known_or_not() {
    let mut office = Office::new(|team, origin| {
        format!(
            "[[source]]\nname = \"private\"\nupstream = \"{team}\"\nprojects = [\"acme-*\"]\n\
             [[source]]\nname = \"pypi\"\nupstream = [\"{team}\", \"{origin}\"]\n"
        )
    })
    .await;
    office.team.stop().await;
    let (unknown, _) = virtually(office.laptop.page("acme-tools")).await;
    assert_eq!(
        unknown.status.as_u16(),
        504,
        "nobody else's package takes its place"
    );
    let locked = office.laptop.url("files/pypi/x/acme_tools-99.0-py3-none-any.whl");
    let (file, _) = virtually(get(&locked, &[])).await;
    assert_eq!(file.status.as_u16(), 504);
    let (public, _) = virtually(office.laptop.page("six")).await;
    assert_eq!(public.status.as_u16(), 200);
    assert_eq!(office.private_requests(), 0);
}
