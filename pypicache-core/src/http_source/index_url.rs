//! The URL of an index, parts of which may be secret: a user's password, and with some indexes a token in the path.
//!
//! What is secret is known by its text. It is shown nowhere, and is no part of what the URL stands for: files keep their
//! paths, and pages their links, when the secret is replaced by another one.

use std::fmt;
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::Credentials;

/// What is shown in the place of a secret.
const HIDDEN: &str = "***";

/// The URL of an index: `Display` and `Debug` show it without what is secret.
#[derive(Clone)]
pub struct IndexUrl {
    /// Ends with a slash, carries no user.
    url: Url,
    credentials: Option<Credentials>,
    secrets: Secrets,
    shown: Arc<str>,
}

/// The secret texts of one URL, as they stand in URLs.
#[derive(Clone, Default)]
pub(super) struct Secrets(Arc<[SecretString]>);

impl IndexUrl {
    /// A URL in which `secrets` stand somewhere (as they stand there: percent-encoded). A user and password in it are taken
    /// out; a slash is added where it does not end in one.
    #[must_use]
    pub fn new(mut url: Url, secrets: Vec<SecretString>) -> Self {
        let credentials = Credentials::out_of(&mut url);
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        url.set_fragment(None);
        // The longest first, since one may be a part of another; nothing is hidden by an empty one.
        let mut secrets: Vec<_> = secrets;
        secrets.retain(|secret| !secret.expose_secret().is_empty());
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose_secret().len()));
        let secrets = Secrets(secrets.into());
        let mut public = url.clone();
        public.set_query(None);
        Self {
            shown: secrets.shown(public.as_str()).into(),
            url,
            credentials,
            secrets,
        }
    }

    /// Without what is secret; the query is secret as a whole.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.shown
    }

    /// The host's name or address, if it has one and that is not secret.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.url.host_str()
    }

    pub(super) fn into_parts(self) -> (Url, Option<Credentials>, Secrets, Arc<str>) {
        (self.url, self.credentials, self.secrets, self.shown)
    }
}

impl Secrets {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A URL's path without them: what is left is the same whatever they are.
    pub(super) fn removed(&self, path: &str) -> String {
        let removed = self.replaced(path, |_| String::new());
        let mut path = String::with_capacity(removed.len());
        for part in removed.split('/').filter(|part| !part.is_empty()) {
            path.push('/');
            path.push_str(part);
        }
        path
    }

    /// Text for people.
    pub(super) fn shown(&self, text: &str) -> String {
        self.replaced(text, |_| HIDDEN.to_owned())
    }

    /// A link as it is kept on disk.
    pub(super) fn hidden(&self, link: &str) -> String {
        self.replaced(link, |number| format!("{{secret-{number}}}"))
    }

    /// The link again, with the secrets of today.
    pub(super) fn revealed(&self, link: &str) -> String {
        let mut revealed = link.to_owned();
        for (number, secret) in self.0.iter().enumerate() {
            revealed = revealed.replace(&format!("{{secret-{number}}}"), secret.expose_secret());
        }
        revealed
    }

    fn replaced(&self, text: &str, with: impl Fn(usize) -> String) -> String {
        let mut replaced = text.to_owned();
        for (number, secret) in self.0.iter().enumerate() {
            replaced = replaced.replace(secret.expose_secret(), &with(number));
        }
        replaced
    }
}

impl From<Url> for IndexUrl {
    fn from(url: Url) -> Self {
        Self::new(url, Vec::new())
    }
}

impl fmt::Display for IndexUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for IndexUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IndexUrl({})", self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_shown_nowhere_and_links_survive_new_ones() {
        let url = |secret: &str| {
            let url = format!("https://ann:pw@host.example/t/{secret}/simple?key={secret}");
            IndexUrl::new(url.parse().unwrap(), vec![secret.to_owned().into()])
        };
        let (old, new) = (url("0ld"), url("n3w"));
        assert_eq!(old.as_str(), "https://host.example/t/***/simple/");
        assert_eq!(old.as_str(), new.as_str());
        let printed = format!("{old} {old:?}");
        assert!(!printed.contains("0ld") && !printed.contains("pw"), "{printed}");
        let (_, _, old, _) = old.into_parts();
        let (_, _, new, _) = new.into_parts();
        let kept = old.hidden("https://host.example/t/0ld/f/six-1.0.tar.gz");
        assert_eq!(new.revealed(&kept), "https://host.example/t/n3w/f/six-1.0.tar.gz");
        assert_eq!(old.removed("/t/0ld/f/six-1.0.tar.gz"), "/t/f/six-1.0.tar.gz");
        assert_eq!(old.removed("/t-0ld/f/six-1.0.tar.gz"), "/t-/f/six-1.0.tar.gz");
    }
}
