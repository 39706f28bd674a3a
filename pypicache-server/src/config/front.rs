//! How the server is reached: TLS, reverse proxies, its own name.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use toml::Spanned;
use url::Url;

use super::file::ConfigFile;
use super::{ConfigError, upstream};
use crate::http::proxy::Proxies;

pub(super) fn external_url(file: &ConfigFile) -> Result<Option<Url>, ConfigError> {
    let Some(raw) = &file.raw.external_url else {
        return Ok(None);
    };
    let url = upstream::parse_url(raw.get_ref());
    url.map(Some).map_err(|_| {
        let problem = "this is no URL of a server: write https://pypi.team.example/";
        file.wrong(&raw.span(), "external-url", problem)
    })
}

/// Certificate and key: both or none.
pub(super) fn tls(file: &ConfigFile) -> Result<Option<(PathBuf, PathBuf)>, ConfigError> {
    match (&file.raw.tls.cert, &file.raw.tls.key) {
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => Ok(Some((file.beside(cert.get_ref()), file.beside(key.get_ref())))),
        (Some(given), None) => Err(file.wrong(&given.span(), "tls.cert", "a key is needed as well: tls.key")),
        (None, Some(given)) => Err(file.wrong(
            &given.span(),
            "tls.key",
            "a certificate is needed as well: tls.cert",
        )),
    }
}

pub(super) fn proxies(file: &ConfigFile) -> Result<Proxies, ConfigError> {
    let network = |text: &Spanned<String>| {
        let parsed = text.get_ref().parse::<IpNet>();
        let parsed = parsed.or_else(|_| text.get_ref().parse::<IpAddr>().map(IpNet::from));
        parsed.map_err(|_| {
            let problem = "this is no address or network: write \"127.0.0.1\" or \"10.0.0.0/8\"";
            file.wrong(&text.span(), "trusted-proxies", problem)
        })
    };
    let prefix = file.raw.path_prefix.as_ref();
    let path_prefix = prefix.map_or("", |prefix| prefix.get_ref().trim_end_matches('/'));
    if let Some(prefix) = prefix
        && !(path_prefix.starts_with('/')
            && path_prefix
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"/-_.".contains(&b)))
    {
        return Err(file.wrong(&prefix.span(), "path-prefix", "this is no path: write \"/pypi\""));
    }
    Ok(Proxies {
        trusted: file
            .raw
            .trusted_proxies
            .iter()
            .map(network)
            .collect::<Result<_, _>>()?,
        path_prefix: path_prefix.to_owned(),
    })
}
