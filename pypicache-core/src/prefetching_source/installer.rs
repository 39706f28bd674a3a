//! What an installer says of itself in its `User-Agent`, as far as it decides which wheels it can take.
//!
//! pip and uv send `name/version` and a JSON object behind it. The others say nothing that helps: for them, only wheels
//! that run anywhere are likely.

use pep440_rs::{Version, VersionSpecifiers};
use serde::Deserialize;

use crate::model::FileName;

/// The longest `User-Agent` that is looked at, in bytes.
const MAX_LEN: usize = 4096;

/// What Linux systems have that do not say which.
const USUAL_GLIBC: (u32, u32) = (2, 28);

/// Who asks, and from where. What is not known is `None`, and then hinders no wheel that says nothing of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Installer {
    python: Option<Version>,
    implementation: Option<String>,
    system: Option<String>,
    cpu: Option<String>,
    /// Major and minor version; `None` where wheels for glibc do not run.
    glibc: Option<(u32, u32)>,
}

/// How gladly an installer takes a wheel: by its Python tag first, then by its platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fit {
    python: u32,
    platform: u32,
}

#[derive(Deserialize)]
struct RawAgent {
    python: Option<String>,
    implementation: Option<RawNamed>,
    system: Option<RawNamed>,
    distro: Option<RawDistro>,
    cpu: Option<String>,
}

#[derive(Deserialize)]
struct RawNamed {
    name: Option<String>,
}

#[derive(Deserialize)]
struct RawDistro {
    libc: Option<RawLibc>,
}

#[derive(Deserialize)]
struct RawLibc {
    lib: Option<String>,
    version: Option<String>,
}

impl Installer {
    /// Reads a `User-Agent`; `None` where it is not an installer's.
    pub(super) fn parse(agent: &str) -> Option<Self> {
        let agent = agent.get(..MAX_LEN).unwrap_or(agent);
        let (product, rest) = agent.split_once('/')?;
        let raw = match product {
            "pip" | "uv" => rest
                .split_once(' ')
                .and_then(|(_, json)| serde_json::from_str(json).ok()),
            "poetry" | "pdm" | "pip-tools" | "pipenv" | "hatch" => None,
            _ => return None,
        };
        let unknown = Self {
            python: None,
            implementation: None,
            system: None,
            cpu: None,
            glibc: None,
        };
        Some(raw.map_or(unknown, Self::of))
    }

    fn of(raw: RawAgent) -> Self {
        let name = |named: Option<RawNamed>| named.and_then(|named| named.name);
        let libc = raw.distro.and_then(|distro| distro.libc);
        let glibc = match libc {
            None => Some(USUAL_GLIBC),
            Some(libc) if libc.lib.as_deref() == Some("glibc") => {
                libc.version.and_then(|version| two_numbers(&version, '.'))
            }
            Some(_) => None,
        };
        Self {
            python: raw.python.and_then(|text| text.parse().ok()),
            implementation: name(raw.implementation),
            system: name(raw.system),
            cpu: raw.cpu,
            glibc,
        }
    }

    /// Whether a file may be installed as far as its Requires-Python goes.
    pub(super) fn satisfies(&self, requires_python: Option<&str>) -> bool {
        let (Some(python), Some(text)) = (&self.python, requires_python) else {
            return true;
        };
        let specifiers: Result<VersionSpecifiers, _> = text.parse();
        specifiers.is_ok_and(|specifiers| specifiers.contains(python))
    }

    /// Its Python.
    pub(super) fn python(&self) -> Option<&Version> {
        self.python.as_ref()
    }

    /// Its Python's implementation (`platform.python_implementation()`).
    pub(super) fn implementation(&self) -> Option<&str> {
        self.implementation.as_deref()
    }

    /// Its system (`platform.system()`).
    pub(super) fn system(&self) -> Option<&str> {
        self.system.as_deref()
    }

    /// Its machine (`platform.machine()`).
    pub(super) fn machine(&self) -> Option<&str> {
        self.cpu.as_deref()
    }

    /// How gladly it takes the wheel; `None` where it cannot run it, or where that is not known.
    pub(super) fn fit(&self, wheel: &FileName) -> Option<Fit> {
        let stem = wheel.as_str().strip_suffix(".whl")?;
        let mut tags = stem.rsplitn(4, '-');
        let (platforms, abis, pythons) = (tags.next()?, tags.next()?, tags.next()?);
        let python = pythons
            .split('.')
            .filter_map(|tag| self.python_fit(tag, abis))
            .max()?;
        let platform = platforms
            .split('.')
            .filter_map(|tag| self.platform_fit(tag))
            .max()?;
        Some(Fit { python, platform })
    }

    fn python_fit(&self, tag: &str, abis: &str) -> Option<u32> {
        const OWN: u32 = 1000;
        if tag == "py3" {
            return Some(0);
        }
        let [ours_major, ours_minor, ..] = *self.python.as_ref()?.release() else {
            return None;
        };
        let (kind, version) = tag.split_at_checked(2)?;
        let (major, minor) = version.split_at_checked(1)?;
        let major: u64 = major.parse().ok()?;
        let minor: u64 = if minor.is_empty() { 0 } else { minor.parse().ok()? };
        let age = u32::try_from(ours_minor.checked_sub(minor)?).ok()?;
        let is_own = match self.implementation.as_deref() {
            Some("PyPy") => kind == "pp",
            _ => kind == "cp",
        };
        match kind {
            _ if major != ours_major => None,
            "py" => Some(100_u32.saturating_sub(age)),
            _ if is_own && age == 0 => Some(OWN),
            _ if is_own && abis.split('.').any(|abi| abi == "abi3") => Some((OWN - 1).saturating_sub(age)),
            _ => None,
        }
    }

    fn platform_fit(&self, tag: &str) -> Option<u32> {
        if tag == "any" {
            return Some(0);
        }
        let cpu = &*self.cpu.as_deref()?.to_ascii_lowercase();
        match self.system.as_deref()? {
            "Linux" => {
                let (major, minor) = match tag.strip_suffix(cpu)?.strip_suffix('_')? {
                    "manylinux1" => (2, 5),
                    "manylinux2010" => (2, 12),
                    "manylinux2014" => (2, 17),
                    "linux" => (2, 0),
                    newer => two_numbers(newer.strip_prefix("manylinux_")?, '_')?,
                };
                (self.glibc? >= (major, minor)).then_some(major * 100 + minor)
            }
            "Darwin" | "macOS" => {
                let rest = tag.strip_prefix("macosx_")?;
                (rest.ends_with(cpu) || rest.ends_with("universal2")).then_some(1)
            }
            "Windows" => {
                let is_same = matches!(
                    (tag, cpu),
                    ("win_amd64", "amd64" | "x86_64") | ("win_arm64", "arm64")
                );
                is_same.then_some(1)
            }
            _ => None,
        }
    }
}

/// The two numbers at the front of a text.
fn two_numbers(text: &str, between: char) -> Option<(u32, u32)> {
    let mut parts = text.split(between);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PIP: &str = r#"pip/26.3 {"ci":null,"cpu":"x86_64","distro":{"id":"bookworm","libc":{"lib":"glibc","version":"2.36"},"name":"Debian GNU/Linux","version":"12"},"implementation":{"name":"CPython","version":"3.11.2"},"installer":{"name":"pip","version":"26.3"},"python":"3.11.2","system":{"name":"Linux","release":"6.1"}}"#;
    const UV: &str = r#"uv/0.13.8 {"installer":{"name":"uv","version":"0.13.8","subcommand":["pip","install"]},"python":"3.12.1","implementation":{"name":"CPython","version":"3.12.1"},"distro":null,"system":{"name":"Darwin","release":"23"},"cpu":"arm64","openssl_version":null,"setuptools_version":null,"rustc_version":null,"ci":null}"#;

    fn fit(agent: &str, wheel: &str) -> Option<Fit> {
        Installer::parse(agent)
            .unwrap()
            .fit(&FileName::parse(wheel).unwrap())
    }

    #[test]
    fn what_each_can_run() {
        for (agent, wheel, runs) in [
            (PIP, "a-1-py3-none-any.whl", true),
            (PIP, "a-1-py2.py3-none-any.whl", true),
            (PIP, "a-1-py2-none-any.whl", false),
            (
                PIP,
                "a-1-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
                true,
            ),
            (PIP, "a-1-cp311-cp311-manylinux_2_39_x86_64.whl", false),
            (PIP, "a-1-cp311-cp311-musllinux_1_2_x86_64.whl", false),
            (PIP, "a-1-cp311-cp311-manylinux_2_17_aarch64.whl", false),
            (PIP, "a-1-cp312-cp312-manylinux_2_17_x86_64.whl", false),
            (PIP, "a-1-cp38-abi3-manylinux_2_28_x86_64.whl", true),
            (PIP, "a-1-cp38-cp38-manylinux_2_28_x86_64.whl", false),
            (PIP, "a-1-pp311-pypy311_pp73-manylinux_2_17_x86_64.whl", false),
            (PIP, "a-1-1-py3-none-win_amd64.whl", false),
            (UV, "a-1-cp312-cp312-macosx_11_0_arm64.whl", true),
            (UV, "a-1-cp312-cp312-macosx_10_9_universal2.whl", true),
            (UV, "a-1-cp312-cp312-macosx_10_9_x86_64.whl", false),
            ("poetry/2.0 CPython/3.11", "a-1-py3-none-any.whl", true),
            (
                "poetry/2.0 CPython/3.11",
                "a-1-cp311-cp311-manylinux2014_x86_64.whl",
                false,
            ),
        ] {
            assert_eq!(fit(agent, wheel).is_some(), runs, "{wheel}");
        }
        assert!(
            fit(PIP, "a-1-cp311-cp311-manylinux2014_x86_64.whl")
                > fit(PIP, "a-1-cp38-abi3-manylinux_2_28_x86_64.whl")
        );
        assert!(fit(PIP, "a-1-cp38-abi3-manylinux2014_x86_64.whl") > fit(PIP, "a-1-py3-none-any.whl"));
    }

    #[test]
    fn others_are_no_installers() {
        for agent in ["curl/8.0", "Mozilla/5.0 (X11)", "pypicache/0.1", "", "pip"] {
            assert_eq!(Installer::parse(agent), None, "{agent}");
        }
    }

    #[test]
    fn requires_python_decides() {
        let pip = Installer::parse(PIP).unwrap();
        assert!(pip.satisfies(Some(">=3.8,<4")) && !pip.satisfies(Some(">=3.12")) && pip.satisfies(None));
    }

    proptest! {
        #[test]
        fn never_panics(agent in "(pip|uv)/1 \\PC{0,60}", wheel in "[a-z0-9_.-]{1,40}\\.whl") {
            let known = Installer::parse(PIP).unwrap();
            if let Ok(wheel) = FileName::parse(&wheel) {
                let _ = (known.fit(&wheel), Installer::parse(&agent).map(|installer| installer.fit(&wheel)));
            }
            let _ = known.satisfies(Some(&agent));
        }
    }
}
