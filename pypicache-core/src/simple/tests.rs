//! Odd documents by table, and that what is written is read back.

use std::sync::Arc;

use proptest::prelude::*;
use url::Url;

use super::*;
use crate::model::{CoreMetadata, Digests, FileEntry, ProjectStatus, Sha256, Yanked};

fn read(format: Format, body: &[u8]) -> Result<ProjectPage, ReadPageError> {
    let base = Url::parse("https://index.example/simple/six/").unwrap();
    let path_of = |_: &Url, path: &str, filename: Option<&str>| match filename {
        Some(filename) if !path.ends_with(filename) => {
            FilePath::of_other_url("pypi", path, filename).or(FilePath::from_encoded(&format!("pypi{path}")))
        }
        _ => FilePath::from_encoded(&format!("pypi{path}")),
    };
    let (project, upstream) = (
        ProjectName::parse("six").unwrap(),
        Arc::from("https://index.example/simple/"),
    );
    let context = PageContext {
        project: &project,
        base: &base,
        upstream: &upstream,
        path_of: &path_of,
        is_delimited: true,
        last_serial: None,
    };
    read_page(format, body, &context)
}

fn json(files: &str) -> Result<ProjectPage, ReadPageError> {
    read(
        Format::Json,
        format!(r#"{{"meta":{{"api-version":"1.1"}},"name":"six","files":[{files}]}}"#).as_bytes(),
    )
}

fn html(anchors: &str) -> Result<ProjectPage, ReadPageError> {
    read(Format::Html, anchors.as_bytes())
}

fn urls(page: &ProjectPage) -> Vec<&str> {
    page.files
        .iter()
        .map(|file| file.link.as_ref().unwrap().url.as_ref())
        .collect()
}

#[test]
fn json_documents_that_are_no_pages_are_errors() {
    let deep = format!(
        "{{\"meta\":{}1{},\"files\":[]}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let bad: Vec<&[u8]> = vec![
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe{}",
        deep.as_bytes(),
        br#"{"meta":{},"files":null}"#,
        br#"{"meta":{},"files":{}}"#,
        br#"{"meta":{},"files":["#,
        br#"{"files":[]}"#,
        br#"{"meta":{"api-version":"2.0"},"files":[]}"#,
        br#"{"meta":{},"name":"other","files":[]}"#,
        br#"{"meta":{},"files":[],"files":[]}"#,
    ];
    for body in bad {
        assert!(
            read(Format::Json, body).is_err(),
            "{:?}",
            String::from_utf8_lossy(&body[..body.len().min(60)])
        );
    }
}

#[test]
fn json_versions_of_api_one_are_read_however_they_are_spelled() {
    for version in [r#""1.0""#, r#""1.99""#, r#""1""#, "1.4", "null"] {
        let body = format!(r#"{{"meta":{{"api-version":{version}}},"files":[]}}"#);
        assert!(read(Format::Json, body.as_bytes()).is_ok(), "{version}");
    }
    assert!(read(Format::Json, "\u{feff}{\"meta\":{},\"files\":[]}".as_bytes()).is_ok());
}

#[test]
fn one_broken_file_drops_that_file_only() {
    let good = r#"{"filename":"six-1.0.tar.gz","url":"six-1.0.tar.gz","hashes":{}}"#;
    let broken = [
        "3",
        "\"x\"",
        "{}",
        r#"{"url":7}"#,
        r#"{"url":"six-1.1.tar.gz","url":"x"}"#,
        r#"{"url":"ftp://h.example/six-1.1.tar.gz"}"#,
        r#"{"url":"..%2f..%2fsix-1.1.tar.gz"}"#,
        r#"{"url":"readme.txt"}"#,
        r#"{"url":"\ud800"}"#,
        r#"{"url":"file:///six-1.1.tar.gz"}"#,
    ];
    for file in broken {
        let page = json(&format!("{file},{good}")).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(
            urls(&page),
            ["https://index.example/simple/six/six-1.0.tar.gz"],
            "{file}"
        );
    }
}

#[test]
fn odd_fields_count_as_missing() {
    let page = json(
        r#"{"url":"/a/six-1.0-py3-none-any.whl","filename":"other","hashes":{"sha256":"zz","MD5":"00000000000000000000000000000000"},
            "size":"12","upload-time":"yesterday","requires-python":null,"yanked":"","core-metadata":{"sha256":"zz"},
            "provenance":"relative","gpg-sig":null,"unknown":1e400}"#,
    );
    // A number that no float holds breaks the document for any JSON reader, so that file is dropped at worst.
    let Ok(page) = page else { return };
    let Some(file) = page.files.first() else { return };
    assert_eq!(
        (file.size, &file.upload_time, &file.requires_python),
        (None, &None, &None)
    );
    assert_eq!(
        (&file.yanked, file.core_metadata),
        (&Yanked::Yes, CoreMetadata::Offered)
    );
    assert_eq!(
        file.hashes.iter().collect::<Vec<_>>(),
        [("md5", "00000000000000000000000000000000".into())]
    );
    assert!(file.provenance.is_none());
}

#[test]
fn the_filename_is_the_name_and_the_link_is_what_to_ask() {
    let name = "six-1.0.tar.gz";
    let links = [
        "https://files.example/blob/17",
        "https://files.example/download?file=six-1.0.tar.gz",
        "https://files.example/a//six-1.0.tar.gz/",
        "https://files.example/",
    ];
    for link in links {
        let page = json(&format!(
            r#"{{"filename":"{name}","url":"{link}","hashes":{{}}}}"#
        ))
        .unwrap();
        assert_eq!((page.files[0].filename.as_str(), urls(&page)[0]), (name, link));
        assert_eq!(page.files[0].path.file_name().as_str(), name);
        assert!(page.left_out.is_empty());
    }
    let odd = json(r#"{"filename":"no name","url":"a/six-1.0.tar.gz","hashes":{}}"#).unwrap();
    assert_eq!(odd.files[0].filename.as_str(), name, "else the link has the name");
}

#[test]
fn what_cannot_be_taken_is_counted_and_a_page_of_nothing_else_is_an_error() {
    let good = r#"{"filename":"six-1.0.tar.gz","url":"six-1.0.tar.gz","hashes":{}}"#;
    let bad =
        r#"{"filename":"six.txt","url":"six.txt"},7,{"filename":"six-1.1.tar.gz","url":"ftp://h.example/x"}"#;
    let page = json(&format!("{good},{bad}")).unwrap();
    assert_eq!((page.files.len(), page.left_out.count), (1, 3));
    assert_eq!(page.left_out.examples[0].0, "six.txt");
    assert!(
        page.left_out.to_string().contains("no http URL"),
        "{}",
        page.left_out
    );
    assert!(matches!(json(bad), Err(ReadPageError::NothingUsable(left_out)) if left_out.count == 3));
    let twice = good.replace("{}", &format!(r#"{{"sha256":"{}"}}"#, "a".repeat(64)));
    assert_eq!(json(&format!("{good},{twice}")).unwrap().left_out.count, 1);
    let anchors = |more: &str| html(&format!("<a href=six-1.0.zip>x</a><a href=/>home</a>{more}"));
    assert!(anchors("").unwrap().left_out.is_empty());
    assert_eq!(anchors("<a href=six#sha256=00>y</a>").unwrap().left_out.count, 1);
}

#[test]
fn fields_of_another_form_lose_themselves_and_not_the_page() {
    let page = |more: &str| {
        let body = format!(r#"{{"meta":{{"api-version":"1.1"}},"name":"six","files":[],{more}}}"#);
        read(Format::Json, body.as_bytes()).unwrap_or_else(|error| panic!("{more}: {error}"))
    };
    let status = |more: &str| page(more).status.marker;
    assert_eq!(status(r#""project-status":"Archived""#), "archived");
    assert_eq!(
        status(r#""project-status":{"status":"archived","reason":7}"#),
        "archived"
    );
    assert_eq!(status(r#""project-status":[1]"#), "active");
    assert_eq!(status(r#""project-status":null"#), "active");
    assert_eq!(
        page(r#""versions":["1.0",1.1,null,{},2]"#).versions.unwrap(),
        ["1.0", "1.1", "2"]
    );
    assert_eq!(page(r#""versions":"1.0""#).versions, None);
    let file = |more: &str| {
        let file = format!(
            r#"{{"filename":"six-1.0.tar.gz","url":"six-1.0.tar.gz#sha256={}",{more}}}"#,
            "a".repeat(64)
        );
        json(&file)
            .unwrap_or_else(|error| panic!("{more}: {error}"))
            .files
            .remove(0)
    };
    assert_eq!(file(r#""yanked":"false""#).yanked, Yanked::No);
    assert_eq!(file(r#""yanked":"True""#).yanked, Yanked::Yes);
    assert_eq!(file(r#""yanked":0"#).yanked, Yanked::No);
    assert_eq!(
        file(r#""yanked":"broken""#).yanked,
        Yanked::Because("broken".to_owned())
    );
    assert!(
        file(r#""hashes":{}"#).hashes.get_sha256().is_some(),
        "the digest of the link's fragment"
    );
    assert_eq!(file(r#""gpg-sig":true"#).gpg_sig, None);
    assert_eq!(file(r#""size":-1"#).size, None);
    assert_eq!(
        file(r#""upload-time":"2024-05-06T09:08:09.1234567+02:00""#)
            .upload_time
            .as_deref(),
        Some("2024-05-06T07:08:09.123456Z")
    );
}

#[test]
fn html_without_an_end_is_whole_only_where_the_transport_says_so() {
    let body = b"<!DOCTYPE html><html><body><a href=six-1.0.zip>six-1.0.zip</a>";
    let of = |body: &[u8], is_delimited| {
        let (project, base) = (
            ProjectName::parse("six").unwrap(),
            Url::parse("https://index.example/simple/six/").unwrap(),
        );
        let path_of = |_: &Url, path: &str, _: Option<&str>| FilePath::from_encoded(&format!("pypi{path}"));
        let context = PageContext {
            project: &project,
            base: &base,
            upstream: &"u".into(),
            path_of: &path_of,
            is_delimited,
            last_serial: None,
        };
        read_page(Format::Html, body, &context)
    };
    assert!(of(body, true).is_ok());
    assert!(of(body, false).is_err());
    for end in ["</body>", "</HTML >\n"] {
        assert!(of(&[body, end.as_bytes()].concat(), false).is_ok(), "{end}");
    }
}

#[test]
fn an_archived_project_of_an_html_index_is_archived_also_without_files() {
    let head = r#"<html><head><meta name="pypi:project-status" content="Archived"><meta name="pypi:project-status-reason" content="done"></head>"#;
    for files in ["", "<a href=six-1.0.zip>six-1.0.zip</a>"] {
        let page = html(&format!("{head}<body>{files}</body></html>")).unwrap();
        assert_eq!(
            (page.status.marker.as_str(), page.status.reason.as_deref()),
            ("archived", Some("done"))
        );
        let written = write_page(Format::Html, &page, &|path| path.to_encoded().into_owned());
        assert!(
            String::from_utf8(written)
                .unwrap()
                .contains(r#"name="pypi:project-status" content="archived""#)
        );
    }
}

#[test]
fn lists_keep_their_serials() {
    let body = br#"{"meta":{"_last-serial":9,"api-version":"1.4"},"projects":[{"name":"six","_last-serial":7},{"name":"a"}]}"#;
    let base = Url::parse("https://index.example/simple/").unwrap();
    let list = read_list(Format::Json, body, &base, true).unwrap();
    assert_eq!(
        (list.last_serial, list.projects()[1].last_serial),
        (Some(9), Some(7))
    );
    let again = read_list(Format::Json, &write_list(Format::Json, &list), &base, true).unwrap();
    assert_eq!(again, list);
    let nameless = br#"{"meta":{},"projects":[{"name":"!"},7]}"#;
    assert!(read_list(Format::Json, nameless, &base, true).is_err());
}

#[test]
fn every_spelling_of_the_metadata_key_is_read() {
    let digest = "ab".repeat(32);
    for key in ["core-metadata", "dist-info-metadata", "data-dist-info-metadata"] {
        let page = json(&format!(
            r#"{{"url":"six-1.0-py3-none-any.whl","{key}":{{"sha256":"{digest}"}}}}"#
        ))
        .unwrap();
        assert_eq!(
            page.files[0].core_metadata,
            CoreMetadata::Digest(Sha256::parse(&digest).unwrap()),
            "{key}"
        );
    }
}

#[test]
fn html_links_of_every_shape() {
    let digest = "AB".repeat(32);
    let page = html(&format!(
        r##"<HTML><head><title><a href="six-0.1.tar.gz">no</a></title></head><BODY>
        <!-- <a href="six-0.2.tar.gz">no</a> --><script>var a = '<a href="six-0.3.tar.gz">no</a>';</script>
        <A HREF="six-1.0.tar.gz#SHA256={digest}&amp;egg=x" href="six-9.9.tar.gz" data-requires-python="&gt;=3.6">x</A>
        <a href=/root/six-1.1.tar.gz data-yanked>x</a><a href='//files.example/six-1.2.tar.gz#sha1=00' data-yanked="bad &amp; old">x</a>
        <a href="https://files.example/six-1.3-py3-none-any.whl#egg=six" data-core-metadata="sha256={digest}">x</a>
        <a href="javascript:alert(1)">x</a><a href="https://files.example/a%2f..%2fsix-1.4.tar.gz">x</a>"##
    ))
    .unwrap();
    assert_eq!(
        urls(&page),
        [
            "https://index.example/simple/six/six-1.0.tar.gz",
            "https://index.example/root/six-1.1.tar.gz",
            "https://files.example/six-1.2.tar.gz",
            "https://files.example/six-1.3-py3-none-any.whl",
        ]
    );
    assert_eq!(
        page.files[0].hashes.get_sha256().unwrap().to_hex(),
        digest.to_lowercase()
    );
    assert_eq!(page.files[0].requires_python.as_deref(), Some(">=3.6"));
    assert_eq!(
        (&page.files[1].yanked, &page.files[2].yanked),
        (&Yanked::Yes, &Yanked::Because("bad & old".into()))
    );
    assert!(page.files[2].hashes.is_empty());
    assert!(matches!(page.files[3].core_metadata, CoreMetadata::Digest(_)));
}

#[test]
fn the_first_base_counts() {
    let anchors =
        r#"<base href="/mirror/"><base href="https://evil.example/"><a href="six-1.0.tar.gz">x</a>"#;
    assert_eq!(
        urls(&html(anchors).unwrap()),
        ["https://index.example/mirror/six-1.0.tar.gz"]
    );
}

#[test]
fn portals_are_no_pages_and_empty_indexes_are() {
    for portal in [
        "<html><body>Welcome to the hotel</body></html>",
        r#"<a href="/login">Sign in</a>"#,
        "",
        r#"<a href="other-1.0.tar.gz">x</a>"#,
    ] {
        assert!(
            matches!(
                html(portal),
                Err(ReadPageError::NotAnIndexPage | ReadPageError::Empty)
            ),
            "{portal}"
        );
    }
    assert!(
        html(r#"<meta name="pypi:repository-version" content="1.0">"#)
            .unwrap()
            .files
            .is_empty()
    );
    assert!(
        html(r#"<meta name="pypi:repository-version" content="2.0"><a href="six-1.0.tar.gz">x</a>"#).is_err()
    );
    assert!(html(r#"<meta name="api-version" content="2"><a href="six-1.0.tar.gz">x</a>"#).is_ok());
}

#[test]
fn credentials_in_links_are_not_handed_on() {
    let page = json(
        r#"{"url":"https://ann:s3cret@files.example/six-1.0.tar.gz","provenance":"https://ann:s3cret@index.example/p"}"#,
    )
    .unwrap();
    assert!(!format!("{page:?}").contains("s3cret"));
}

#[test]
fn one_name_twice_is_one_file() {
    let page =
        json(r#"{"url":"a/six-1.0.tar.gz","hashes":{}},{"url":"b/six-1.0.tar.gz","hashes":{}}"#).unwrap();
    assert_eq!(urls(&page), ["https://index.example/simple/six/a/six-1.0.tar.gz"]);
}

#[test]
fn quarantined_projects_offer_nothing() {
    let mut page = json(r#"{"url":"six-1.0.tar.gz","hashes":{}}"#).unwrap();
    page.status = ProjectStatus {
        marker: "quarantined".into(),
        reason: Some("malware".into()),
    };
    for format in [Format::Json, Format::Html] {
        let text =
            String::from_utf8(write_page(format, &page, &|path| path.to_encoded().into_owned())).unwrap();
        assert!(
            !text.contains("six-1.0") && text.contains("quarantined") && text.contains("malware"),
            "{text}"
        );
    }
}

#[test]
fn lists_go_round() {
    let list: ProjectList = ["six", "Flask", "zope.interface"]
        .iter()
        .map(|name| ProjectName::parse(name).unwrap())
        .collect();
    let base = Url::parse("https://index.example/simple/").unwrap();
    for format in [Format::Json, Format::Html] {
        assert_eq!(
            read_list(format, &write_list(format, &list), &base, true).unwrap(),
            list
        );
    }
}

#[test]
fn lists_leave_out_what_is_no_project() {
    let base = Url::parse("https://index.example/simple/").unwrap();
    let names = |format, body: &str| {
        let list = read_list(format, body.as_bytes(), &base, true)?;
        let names = list.projects().iter().map(|project| project.name.to_string());
        Ok::<_, ReadPageError>(names.collect::<Vec<_>>())
    };
    let html =
        "<a href='../'>up</a> <a href='six/'>six</a> <a href='/simple/Flask'>Flask</a> <a href='a.css'>x</a>";
    assert_eq!(names(Format::Html, html).unwrap(), ["flask", "six"]);
    let portal = "<a href='/login'>log in</a> <a href='/terms.zip'>terms</a> <a href='https://hotel.example/simple/x/'>x</a>";
    assert!(names(Format::Html, portal).is_err());
    let json = r#"{"meta":{"api-version":"1.0"},"projects":[7,{"name":"six"},{},{"name":"-"},null]}"#;
    assert_eq!(names(Format::Json, json).unwrap(), ["six"]);
    assert!(names(Format::Json, r#"[{"api-version":"1.0"},[]]"#).is_err());
}

fn text() -> impl Strategy<Value = String> {
    "[ -~é☃&<>\"']{1,20}"
        .prop_map(|text| text.trim().to_owned())
        .prop_filter("not empty", |text| !text.is_empty())
}

fn entry() -> impl Strategy<Value = FileEntry> {
    let yanked = prop_oneof![
        Just(Yanked::No),
        Just(Yanked::Yes),
        text().prop_map(Yanked::Because)
    ];
    let metadata = prop_oneof![
        Just(CoreMetadata::None),
        Just(CoreMetadata::Offered),
        any::<[u8; 4]>().prop_map(|seed| CoreMetadata::Digest(Sha256::of(&seed))),
    ];
    let facts = (
        proptest::option::of(any::<u64>()),
        proptest::option::of(text()),
        any::<Option<bool>>(),
        any::<bool>(),
    );
    (0u32..10_000, "[a-z+%]{1,6}", yanked, metadata, facts).prop_map(
        |(number, folder, yanked, core_metadata, facts)| {
            let path = FilePath::new(&format!(
                "pypi/{}/six-{number}.0+l.{number}.tar.gz",
                folder.replace('%', "x")
            ))
            .unwrap();
            let mut entry = FileEntry::new(path);
            let url = Url::parse(&format!(
                "https://index.example/{}",
                entry.path.to_encoded().strip_prefix("pypi/").unwrap()
            ))
            .unwrap();
            entry.link = Some(crate::model::Link {
                upstream: "https://index.example/simple/".into(),
                url: String::from(url).into(),
            });
            entry.hashes = Digests::sha256(Sha256::of(&number.to_le_bytes()));
            (entry.size, entry.requires_python, entry.gpg_sig) = (
                facts.0,
                facts.1.map(Into::into),
                facts.2.filter(|is_there| !is_there),
            );
            entry.upload_time = facts.3.then(|| "2026-11-20T12:00:00.123456Z".into());
            entry.provenance = facts
                .3
                .then(|| "https://index.example/integrity/six/provenance".into());
            (entry.yanked, entry.core_metadata) = (yanked, core_metadata);
            entry
        },
    )
}

fn pages() -> impl Strategy<Value = ProjectPage> {
    (
        proptest::collection::vec(entry(), 0..8),
        proptest::option::of(text()),
    )
        .prop_map(|(mut files, reason)| {
            files.sort_by(|a, b| a.filename.cmp(&b.filename));
            files.dedup_by(|a, b| a.filename == b.filename);
            let mut page = ProjectPage::new(ProjectName::parse("six").unwrap());
            page.files = files;
            page.status = ProjectStatus {
                marker: "archived".into(),
                reason,
            };
            page
        })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(page in pages(), versions in proptest::option::of(proptest::collection::vec("[0-9.]{1,5}", 0..3)), serial in any::<Option<u64>>()) {
        let href = |path: &FilePath| format!("https://index.example/{}", path.to_encoded().strip_prefix("pypi/").unwrap());
        prop_assert_eq!(&read(Format::Html, &write_page(Format::Html, &page, &href)).unwrap(), &page);
        let page = ProjectPage { versions, last_serial: serial, ..page };
        prop_assert_eq!(&read(Format::Json, &write_page(Format::Json, &page, &href)).unwrap(), &page);
    }

    #[test]
    fn readers_never_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = read(Format::Json, &body);
        let _ = read(Format::Html, &body);
    }

    #[test]
    fn readers_never_panic_on_damaged_pages(page in pages(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        for format in [Format::Json, Format::Html] {
            let mut body = write_page(format, &page, &|path| path.to_encoded().into_owned());
            let at = at.index(body.len());
            body[at] = byte;
            let _ = read(format, &body);
            let _ = read(format, &body[..at]);
        }
    }
}
