//! The page at `/`: what this is, and how to point installers at it.

use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{HeaderMap, Response};

use crate::http::respond::{Reply, full};
use crate::site::Site;

const TEMPLATE: &str = include_str!("front_page.html");

/// How to publish, where that is possible.
const PUBLISHING: &str = "<h2>Publish here</h2>
    <pre>uv publish --publish-url {base}/legacy/ dist/*
twine upload --repository-url {base}/legacy/ dist/*</pre>
    <p>It takes a token: whoever runs this server makes one with <code>pypicache token create</code>.</p>";

/// The page, with the address that the client used.
pub(crate) fn front_page(site: &Site, headers: &HeaderMap) -> Reply {
    let host = headers
        .get(HOST)
        .and_then(|value| value.to_str().ok())
        .filter(|host| is_plain(host))
        .unwrap_or("127.0.0.1:6283");
    let base = match &site.external_url {
        Some(url) => url.as_str().trim_end_matches('/').to_owned(),
        None => format!("{}://{host}{}", site.scheme, site.proxies.path_prefix),
    };
    let further: String = site
        .indexes
        .iter()
        .filter(|index| !index.path.is_empty())
        .map(|index| {
            format!(
                "<li><a href=\"{0}/simple/\"><code>/{0}/simple/</code></a></li>",
                html_escape::encode_safe(&index.path)
            )
        })
        .collect();
    let further = if further.is_empty() {
        String::new()
    } else {
        format!("<h2>Further indexes</h2><ul>{further}</ul>")
    };
    let publishing = match site.hosting().next() {
        Some(_) => PUBLISHING,
        None => "",
    };
    let page = TEMPLATE
        .replace("{publishing}", publishing)
        .replace("{version}", env!("CARGO_PKG_VERSION"))
        .replace("{further}", &further)
        .replace("{base}", &html_escape::encode_double_quoted_attribute(&base));
    let mut response = Response::new(full(page.into()));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response
}

/// A host and port as they come, nothing that could mean something in HTML.
fn is_plain(host: &str) -> bool {
    host.len() <= 260
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']' | b'_'))
}
