//! Who an upstream takes us for. Passwords are hidden by their type: they cannot be printed.

use std::fmt;
use std::path::Path;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

/// A user's name and password for one upstream.
#[derive(Clone)]
pub struct Credentials {
    user: String,
    password: SecretString,
}

impl Credentials {
    /// For HTTP's Basic scheme.
    #[must_use]
    pub fn new(user: impl Into<String>, password: SecretString) -> Self {
        Self {
            user: user.into(),
            password,
        }
    }

    /// Takes the credentials out of a URL (`https://user:password@host/`), so that it can be shown.
    #[must_use]
    pub fn out_of(url: &mut Url) -> Option<Self> {
        if url.username().is_empty() && url.password().is_none() {
            return None;
        }
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let credentials = Self::new(
            decoded(url.username()),
            decoded(url.password().unwrap_or_default()).into(),
        );
        // Both only fail for URLs that cannot have credentials, and this one has.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        Some(credentials)
    }

    /// The request with these credentials.
    pub(super) fn sign(&self, builder: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        builder.basic_auth(&self.user, Some(self.password.expose_secret()))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(hidden)")
    }
}

/// A `.netrc` file as read: credentials by host name.
#[derive(Debug, Default)]
pub struct Netrc {
    machines: Vec<(Option<String>, Credentials)>,
}

/// The `.netrc` file cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the netrc file {path} cannot be read")]
pub struct NetrcError {
    path: String,
    #[source]
    cause: std::io::Error,
}

impl Netrc {
    /// Reads the file; one that does not exist holds nothing.
    pub fn read(path: &Path) -> Result<Self, NetrcError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(cause) => Err(NetrcError {
                path: path.display().to_string(),
                cause,
            }),
        }
    }

    /// Reads `machine`, `default`, `login` and `password`; other words are passed over, macros with all their lines.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut machines = Vec::new();
        let mut current: Option<(Option<String>, String, String)> = None;
        let without_macros = text
            .split("\n\n")
            .filter_map(|block| block.split("macdef").next());
        let mut words = without_macros.flat_map(str::split_ascii_whitespace);
        let mut finish = |entry: Option<(Option<String>, String, String)>| {
            if let Some((host, user, password)) = entry {
                machines.push((host, Credentials::new(user, password.into())));
            }
        };
        while let Some(word) = words.next() {
            match (word, &mut current) {
                ("machine", _) => {
                    let host = words.next().map(str::to_ascii_lowercase);
                    finish(current.replace((host, String::new(), String::new())));
                }
                ("default", _) => finish(current.replace((None, String::new(), String::new()))),
                ("login", Some((_, user, _))) => *user = words.next().unwrap_or_default().to_owned(),
                ("password", Some((_, _, password))) => {
                    *password = words.next().unwrap_or_default().to_owned()
                }
                _ => {}
            }
        }
        finish(current);
        Self { machines }
    }

    /// The credentials for a URL's host: its own entry, else the default.
    #[must_use]
    pub fn credentials(&self, url: &Url) -> Option<Credentials> {
        let host = url.host_str()?;
        let entry = |wanted: Option<&str>| self.machines.iter().find(|(name, _)| name.as_deref() == wanted);
        entry(Some(host))
            .or_else(|| entry(None))
            .map(|(_, credentials)| credentials.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(credentials: Option<Credentials>) -> Option<(String, String)> {
        credentials.map(|c| (c.user.clone(), c.password.expose_secret().to_owned()))
    }

    #[test]
    fn netrc_entries_are_found_by_host() {
        let netrc = Netrc::parse(
            "machine team.example login ann password s3cret\nmachine other.example\n  password p login bob\n\
             macdef init\nmachine fake.example login x password y\n\ndefault login anonymous password none\n",
        );
        let of = |url: &str| pair(netrc.credentials(&Url::parse(url).unwrap()));
        assert_eq!(
            of("https://team.example/simple/"),
            Some(("ann".into(), "s3cret".into()))
        );
        assert_eq!(of("https://other.example/"), Some(("bob".into(), "p".into())));
        assert_eq!(
            of("https://fake.example/"),
            Some(("anonymous".into(), "none".into()))
        );
    }

    #[test]
    fn credentials_leave_the_url_and_are_never_printed() {
        let mut url = Url::parse("https://ann:s3%40cret@team.example/simple/").unwrap();
        let credentials = Credentials::out_of(&mut url);
        assert_eq!(url.as_str(), "https://team.example/simple/");
        assert!(!format!("{credentials:?}").contains("ann"));
        assert_eq!(pair(credentials), Some(("ann".into(), "s3@cret".into())));
    }
}
