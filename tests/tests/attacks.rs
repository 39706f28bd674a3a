//! Uploads that attack: forms and archives that would take a server's memory, time or disk; and who may not upload at all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::io::Write as _;

use pypicache_tests::client::{post, raw};
use pypicache_tests::form::{BOUNDARY, Form, basic};
use pypicache_tests::package::{Package, Wheel, noise};
use pypicache_tests::process::Server;
use pypicache_tests::team::Team;

/// A form for the one package of these tests.
fn good() -> Form {
    Form::of("acme-one", "1.0", &package())
}

fn package() -> Package {
    Wheel::new("acme-one", "1.0").build()
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_that_attack_are_bounded() {
    let team = Team::start().await;
    let token = team.token("developer", &[]);
    let authorization = basic(&token);
    let sent = async |content_type: &str, body: Vec<u8>| {
        let headers = [("content-type", content_type), ("authorization", &*authorization)];
        post(&team.server.legacy(), &headers, body).await.status.as_u16()
    };
    let multipart = format!("multipart/form-data; boundary={BOUNDARY}");
    let part = |name: &str, value: &str| {
        format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let body = good().body();
    assert_eq!(sent("text/plain", body.clone()).await, 400);
    assert_eq!(sent("multipart/form-data", body.clone()).await, 400);
    assert_eq!(
        sent(
            &format!("multipart/form-data; boundary={}", "b".repeat(200)),
            body.clone()
        )
        .await,
        400
    );
    assert_eq!(
        sent(&multipart, body[..body.len() - 40].to_vec()).await,
        400,
        "without its end"
    );
    assert_eq!(
        sent(&multipart, body[..body.len() / 2].to_vec()).await,
        400,
        "half of it"
    );
    assert_eq!(sent(&multipart, noise(100_000)).await, 400);
    assert_eq!(
        sent(&multipart, part("x", "").repeat(100_000).into_bytes()).await,
        413,
        "a hundred thousand fields"
    );
    assert_eq!(
        sent(&multipart, part("description", &"x".repeat(9 << 20)).into_bytes()).await,
        413,
        "a text of 9 MiB"
    );
    let header = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"x\"\r\nX-Long: {}",
        "x".repeat(8 << 20)
    );
    assert_eq!(
        sent(&multipart, header.into_bytes()).await,
        413,
        "a header of 8 MiB"
    );
    let twice = [part("name", "acme-one"), part("name", "acme-two")].concat();
    assert_eq!(sent(&multipart, twice.into_bytes()).await, 400);
    let memory = peak_memory(&team.server);
    assert!(memory < 96 * 1024, "it took {memory} kB");
    assert_eq!(team.left_behind(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn archives_that_attack_are_bounded() {
    let team = Team::start().await;
    let token = team.token("developer", &[]);
    let gzip = |bytes: &mut dyn Iterator<Item = Vec<u8>>| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        bytes.for_each(|piece| encoder.write_all(&piece).unwrap());
        encoder.finish().unwrap()
    };
    // 4 GiB of zeros behind a header that announces them.
    let mut header = tar::Header::new_gnu();
    header.set_path("acme_one-1.0/bomb").unwrap();
    header.set_size(4 << 30);
    header.set_cksum();
    let mut pieces =
        std::iter::once(header.as_bytes().to_vec()).chain(std::iter::repeat_n(vec![0; 1 << 20], 4096));
    let bomb = gzip(&mut pieces);
    // A hundred thousand members, and one more.
    let mut many = (0..100_002).map(|number| {
        let mut header = tar::Header::new_gnu();
        header.set_path(format!("acme_one-1.0/{number}")).unwrap();
        header.set_size(0);
        header.set_cksum();
        header.as_bytes().to_vec()
    });
    let many = gzip(&mut many);
    // A zip that announces two million members where there are four.
    let mut zip = package().bytes.to_vec();
    let end = zip.len() - 22;
    zip[end + 10..end + 12].copy_from_slice(&[0xff, 0xff]);
    let before = used_seconds(&team.server);
    for (what, form) in [
        (
            "a bomb",
            good()
                .holding("acme_one-1.0.tar.gz", bomb)
                .with("filetype", "sdist"),
        ),
        (
            "many members",
            good()
                .holding("acme_one-1.0.tar.gz", many)
                .with("filetype", "sdist"),
        ),
        (
            "a zip that lies",
            good().holding("acme_one-1.0-py3-none-any.whl", zip),
        ),
    ] {
        let reply = form.send(&team.server.legacy(), Some(&token)).await;
        assert_eq!(reply.status.as_u16(), 400, "{what}: {:?}", reply.body);
    }
    let (memory, seconds) = (peak_memory(&team.server), used_seconds(&team.server) - before);
    println!("peak memory {memory} kB, processor time {seconds:.1} s");
    assert!(memory < 128 * 1024, "it took {memory} kB");
    assert!(seconds < 30.0, "it took {seconds} s of processor time");
    assert_eq!(team.left_behind(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_told_before_the_file_is_sent() {
    let team = Team::with("", "projects = [\"acme-*\"]\nmax-upload-size = \"1 MB\"", "").await;
    let token = team.token("developer", &[]);
    let context = |authorization: &str, length: u64| {
        format!(
            "POST /legacy/ HTTP/1.1\r\nHost: x\r\n{authorization}Content-Type: multipart/form-data; boundary=b\r\n\
             Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
        )
    };
    let told = raw(&team.server.url, context("", 1000).as_bytes()).await;
    assert!(told.starts_with("HTTP/1.1 401 "), "{told}");
    let right = format!("Authorization: {}\r\n", basic(&token));
    let told = raw(&team.server.url, context(&right, 1 << 40).as_bytes()).await;
    assert!(told.starts_with("HTTP/1.1 413 "), "{told}");
    let told = raw(&team.server.url, context(&right, 1000).as_bytes()).await;
    assert!(told.starts_with("HTTP/1.1 100 "), "{told}");
    let large = Wheel::new("acme-one", "1.0").payload(1_100_000).build();
    let reply = Form::of("acme-one", "1.0", &large)
        .send(&team.server.legacy(), Some(&token))
        .await;
    assert_eq!(reply.status.as_u16(), 413);
    assert_eq!(team.left_behind(), 0);
    // The client's answer is in the status line too, where twine looks for it.
    let body = String::from_utf8_lossy(&good().with("version", "one").without("content").body()).into_owned();
    let asked = format!(
        "POST /legacy/ HTTP/1.1\r\nHost: x\r\n{right}Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let told = raw(&team.server.url, asked.as_bytes()).await;
    assert!(told.starts_with("HTTP/1.1 400 the form has no file"), "{told}");
}

fn status_of(server: &Server, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process())).unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// In kB.
fn peak_memory(server: &Server) -> u64 {
    status_of(server, "VmHWM")
}

fn used_seconds(server: &Server) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.process())).unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // User and system time, in hundredths of a second on Linux.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}
