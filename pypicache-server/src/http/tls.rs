//! TLS towards clients, from PEM files that may change while the server runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

/// How often the files are looked at, at the most.
const LOOK: Duration = Duration::from_secs(1);

/// A certificate with its key. Clones share what they have read.
#[derive(Debug, Clone)]
pub struct Tls(Arc<Files>);

#[derive(Debug)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
    /// A std mutex: held for a look at two files at the most.
    current: Mutex<Current>,
}

struct Current {
    config: Arc<ServerConfig>,
    stamp: Stamp,
    looked: Instant,
}

/// When the two files were last changed.
type Stamp = [Option<SystemTime>; 2];

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read, or does not hold what it should.
    #[error("{} cannot be used; it has to hold {what} in PEM", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// Why.
        #[source]
        cause: rustls::pki_types::pem::Error,
    },
    /// Certificate and key do not go together, or are not supported.
    #[error("the certificate {} and its key cannot be used", path.display())]
    Pair {
        /// The certificate.
        path: PathBuf,
        /// Why.
        #[source]
        cause: rustls::Error,
    },
}

impl Tls {
    /// Reads the certificate (with those of its authorities behind it) and the key.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let current = Current {
            stamp: stamp(cert, key),
            config: Arc::new(read(cert, key)?),
            looked: Instant::now(),
        };
        Ok(Self(Arc::new(Files {
            cert: cert.to_owned(),
            key: key.to_owned(),
            current: Mutex::new(current),
        })))
    }

    /// What the next connection is accepted with. Files that changed are read again; ones that cannot be used change nothing.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let Files { cert, key, current } = &*self.0;
        let mut current = current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked.elapsed() >= LOOK {
            current.looked = Instant::now();
            let stamp = stamp(cert, key);
            if stamp != current.stamp {
                match read(cert, key) {
                    Ok(config) => {
                        tracing::info!(cert = %cert.display(), "the certificate was read again");
                        current.config = Arc::new(config);
                        current.stamp = stamp;
                    }
                    // Not remembered: it is tried again until both files are there and fit.
                    Err(error) => {
                        let cause = std::error::Error::source(&error).map(ToString::to_string);
                        tracing::warn!(%error, cause, "the old certificate stays in use");
                    }
                }
            }
        }
        TlsAcceptor::from(current.config.clone())
    }
}

fn stamp(cert: &Path, key: &Path) -> Stamp {
    [cert, key].map(|path| fs::metadata(path).and_then(|facts| facts.modified()).ok())
}

fn read(cert: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let file = |path: &Path, what| {
        let path = path.to_owned();
        move |cause| TlsError::File { path, what, cause }
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(file(cert, "a certificate"))?;
    if chain.is_empty() {
        let cause = rustls::pki_types::pem::Error::NoItemsFound;
        return Err(file(cert, "a certificate")(cause));
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(file(key, "a private key"))?;
    let pair = |cause| TlsError::Pair {
        path: cert.to_owned(),
        cause,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// A handshake that took too long.
pub(crate) fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long")
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Current")
            .field("stamp", &self.stamp)
            .finish_non_exhaustive()
    }
}
