//! Connections to upstreams: TLS by the system's trust store, proxies by the usual environment variables.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::addresses::{Resolver, Zone};

/// How long a connection may take to stand, name resolution and TLS included, unless something else is said.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1500);

/// What a client is made of.
#[derive(Debug, Clone, Default)]
pub struct ClientOptions {
    /// A PEM file of certificate authorities to trust beside the system's.
    pub extra_ca_file: Option<PathBuf>,
    /// Sent as `User-Agent`; empty: this crate's name and version.
    pub user_agent: String,
    /// How long a connection may take to stand, name resolution and TLS included. Default: 1.5 s. Less suits
    /// upstreams that have an equal behind them.
    pub connect_timeout: Option<Duration>,
}

/// Pools of connections. Clones share them. Redirects are left to the caller, who knows what they may lead to.
#[derive(Debug, Clone)]
pub struct HttpClient {
    /// Decompresses.
    pub(super) pages: reqwest::Client,
    /// Hands bytes on as they are: digests are of these. For hosts that were configured.
    pub(super) files: reqwest::Client,
    /// The same for hosts that somebody in a zone pointed to.
    elsewhere: Vec<(Zone, reqwest::Client)>,
}

/// The client cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The extra CA file cannot be read, or holds no certificate.
    #[error("the CA file {} cannot be used; it has to hold PEM certificates", .0.display())]
    CaFile(PathBuf, #[source] rustls::pki_types::pem::Error),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    /// The connection pool cannot be set up.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
}

impl HttpClient {
    /// Makes the pools. Nothing is connected yet.
    ///
    /// The system's trust store is used, and `SSL_CERT_FILE` and `SSL_CERT_DIR`; `HTTP_PROXY`, `HTTPS_PROXY`,
    /// `ALL_PROXY` and `NO_PROXY` are honoured.
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        let tls = tls_config(&options)?;
        let agent = match options.user_agent {
            agent if agent.is_empty() => concat!("pypicache/", env!("CARGO_PKG_VERSION")).to_owned(),
            agent => agent,
        };
        let connect_timeout = options.connect_timeout.unwrap_or(CONNECT_TIMEOUT);
        let builder = |from: Option<Zone>| {
            reqwest::Client::builder()
                .dns_resolver(Resolver { from })
                .tls_backend_preconfigured(tls.clone())
                .user_agent(agent.clone())
                .connect_timeout(connect_timeout)
                .redirect(Policy::none())
                .referer(false)
                .tcp_nodelay(true)
        };
        let files = |from| {
            builder(from)
                .no_gzip()
                .no_zstd()
                .build()
                .map_err(ClientError::Client)
        };
        let zones = [Zone::Public, Zone::Private, Zone::Loopback, Zone::Wire];
        let elsewhere = zones.map(|zone| Ok((zone, files(Some(zone))?)));
        Ok(Self {
            pages: builder(None).build().map_err(ClientError::Client)?,
            files: files(None)?,
            elsewhere: elsewhere.into_iter().collect::<Result<_, ClientError>>()?,
        })
    }

    /// For a host that an upstream in `zone` points to.
    pub(super) fn files_from(&self, zone: Zone) -> &reqwest::Client {
        let found = self.elsewhere.iter().find(|(of, _)| *of == zone);
        found.map_or(&self.files, |(_, client)| client)
    }
}

/// TLS by ring and the system's trust store, without touching any process-wide default.
fn tls_config(options: &ClientOptions) -> Result<rustls::ClientConfig, ClientError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let extra = match &options.extra_ca_file {
        Some(path) => extra_authorities(path)?,
        None => Vec::new(),
    };
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(ClientError::Tls)?;
    let mut config = match rustls_platform_verifier::Verifier::new_with_extra_roots(extra, provider) {
        Ok(verifier) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth(),
        Err(error) => {
            // Plain-http upstreams work without; https ones will say that their certificate is not trusted.
            tracing::warn!(%error, "no certificate authority is trusted: install the system's CA certificates or set SSL_CERT_FILE");
            builder
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn extra_authorities(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let failed = |error| ClientError::CaFile(path.clone(), error);
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(failed)?
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    match certificates.is_empty() {
        true => Err(failed(rustls::pki_types::pem::Error::NoItemsFound)),
        false => Ok(certificates),
    }
}
