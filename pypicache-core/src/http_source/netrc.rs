//! Credentials out of a `.netrc` file, read as curl and Python's `netrc` module read it: the words by a crate that is a translation
//! of that module, and lines that begin with `#` as comments (curl).

use std::path::Path;

use url::Url;

use super::Credentials;

/// A `.netrc` file as read: credentials by host name.
#[derive(Debug, Default)]
pub struct Netrc {
    machines: Vec<(String, Credentials)>,
}

/// The `.netrc` file cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the netrc file {path} cannot be used: {reason}")]
pub struct NetrcError {
    path: String,
    reason: String,
}

/// The host name of the entry for all others.
const DEFAULT: &str = "default";

impl Netrc {
    /// Reads the file; one that does not exist holds nothing.
    pub fn read(path: &Path) -> Result<Self, NetrcError> {
        let failed = |reason: String| NetrcError {
            path: path.display().to_string(),
            reason,
        };
        match std::fs::read(path) {
            // Passwords of any encoding may stand beside the ones that are of use here.
            Ok(bytes) => Self::parse(&String::from_utf8_lossy(&bytes)).map_err(failed),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// The file that somebody named, else the one in the home directory. That one may be anything: where it cannot be used,
    /// that is said in the log, and it holds nothing.
    pub fn of_user(named: Option<&Path>, home: Option<&Path>) -> Result<Self, NetrcError> {
        if let Some(named) = named {
            return Self::read(named);
        }
        let Some(home) = home else {
            return Ok(Self::default());
        };
        Ok(Self::read(&home.join(".netrc")).unwrap_or_else(|error| {
            tracing::warn!(%error, "passwords of the netrc file are not used");
            Self::default()
        }))
    }

    /// Reads the text of such a file; an error says what is wrong in which line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_comment = |line: &&str| line.trim_start().starts_with('#');
        // Emptied, so that the numbers of lines stay right.
        let lines: Vec<_> = text
            .lines()
            .map(|line| if is_comment(&line) { "" } else { line })
            .collect();
        // The parser wants the file to end with a line's end.
        let parsed = format!("{}\n", lines.join("\n")).parse::<netrc::Netrc>();
        let parsed = parsed.map_err(|error| error.to_string())?;
        let machine = |(host, entry): (String, netrc::Authenticator)| {
            let credentials = Credentials::new(entry.login, entry.password.into());
            (host.to_ascii_lowercase(), credentials)
        };
        Ok(Self {
            machines: parsed.hosts.into_iter().map(machine).collect(),
        })
    }

    /// The credentials for a URL's host: its own entry, else the default.
    #[must_use]
    pub fn credentials(&self, url: &Url) -> Option<Credentials> {
        self.credentials_for(url.host_str()?)
    }

    /// The same for a host.
    #[must_use]
    pub fn credentials_for(&self, host: &str) -> Option<Credentials> {
        let entry = |wanted: &str| self.machines.iter().find(|(name, _)| name == wanted);
        let found = entry(host).or_else(|| entry(DEFAULT));
        found.map(|(_, credentials)| credentials.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Python 3.11's module gives for these files is written beside them.
    #[test]
    fn files_are_read_as_pythons_module_reads_them() {
        let cases: [(&str, Option<(&str, &str)>); 12] = [
            (
                "machine h.example login ann password s3cret",
                Some(("ann", "s3cret")),
            ),
            (
                "machine other.example\n  password p login bob\nmachine h.example\nlogin ann\npassword x\n",
                Some(("ann", "x")),
            ),
            (
                "machine h.example login ann password \"two words\"\n",
                Some(("ann", "two words")),
            ),
            (
                "machine h.example login ann password \"a\\\"b\"\n",
                Some(("ann", "a\"b")),
            ),
            (
                "# machine h.example login no password never\nmachine h.example login ann password x\n",
                Some(("ann", "x")),
            ),
            (
                "#machine h.example login no password never\ndefault login d password e\n",
                Some(("d", "e")),
            ),
            (
                "machine h.example # the old login no password never\nlogin ann password x\n",
                Some(("ann", "x")),
            ),
            (
                "machine h.example login ann password pass#word\n",
                Some(("ann", "pass#word")),
            ),
            (
                "macdef init\nmachine h.example login x password y\n\ndefault login d password e\n",
                Some(("d", "e")),
            ),
            (
                "machine h.example login ann account acc password x\n",
                Some(("ann", "x")),
            ),
            ("machine other.example login bob password p\n", None),
            ("", None),
        ];
        for (text, wanted) in cases {
            let netrc = Netrc::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let found = netrc
                .credentials_for("h.example")
                .map(|credentials| credentials.pair());
            let wanted = wanted.map(|(user, password)| (user.to_owned(), password.to_owned()));
            assert_eq!(found, wanted, "{text}");
        }
    }

    #[test]
    fn the_usual_file_may_be_anything_and_a_named_one_may_not() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(".netrc");
        for bytes in [&b"nonsense words\n"[..], b"machine\n"] {
            std::fs::write(&path, bytes).unwrap();
            assert!(Netrc::of_user(None, Some(home.path())).is_ok());
            assert!(Netrc::of_user(Some(&path), None).is_err());
        }
        std::fs::write(
            &path,
            b"machine x.example login \xff password y\nmachine h.example login a password b\n",
        )
        .unwrap();
        let netrc = Netrc::of_user(Some(&path), None).unwrap();
        assert_eq!(netrc.credentials_for("h.example").unwrap().pair().1, "b");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(Netrc::of_user(None, Some(home.path())).is_ok(), "unreadable");
    }
}
