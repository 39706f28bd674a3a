//! Connections to upstreams: TLS by the system's trust store, proxies by the usual environment variables.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::{Attempt, Policy};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// How long a connection may take to stand, name resolution and TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1500);

/// How long a body may pause before it counts as broken.
const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 5;

/// What a client is made of.
#[derive(Debug, Clone, Default)]
pub struct ClientOptions {
    /// A PEM file of certificate authorities to trust beside the system's.
    pub extra_ca_file: Option<PathBuf>,
    /// Sent as `User-Agent`; empty: this crate's name and version.
    pub user_agent: String,
}

/// Pools of connections, one for pages and one for files. Clones share them.
#[derive(Debug, Clone)]
pub struct HttpClient {
    /// Decompresses.
    pub(super) pages: reqwest::Client,
    /// Hands bytes on as they are: digests are of these.
    pub(super) files: reqwest::Client,
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
        let builder = || {
            reqwest::Client::builder()
                .tls_backend_preconfigured(tls.clone())
                .user_agent(agent.clone())
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(READ_TIMEOUT)
                .redirect(Policy::custom(follow))
                .referer(false)
                .tcp_nodelay(true)
        };
        Ok(Self {
            pages: builder().build().map_err(ClientError::Client)?,
            files: builder()
                .no_gzip()
                .no_zstd()
                .build()
                .map_err(ClientError::Client)?,
        })
    }
}

/// Redirects are bounded, and never lead from https to http. (Credentials are dropped by the client when the
/// host changes.)
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let was_https = attempt
        .previous()
        .last()
        .is_some_and(|url| url.scheme() == "https");
    if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error("too many redirects")
    } else if was_https && attempt.url().scheme() != "https" {
        attempt.error("a redirect from https to http is not followed")
    } else {
        attempt.follow()
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
