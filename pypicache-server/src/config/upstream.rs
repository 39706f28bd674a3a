//! Upstreams as people write them: a URL, or the alias `pypi`.

use pypicache_core::http_source::PYPI;
use url::Url;

/// The index URL that `text` means, or what is wrong with it. Credentials in it never stand in the message.
pub(super) fn parse(text: &str) -> Result<Url, String> {
    let text = if text == "pypi" { PYPI } else { text };
    let shape = "write http://host/simple/ or https://host/simple/, or pypi for PyPI itself";
    let mut url = Url::parse(text).map_err(|error| format!("this is no URL ({error}): {shape}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(format!("this is no URL of an index: {shape}"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("an index has no '?' or '#' in its URL: {shape}"));
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn upstreams() {
        assert_eq!(parse("pypi").unwrap().as_str(), pypicache_core::http_source::PYPI);
        assert_eq!(
            parse("http://team.example:6283/simple").unwrap().as_str(),
            "http://team.example:6283/simple/"
        );
        for text in [
            "team.example",
            "ftp://team.example/simple/",
            "htp://x",
            "",
            "http://",
            "http://team.example/simple/?x",
            "file:///simple/",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(
            !parse("ftp://ann:s3cret@team.example/")
                .unwrap_err()
                .contains("s3cret")
        );
    }
}
