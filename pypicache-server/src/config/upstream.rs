//! Upstreams as people write them: a URL, perhaps with secrets out of the environment or a file in it, or the alias `pypi`.

use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use pypicache_core::http_source::{IndexUrl, PYPI};
use secrecy::SecretString;
use url::Url;

/// What of a secret stands in a URL as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What is written in the place of what is not understood.
const SHAPE: &str = "write http://host/simple/ or https://host/simple/, or pypi for PyPI itself";

/// The index URL that `text` means, or what is wrong with it; relative paths in it are looked for through `beside`. Nothing that is
/// secret in it stands in the message.
///
/// `{env:NAME}` and `{file:PATH}` stand for the value of an environment variable and the first line of a file, in any part of the URL.
pub(super) fn parse(text: &str, beside: &dyn Fn(&Path) -> std::path::PathBuf) -> Result<IndexUrl, String> {
    let text = if text == "pypi" { PYPI } else { text };
    let (text, secrets) = filled_in(text, beside)?;
    let url = parse_url(&text)?;
    if url.query().is_some() && secrets.is_empty() {
        return Err(format!("an index has no '?' in its URL: {SHAPE}"));
    }
    Ok(IndexUrl::new(url, secrets))
}

/// What is a URL of a server at all, ending in a slash.
pub(super) fn parse_url(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text).map_err(|error| format!("this is no URL ({error}): {SHAPE}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(format!("this is no URL of an index: {SHAPE}"));
    }
    if url.fragment().is_some() {
        return Err(format!("an index has no '#' in its URL: {SHAPE}"));
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

/// The text with its placeholders filled in, and what was put there.
fn filled_in(
    text: &str,
    beside: &dyn Fn(&Path) -> std::path::PathBuf,
) -> Result<(String, Vec<SecretString>), String> {
    let (mut filled, mut secrets, mut rest) = (String::new(), Vec::new(), text);
    while let Some(start) = rest.find('{') {
        let Some(length) = rest[start..].find('}') else {
            return Err("there is a '{' without a '}'".to_owned());
        };
        let value = value_of(&rest[start + 1..start + length], beside)?;
        let encoded = utf8_percent_encode(&value, UNRESERVED).to_string();
        filled.push_str(&rest[..start]);
        filled.push_str(&encoded);
        secrets.push(encoded.into());
        rest = &rest[start + length + 1..];
    }
    filled.push_str(rest);
    Ok((filled, secrets))
}

fn value_of(placeholder: &str, beside: &dyn Fn(&Path) -> std::path::PathBuf) -> Result<String, String> {
    let value = match placeholder.split_once(':') {
        Some(("env", name)) => std::env::var(name)
            .map_err(|_| format!("the environment variable {name} is not set, or is no text"))?,
        Some(("file", path)) => {
            let path = beside(Path::new(path));
            let text = std::fs::read_to_string(&path)
                .map_err(|error| format!("the file {} cannot be read: {error}", path.display()))?;
            text.lines().next().unwrap_or_default().trim().to_owned()
        }
        _ => return Err("what stands in braces is {env:NAME} or {file:PATH}".to_owned()),
    };
    match value.is_empty() {
        true => Err(format!("{{{placeholder}}} stands for nothing")),
        false => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<IndexUrl, String> {
        super::parse(text, &Path::to_owned)
    }

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
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        std::fs::write(&file, "s3/cret\n").unwrap();
        let placeholder = format!("{{file:{}}}", file.display());
        let hidden = parse(&format!(
            "https://team.example/{placeholder}/simple?key={placeholder}"
        ))
        .unwrap();
        assert_eq!(hidden.as_str(), "https://team.example/***/simple/");
        assert!(!format!("{hidden:?}").contains("s3"));
        for text in [
            "https://h.example/{env:NOT_SET_ANYWHERE}/",
            "https://h.example/{file:none}/",
            "https://h.example/{x}/",
            "https://h.example/{/",
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
