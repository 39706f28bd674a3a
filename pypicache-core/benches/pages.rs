//! Pages of 48, 244 and 4,312 files: reading them as an upstream sends them, and writing them.
//!
//! `cargo bench --package pypicache-core --bench pages`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark"
)]

use std::fmt::Write as _;
use std::sync::Arc;

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use pypicache_core::model::{FilePath, ProjectName, ProjectPage, Sha256};
use pypicache_core::simple::{Format, PageContext, read_page, write_page};
use url::Url;

const SIZES: [usize; 3] = [48, 244, 4312];

fn main() {
    divan::main();
}

/// A page as PyPI sends it: wheels and sdists, everything told.
fn json(files: usize) -> String {
    let mut page =
        r#"{"meta":{"api-version":"1.4","_last-serial":1},"name":"acme-sdk","versions":["1.0"],"files":["#
            .to_owned();
    for number in 0..files {
        let version = format!("1.{}.{}", number / 200, number % 200 / 2);
        let name = match number % 2 {
            0 => format!("acme_sdk-{version}-py3-none-any.whl"),
            _ => format!("acme_sdk-{version}.tar.gz"),
        };
        let digest = Sha256::of(name.as_bytes()).to_hex();
        let metadata = if number % 2 == 0 {
            format!(r#"{{"sha256":"{digest}"}}"#)
        } else {
            "false".to_owned()
        };
        let comma = if number == 0 { "" } else { "," };
        write!(
            page,
            r#"{comma}{{"filename":"{name}","url":"https://files.example/packages/{}/{}/{digest}/{name}","hashes":{{"sha256":"{digest}"}},"size":{},"upload-time":"2024-05-06T07:08:09.123456Z","requires-python":">=3.8","yanked":false,"core-metadata":{metadata},"data-dist-info-metadata":{metadata},"provenance":null}}"#,
            &digest[..2],
            &digest[2..4],
            number * 1000 + 17
        )
        .unwrap();
    }
    page + "]}"
}

fn read(format: Format, body: &[u8]) -> ProjectPage {
    let (project, upstream): (_, Arc<str>) = (
        ProjectName::parse("acme-sdk").unwrap(),
        "https://index.example/simple/".into(),
    );
    let base = Url::parse("https://index.example/simple/acme-sdk/").unwrap();
    let path_of = |_: &Url, path: &str, _: Option<&str>| FilePath::from_encoded(&format!("pypi{path}"));
    let context = PageContext {
        project: &project,
        base: &base,
        upstream: &upstream,
        path_of: &path_of,
        is_delimited: true,
        last_serial: None,
    };
    read_page(format, body, &context).unwrap()
}

fn href(path: &FilePath) -> String {
    format!("../../files/{}", path.to_encoded())
}

#[divan::bench(args = SIZES)]
fn read_json(bencher: Bencher<'_, '_>, files: usize) {
    let body = json(files);
    bencher
        .counter(BytesCount::of_str(&body))
        .bench(|| read(Format::Json, black_box(body.as_bytes())));
}

#[divan::bench(args = SIZES)]
fn read_html(bencher: Bencher<'_, '_>, files: usize) {
    let page = read(Format::Json, json(files).as_bytes());
    let body = write_page(Format::Html, &page, &|path| {
        format!("https://files.example/{path}")
    });
    bencher
        .counter(BytesCount::of_slice(&body))
        .bench(|| read(Format::Html, black_box(&body)));
}

#[divan::bench(args = SIZES)]
fn write_json(bencher: Bencher<'_, '_>, files: usize) {
    let page = read(Format::Json, json(files).as_bytes());
    bencher.bench(|| write_page(Format::Json, black_box(&page), &href));
}

#[divan::bench(args = SIZES)]
fn write_html(bencher: Bencher<'_, '_>, files: usize) {
    let page = read(Format::Json, json(files).as_bytes());
    bencher.bench(|| write_page(Format::Html, black_box(&page), &href));
}
