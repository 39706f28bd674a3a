//! How a file's URL becomes its identity.
//!
//! * A link on a tier of ours (same origin as the index, below its `files/`) keeps the path it has there.
//! * Any other link becomes `<source>/<path of the URL>`; query and host have no part in it.
//! * A link whose path does not end in the file's name, or cannot be an identity, becomes
//!   `<source>/-/<digest of the path>/<name>`.
//!
//! So a file has the same path at every tier, and whichever upstream of a source answered.

use percent_encoding::percent_decode_str;
use url::Url;

use super::HttpSource;
use crate::model::{FilePath, InvalidFilePath};

impl HttpSource {
    /// The identity of the file at `path` of an origin, called `filename` where the page tells that apart from the link.
    pub(super) fn path_of(
        &self,
        origin: &Url,
        path: &str,
        filename: Option<&str>,
    ) -> Result<FilePath, InvalidFilePath> {
        let below_files = self
            .tier_files
            .as_ref()
            .and_then(|files| below(files, origin, path));
        // Nobody's token is a part of what a file is.
        let public = (!self.secrets.is_empty()).then(|| self.secrets.removed(path));
        let path = public.as_deref().unwrap_or(path);
        let plain = match below_files {
            Some(path) => FilePath::from_encoded(path),
            None => {
                let path = path.strip_prefix('/').unwrap_or(path);
                FilePath::from_encoded(&format!("{}/{path}", self.name))
            }
        };
        let Some(filename) = filename else {
            return match (plain, last_segment(path)) {
                (Err(InvalidFilePath::Shape), Some(name)) => FilePath::of_other_url(&self.name, path, &name),
                (plain, _) => plain,
            };
        };
        match plain {
            Ok(plain) if plain.as_str().ends_with(filename) && plain.file_name().as_str() == filename => {
                Ok(plain)
            }
            plain => FilePath::of_other_url(&self.name, path, filename).or(plain),
        }
    }
}

/// What stands behind the last slash, decoded.
fn last_segment(path: &str) -> Option<String> {
    let last = percent_decode_str(path.rsplit('/').next()?).decode_utf8().ok()?;
    Some(last.rsplit('/').next()?.to_owned())
}

/// Where the files would live if the upstream were a tier of ours: `…/simple/` has `…/files/` beside it.
pub(super) fn tier_files(index: &Url) -> Option<Url> {
    let is_simple = index.path().ends_with("/simple/");
    is_simple.then(|| index.join("../files/").ok()).flatten()
}

/// The rest of `path` below `root`, if it is of the same origin and has at least two segments.
fn below<'a>(root: &Url, origin: &Url, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix(root.path()).filter(|rest| rest.contains('/'))?;
    let same_place =
        origin.scheme() == root.scheme() && origin.host() == root.host() && origin.port() == root.port();
    same_place.then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_source::{ClientOptions, HttpClient, HttpOptions};

    fn path(index: &str, url: &str) -> Option<String> {
        let client = HttpClient::new(ClientOptions::default()).unwrap();
        let source = HttpSource::new("pypi", Url::parse(index).unwrap(), client, HttpOptions::default());
        let url = Url::parse(url).unwrap();
        source
            .path_of(&url, url.path(), None)
            .ok()
            .map(|path| path.as_str().to_owned())
    }

    #[test]
    fn a_file_has_one_path_whichever_tier_tells_of_it() {
        let at_origin = path(
            "https://index.example/simple/",
            "https://files.example/packages/ab/cd/six-1.0.tar.gz#sha256=00",
        );
        let by_team = path(
            "http://team.example:6283/simple/",
            "http://team.example:6283/files/pypi/packages/ab/cd/six-1.0.tar.gz",
        );
        let by_index = path(
            "http://team.example/torch/simple/",
            "http://team.example/torch/files/pypi/packages/ab/cd/six-1.0.tar.gz",
        );
        assert_eq!(at_origin.as_deref(), Some("pypi/packages/ab/cd/six-1.0.tar.gz"));
        assert_eq!(by_team, at_origin);
        assert_eq!(by_index, at_origin);
    }

    #[test]
    fn the_query_is_no_part_of_it_and_no_path_climbs() {
        let index = "https://index.example/simple/";
        assert_eq!(
            path(index, "https://bucket.example/a/six-1.0.tar.gz?X-Signature=1").as_deref(),
            Some("pypi/a/six-1.0.tar.gz")
        );
        let odd = [
            "https://files.example/a/..%2f..%2fsix-1.0.tar.gz",
            "https://files.example/a//six-1.0.tar.gz",
            "https://files.example/a%25b/six-1.0.tar.gz",
        ];
        let long = format!("https://files.example/{}/six-1.0.tar.gz", "a".repeat(1100));
        for url in odd.into_iter().chain([&*long]) {
            let path = path(index, url).unwrap();
            assert!(
                path.starts_with("pypi/-/") && path.ends_with("/six-1.0.tar.gz"),
                "{path}"
            );
            assert!(!path.contains(".."));
        }
        assert_eq!(
            path(index, "https://files.example/files/six-1.0.tar.gz").as_deref(),
            Some("pypi/files/six-1.0.tar.gz")
        );
    }
}
