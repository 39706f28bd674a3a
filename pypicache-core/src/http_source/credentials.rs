//! Who an upstream takes us for. Passwords are hidden by their type: they cannot be printed.

use std::fmt;

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

    #[cfg(test)]
    pub(super) fn pair(&self) -> (String, String) {
        (self.user.clone(), self.password.expose_secret().to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_leave_the_url_and_are_never_printed() {
        let mut url = Url::parse("https://ann:s3%40cret@team.example/simple/").unwrap();
        let credentials = Credentials::out_of(&mut url);
        assert_eq!(url.as_str(), "https://team.example/simple/");
        assert!(!format!("{credentials:?}").contains("ann"));
        let credentials = credentials.unwrap();
        assert_eq!(credentials.pair(), ("ann".to_owned(), "s3@cret".to_owned()));
    }
}
