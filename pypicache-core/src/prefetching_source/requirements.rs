//! What a distribution requires (`Requires-Dist`, PEP 508), as far as it is asked of an index whatever extras are wanted.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{LazyLock, Mutex, PoisonError};

use pep508_rs::{
    MarkerTree, MarkerTreeKind, MarkerValueString as Text, MarkerValueVersion, Requirement, VersionOrUrl,
};
use url::Url;

use super::installer::Installer;
use crate::archive::headers;
use crate::model::ProjectName;

/// The most requirements that are looked at.
const MAX_REQUIREMENTS: usize = 200;

/// The longest requirement that is read, in bytes.
const MAX_LEN: usize = 2048;

/// The most clauses that a marker may be put together from: a marker is read into a decision diagram, and the worst ones
/// double it with each two clauses. Real ones have up to ten.
const MAX_WORDS: usize = 16;

/// The deepest that parentheses may be in each other: each takes a part of the stack.
const MAX_PARENTHESES: usize = 32;

/// How many different markers are read in the life of the process: the reader keeps what it has read for ever.
const MAX_MARKERS: usize = 20_000;

/// The projects whose pages an installer asks for because of this METADATA: none that only an extra wants, none for
/// another system, none that comes by a URL of its own.
pub(super) fn requirements(metadata: &[u8], installer: &Installer) -> Vec<ProjectName> {
    let mut names = Vec::new();
    for line in headers(metadata, "Requires-Dist").take(MAX_REQUIREMENTS) {
        let read = read(&line);
        if read.is_none() {
            tracing::debug!(requirement = %line.escape_debug(), "a requirement cannot be read and is not asked for ahead");
        }
        let wanted = read.filter(|requirement| {
            let is_elsewhere = matches!(requirement.version_or_url, Some(VersionOrUrl::Url(_)));
            !is_elsewhere && may_hold(&requirement.marker, installer)
        });
        let name = wanted.and_then(|requirement| ProjectName::parse(requirement.name.as_ref()).ok());
        if let Some(name) = name.filter(|name| !names.contains(name)) {
            names.push(name);
        }
    }
    names
}

/// `None` where it is none, or a larger one than is read.
fn read(line: &str) -> Option<Requirement<Url>> {
    let words = line.split(|c: char| !c.is_ascii_alphanumeric());
    let is_bounded = line.len() <= MAX_LEN
        && line.matches('(').count() <= MAX_PARENTHESES
        && words.filter(|word| matches!(*word, "and" | "or")).count() <= MAX_WORDS;
    (is_bounded && is_among_those_read(line)).then(|| line.parse().ok())?
}

/// Whether it was read before, or may be: [`MAX_MARKERS`]. What differs in front of the marker only is counted once.
fn is_among_those_read(line: &str) -> bool {
    static READ: LazyLock<(RandomState, Mutex<HashSet<u64>>)> = LazyLock::new(Default::default);
    let (hasher, read) = &*READ;
    // This may cut a URL with a semicolon: then it counts a little too much.
    let Some((_, marker)) = line.split_once(';') else {
        return true;
    };
    let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
    let marker = hasher.hash_one(marker);
    read.contains(&marker) || (read.len() < MAX_MARKERS && read.insert(marker))
}

/// Whether a marker can be true for an installer, by what is known of it, while no extra is asked for.
fn may_hold(marker: &MarkerTree, installer: &Installer) -> bool {
    let either = |(_, marker): (bool, MarkerTree)| may_hold(&marker, installer);
    match marker.kind() {
        MarkerTreeKind::True => true,
        MarkerTreeKind::False => false,
        MarkerTreeKind::Version(marker) => {
            let known = match marker.key() {
                MarkerValueVersion::PythonFullVersion | MarkerValueVersion::PythonVersion => {
                    installer.python()
                }
                MarkerValueVersion::ImplementationVersion => None,
            };
            marker.edges().any(|(range, marker)| {
                known.is_none_or(|version| range.contains(version)) && may_hold(&marker, installer)
            })
        }
        MarkerTreeKind::String(marker) => {
            let known = known(marker.key(), installer);
            marker.children().any(|(range, marker)| {
                known.as_ref().is_none_or(|text| range.contains(text)) && may_hold(&marker, installer)
            })
        }
        MarkerTreeKind::In(marker) => match known(marker.key(), installer) {
            Some(text) => may_hold(&marker.edge(marker.value().contains(&text)), installer),
            None => marker.children().any(either),
        },
        MarkerTreeKind::Contains(marker) => match known(marker.key(), installer) {
            Some(text) => may_hold(&marker.edge(text.contains(marker.value())), installer),
            None => marker.children().any(either),
        },
        MarkerTreeKind::Extra(marker) => may_hold(&marker.edge(false), installer),
    }
}

/// What a variable of a marker is where the installer runs.
fn known(variable: &Text, installer: &Installer) -> Option<String> {
    let [os_name, sys_platform, platform_system] = match installer.system()? {
        "Linux" => ["posix", "linux", "Linux"],
        "Darwin" | "macOS" => ["posix", "darwin", "Darwin"],
        "Windows" => ["nt", "win32", "Windows"],
        _ => return None,
    };
    match variable {
        Text::OsName | Text::OsNameDeprecated => Some(os_name.to_owned()),
        Text::SysPlatform | Text::SysPlatformDeprecated => Some(sys_platform.to_owned()),
        Text::PlatformSystem => Some(platform_system.to_owned()),
        Text::PlatformMachine | Text::PlatformMachineDeprecated => installer.machine().map(str::to_owned),
        Text::PlatformPythonImplementation
        | Text::PlatformPythonImplementationDeprecated
        | Text::PythonImplementationDeprecated => installer.implementation().map(str::to_owned),
        Text::ImplementationName => installer.implementation().map(str::to_ascii_lowercase),
        Text::PlatformRelease | Text::PlatformVersion | Text::PlatformVersionDeprecated => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINUX: &str = r#"uv/1 {"python":"3.11.2","implementation":{"name":"CPython"},"system":{"name":"Linux"},"cpu":"x86_64"}"#;
    const WINDOWS: &str = r#"pip/26 {"python":"3.12.0","implementation":{"name":"PyPy"},"system":{"name":"Windows"},"cpu":"AMD64"}"#;
    const UNKNOWN: &str = "poetry/2.0 CPython/3.11";

    fn of(agent: &str, lines: &[&str]) -> Vec<String> {
        let lines: String = lines
            .iter()
            .map(|line| format!("Requires-Dist: {line}\n"))
            .collect();
        let metadata = format!("Metadata-Version: 2.1\nName: x\n{lines}\nRequires-Dist: body\n");
        let names = requirements(metadata.as_bytes(), &Installer::parse(agent).unwrap());
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn requirements_of_all_kinds() {
        // For each: whether it is asked for on Linux, on Windows, and by somebody of whom nothing is known.
        for (line, expected) in [
            ("a", [true, true, true]),
            ("A.a_a>=1,!=1.5", [true; 3]),
            ("a (>=1)", [true; 3]),
            ("a (>=1,<2) ; python_version > '3'", [true; 3]),
            ("a[b,c]", [true; 3]),
            ("a [b] >= 1", [true; 3]),
            ("a[b] ; extra == 'x'", [false; 3]),
            ("a; extra == \"x\" and sys_platform == 'linux'", [false; 3]),
            ("a; extra != 'x'", [true; 3]),
            ("a; extra == 'x' or sys_platform == 'linux'", [true, false, true]),
            ("extra-thing; sys_platform != 'extra'", [true; 3]),
            ("a; python_version < '3.12'", [true, false, true]),
            ("a; python_version<'3'", [false, false, true]),
            ("a; python_full_version >= '3.11.3'", [false, true, true]),
            ("a; python_version in '3.11 3.10'", [true, false, true]),
            ("a; python_version not in '3.11'", [false, true, true]),
            ("a; 'linux' in sys_platform", [true, false, true]),
            ("a; sys_platform in 'linux darwin'", [true, false, true]),
            ("a; sys_platform not in 'win32'", [true, false, true]),
            ("a; os_name == 'nt' or os_name == 'java'", [false, true, true]),
            ("a; platform_system == 'Windows'", [false, true, true]),
            (
                "a; platform_machine == 'x86_64' or platform_machine == 'AMD64'",
                [true, true, true],
            ),
            ("a; platform_machine == 'aarch64'", [false, false, true]),
            (
                "a; platform_python_implementation == 'CPython'",
                [true, false, true],
            ),
            ("a; implementation_name == 'pypy'", [false, true, true]),
            (
                "a; (sys_platform == 'win32' and python_version >= '3.8') or (sys_platform == 'cygwin')",
                [false, true, true],
            ),
            ("a; platform_release >= '6'", [true; 3]),
            // Of a form that is older than PEP 508.
            ("a; python_implementation == 'CPython'", [true, false, true]),
            ("a; os.name == 'nt'", [false, true, true]),
            // Not asked of an index.
            ("a @ https://host.example/a-1.0.zip", [false; 3]),
            (
                "a[b] @ https://host.example/a.whl ; python_version > '3'",
                [false; 3],
            ),
            ("a @ file:///srv/a.whl", [false; 3]),
            // No requirements.
            ("???", [false; 3]),
            ("", [false; 3]),
            ("-e .", [false; 3]),
            ("https://host.example/a.whl", [false; 3]),
            ("a; colour == 'red'", [false; 3]),
            ("a; python_version >", [false; 3]),
        ] {
            let is_asked = [LINUX, WINDOWS, UNKNOWN].map(|agent| !of(agent, &[line]).is_empty());
            assert_eq!(is_asked, expected, "{line}");
        }
    }

    #[test]
    fn each_name_once_in_order() {
        let lines = [
            "B.c>=1",
            "d[x] (<2) ; python_version > '3'",
            "e; extra == 'test'",
            "b-c",
            "???",
        ];
        assert_eq!(of(LINUX, &lines), ["b-c", "d"]);
    }

    #[test]
    fn what_would_cost_too_much_is_not_read() {
        let pairs = (0..30).map(|n| format!("(extra == 'a{n}' and extra == 'b{n}')"));
        let doubling = format!("a; {}", pairs.collect::<Vec<_>>().join(" or "));
        let deep = format!("a; {}os_name == 'nt'{}", "(".repeat(900), ")".repeat(900));
        let long = format!("a; os_name == '{}'", "x".repeat(MAX_LEN));
        for line in [doubling, deep, long] {
            assert_eq!(of(UNKNOWN, &[&line]), Vec::<String>::new());
        }
    }

    /// A fuzz target, see `simple::fuzz`.
    #[test]
    fn whatever_is_required_is_read_without_a_panic() {
        let installer = Installer::parse(LINUX).unwrap();
        bolero::check!()
            .with_type::<(String, Vec<u8>)>()
            .for_each(|(text, metadata)| {
                let _ = requirements(
                    format!("Requires-Dist: {text}\nRequires-Dist: a; {text}\n").as_bytes(),
                    &installer,
                );
                let _ = requirements(metadata, &installer);
            });
    }
}
