//! Fuzz targets: whatever an upstream sends, reading it ends, and what was understood can be written and read again.
//!
//! Each runs for a moment with every test run, on mutations of real documents; for longer with
//! `cargo bolero test --package pypicache-core simple::fuzz::html_pages` (needs cargo-bolero).

use std::sync::Arc;

use bolero::{check, generator::produce};
use url::Url;

use super::*;
use crate::model::{FileName, FilePath, ProjectName};

/// Documents with something of everything, to begin from.
const JSON: &str = r##"{"meta":{"api-version":"1.4","_last-serial":7},"name":"six","versions":["1.0"],"project-status":{"status":"archived","reason":"old"},
"files":[{"filename":"six-1.0-py3-none-any.whl","url":"../../x/six-1.0-py3-none-any.whl#a","hashes":{"sha256":"00","md5":"x"},"size":7,
"upload-time":"2024-01-01T00:00:00.1Z","requires-python":">=3.8","yanked":"broken","core-metadata":{"sha256":"00"},"gpg-sig":true,
"provenance":"https://index.example/p"}]}"##;
const HTML: &str = r##"<!DOCTYPE html><html><head><base href="/x/"><meta name="pypi:repository-version" content="1.4">
<meta name="pypi:project-status" content="archived"></head><body><A HREF=six-1.0.zip data-yanked data-requires-python="&gt;=3">six</A>
<!-- <a href="no.zip"> --><a href='../six-1.0.tar.gz#sha256=00&egg=six' data-core-metadata="sha256=00" data-size=7>x</a></body></html>"##;

fn page(format: Format, body: &[u8]) -> Option<ProjectPage> {
    let (project, upstream): (_, Arc<str>) =
        (ProjectName::parse("six").ok()?, "https://index.example/".into());
    let base = Url::parse("https://index.example/simple/six/").ok()?;
    let path_of = |_: &Url, path: &str, _: Option<&str>| FilePath::from_encoded(&format!("pypi{path}"));
    let context = PageContext {
        project: &project,
        base: &base,
        upstream: &upstream,
        path_of: &path_of,
        is_delimited: true,
        last_serial: None,
    };
    read_page(format, body, &context).ok()
}

/// `seed` with a range of it replaced by other bytes.
fn mutated(seed: &str, (at, length, bytes): &(u16, u8, Vec<u8>)) -> Vec<u8> {
    let mut document = seed.as_bytes().to_vec();
    let at = usize::from(*at) % document.len();
    let end = (at + usize::from(*length)).min(document.len());
    document.splice(at..end, bytes.iter().copied());
    document
}

fn goes_round(format: Format, body: &[u8]) {
    if let Some(read) = page(format, body) {
        for format in [Format::Json, Format::Html] {
            let written = write_page(format, &read, &|path| {
                format!("https://index.example/{}", path.to_encoded())
            });
            let again = page(format, &written);
            // A page of nothing but foreign files is no sign of an index in HTML of old times; ours always tells.
            assert!(again.is_some(), "{}", String::from_utf8_lossy(&written));
        }
    }
}

#[test]
fn json_pages() {
    check!()
        .with_generator(produce::<(u16, u8, Vec<u8>)>())
        .for_each(|mutation| goes_round(Format::Json, &mutated(JSON, mutation)));
}

#[test]
fn html_pages() {
    check!()
        .with_generator(produce::<(u16, u8, Vec<u8>)>())
        .for_each(|mutation| goes_round(Format::Html, &mutated(HTML, mutation)));
}

#[test]
fn any_bytes() {
    check!().for_each(|bytes: &[u8]| {
        goes_round(Format::Json, bytes);
        goes_round(Format::Html, bytes);
        if let Ok(base) = Url::parse("https://index.example/simple/") {
            let _ = read_list(Format::Json, bytes, &base, true);
            let _ = read_list(Format::Html, bytes, &base, true);
        }
    });
}

#[test]
fn file_names() {
    check!().with_type::<String>().for_each(|text| {
        if let Ok(name) = FileName::parse(text) {
            assert!(!name.as_str().contains(['/', '\\', '\0']));
            let _ = (name.kind(), name.owners());
        }
        if let Ok(path) = FilePath::from_encoded(text) {
            assert!(
                path.as_str()
                    .split('/')
                    .all(|part| !matches!(part, "" | "." | "..")),
                "{path}"
            );
            assert_eq!(FilePath::from_encoded(&path.to_encoded()).as_ref(), Ok(&path));
        }
    });
}
