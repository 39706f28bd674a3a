use std::io::{Cursor, Write as _};

use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

use super::*;

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn examined(name: &str, bytes: &[u8]) -> Result<String, String> {
    let name = FileName::parse(name).unwrap();
    match examine(&file_of(bytes), &name) {
        Ok(metadata) => Ok(String::from_utf8_lossy(&metadata).into_owned()),
        Err(ExamineError::Refused(why)) => Err(why),
        Err(error) => panic!("{error:?}"),
    }
}

const WHEEL: &str = "six-1.0-py3-none-any.whl";
const SDIST: &str = "six-1.0.tar.gz";
const INFO: [(&str, &[u8]); 3] = [
    ("six-1.0.dist-info/METADATA", b"Name: six\n"),
    ("six-1.0.dist-info/WHEEL", b""),
    ("six-1.0.dist-info/RECORD", b""),
];

fn wheel_with(more: &[(&str, &[u8])]) -> Vec<u8> {
    zip_of(&[&INFO, more].concat())
}

fn zip_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in members {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        writer.start_file(*name, options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// One member of a tar archive: its path, its kind, where it leads, its bytes.
type Member<'a> = (&'a str, EntryKind, &'a str, &'a [u8]);
type EntryKind = tar::EntryType;

fn sdist_of(members: &[Member<'_>]) -> Vec<u8> {
    gzip(&tar_of(members))
}

fn tar_of(members: &[Member<'_>]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, kind, link, bytes) in members {
        let mut header = tar::Header::new_gnu();
        // The crate refuses dangerous names, so they are written past it.
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        tar.append(&header, *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

const PKG_INFO: Member<'static> = ("six-1.0/PKG-INFO", EntryKind::Regular, "", b"Name: six\n");

fn sdist_with(member: Member<'_>) -> Vec<u8> {
    sdist_of(&[PKG_INFO, member])
}

#[test]
fn good_ones_give_their_metadata() {
    assert_eq!(
        examined(WHEEL, &wheel_with(&[("six.py", b"pass")])).unwrap(),
        "Name: six\n"
    );
    assert_eq!(
        examined("six-1.0.0-1b-py3-none-any.whl", &wheel_with(&[])).unwrap(),
        "Name: six\n"
    );
    let more = [
        PKG_INFO,
        ("six-1.0/", EntryKind::Directory, "", b""),
        ("six-1.0/six.py", EntryKind::Regular, "", b"pass"),
        ("six-1.0/again.py", EntryKind::Link, "six-1.0/six.py", b""),
    ];
    assert_eq!(examined(SDIST, &sdist_of(&more)).unwrap(), "Name: six\n");
}

#[test]
fn long_names_are_understood_in_both_ways() {
    let long = format!("six-1.0/{}/x.py", "d".repeat(150));
    let mut tar = tar::Builder::new(Vec::new());
    for (path, bytes) in [("six-1.0/PKG-INFO", &b"Name: six\n"[..]), (&long, b"pass")] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        tar.append_data(&mut header, path, bytes).unwrap();
    }
    assert!(examined(SDIST, &gzip(&tar.into_inner().unwrap())).is_ok());
    let record = b"25 path=six-1.0/PKG-INFO\n";
    let pax = [
        ("pax", EntryKind::XHeader, "", &record[..]),
        ("short", EntryKind::Regular, "", b"Name: six\n"),
    ];
    assert_eq!(examined(SDIST, &sdist_of(&pax)).unwrap(), "Name: six\n");
}

#[test]
fn wheels_that_are_not_what_they_say() {
    let (good, tar) = (wheel_with(&[]), tar_of(&[PKG_INFO]));
    let mut behind = good.clone();
    behind.extend_from_slice(b"more");
    let encrypted = {
        let mut bytes = good.clone();
        let directory = bytes.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
        bytes[directory + 8] |= 1;
        bytes
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("does not begin with", b"nonsense".to_vec()),
        ("does not begin with", gzip(b"x")),
        ("is no zip", b"PK\x03\x04".to_vec()),
        ("something behind its end", behind),
        ("does not begin with", [&b"#!/bin/sh\n"[..], &good].concat()),
        ("does not begin with", [tar, good].concat()),
        ("a tar archive as well", {
            let mut block = tar_of(&[("PK\x03\x04", EntryKind::Regular, "", b"")]);
            block.extend_from_slice(&wheel_with(&[]));
            block
        }),
        ("neither stored nor deflated", encrypted),
        ("no .dist-info", zip_of(&[("six.py", b"")])),
        ("no six-1.0.dist-info/METADATA", zip_of(&INFO[1..])),
        ("no six-1.0.dist-info/RECORD", zip_of(&INFO[..2])),
        (
            "two .dist-info",
            wheel_with(&[("other-1.0.dist-info/METADATA", b"")]),
        ),
        (
            "does not belong",
            zip_of(&[("other-1.0.dist-info/METADATA", b"")]),
        ),
        ("does not belong", zip_of(&[("six-2.0.dist-info/METADATA", b"")])),
        ("leads out", wheel_with(&[("../evil.py", b"")])),
        ("leads out", wheel_with(&[("/etc/evil", b"")])),
        ("leads out", wheel_with(&[("a\\..\\evil", b"")])),
        ("would become", wheel_with(&[("bomb", &vec![0; 70 << 20])])),
    ];
    for (why, bytes) in cases {
        let refused = examined(WHEEL, &bytes).unwrap_err();
        assert!(refused.contains(why), "{why}: {refused}");
    }
}

#[test]
fn a_zip_of_a_million_members_is_not_even_listed() {
    let mut bytes = wheel_with(&[]);
    let end = bytes.len() - 22;
    // What the end claims decides; a large zip would say it in another place.
    let large: Vec<u8> = {
        let mut end = b"PK\x06\x06".to_vec();
        end.extend_from_slice(&44u64.to_le_bytes());
        end.extend_from_slice(&[0; 12]);
        for number in [1_000_000u64, 1_000_000, 46_000_000, 0] {
            end.extend_from_slice(&number.to_le_bytes());
        }
        end
    };
    let at = end as u64;
    bytes.truncate(end);
    bytes.extend_from_slice(&large);
    bytes.extend_from_slice(b"PK\x06\x07\0\0\0\0");
    bytes.extend_from_slice(&at.to_le_bytes());
    bytes.extend_from_slice(&[1, 0, 0, 0]);
    bytes.extend_from_slice(b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0");
    assert!(examined(WHEEL, &bytes).unwrap_err().contains("more than"));
}

#[test]
fn members_over_each_other_are_refused() {
    let mut bytes = wheel_with(&[("a", &[7; 100]), ("b", &[8; 100])]);
    let entries: Vec<_> = (0..bytes.len() - 4)
        .filter(|at| bytes[*at..].starts_with(b"PK\x01\x02"))
        .collect();
    // The last entry of the directory leads to the member of the one before.
    let (from, to) = (entries[3] + 42, entries[4] + 42);
    bytes.copy_within(from..from + 4, to);
    assert!(examined(WHEEL, &bytes).is_err());
}

#[test]
fn sdists_that_are_not_what_they_say() {
    let zip = wheel_with(&[]);
    let sparse = b"26 GNU.sparse.name=six-1.0\n";
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("cannot be read", b"nonsense".to_vec()),
        ("no six-1.0/PKG-INFO", sdist_of(&[])),
        (
            "not below six-1.0/",
            sdist_with(("other/x", EntryKind::Regular, "", b"")),
        ),
        (
            "leads out",
            sdist_with(("six-1.0/../../x", EntryKind::Regular, "", b"")),
        ),
        ("leads out", sdist_with(("/etc/x", EntryKind::Regular, "", b""))),
        ("leads out", sdist_with(("C:/x", EntryKind::Regular, "", b""))),
        (
            "no plain file",
            sdist_with(("six-1.0/x", EntryKind::Symlink, "/etc/passwd", b"")),
        ),
        (
            "no plain file",
            sdist_with(("six-1.0/x", EntryKind::Link, "../x", b"")),
        ),
        (
            "no plain file",
            sdist_with(("six-1.0/x", EntryKind::Char, "", b"")),
        ),
        (
            "no plain file",
            sdist_with(("six-1.0/x", EntryKind::Fifo, "", b"")),
        ),
        (
            "no plain file",
            sdist_with(("six-1.0/x", EntryKind::GNUSparse, "", b"")),
        ),
        ("sparse", sdist_with(("x", EntryKind::XHeader, "", sparse))),
        (
            "too long",
            sdist_with(("x", EntryKind::GNULongName, "", &vec![b'a'; 1 << 20])),
        ),
        ("PKG-INFO twice", sdist_with(PKG_INFO)),
        ("behind its end", [sdist_of(&[PKG_INFO]), zip].concat()),
        (
            "behind the end",
            gzip(&[tar_of(&[PKG_INFO]), b"more".to_vec()].concat()),
        ),
        (
            "would become more",
            sdist_with(("six-1.0/bomb", EntryKind::Regular, "", &vec![0; 70 << 20])),
        ),
    ];
    for (why, bytes) in cases {
        let refused = examined(SDIST, &bytes).unwrap_err();
        assert!(refused.contains(why), "{why}: {refused}");
    }
    assert!(
        examined("six-1.0.zip", &wheel_with(&[]))
            .unwrap_err()
            .contains("neither a wheel")
    );
}

proptest::proptest! {
    #[test]
    fn damaged_archives_never_panic(
        at in proptest::prelude::any::<proptest::sample::Index>(), byte in proptest::prelude::any::<u8>(),
        cut in proptest::prelude::any::<proptest::sample::Index>(),
    ) {
        for (name, mut bytes) in [(WHEEL, wheel_with(&[("a", b"pass")])), (SDIST, tar_of(&[PKG_INFO]))] {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if name == SDIST {
                bytes = gzip(&bytes);
            }
            let _ = examined(name, &bytes);
            let _ = examined(name, &bytes[..cut.index(bytes.len())]);
        }
    }
}
