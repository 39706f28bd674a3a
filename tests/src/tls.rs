//! A TLS front for a plain server, with a certificate that its own authority signed.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ServerConfig, crypto};

/// A certificate authority of a test's own.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A new one, which nobody trusts.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "each is another")]
    pub fn new() -> Self {
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // OpenSSL takes a certificate whose issuer has its own name for one that signed itself.
        ca.distinguished_name
            .push(DnType::CommonName, "an authority of the tests");
        Self(CertifiedIssuer::self_signed(ca, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate, PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for `localhost` with its key.
    #[must_use]
    pub fn certificate(&self) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let names = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (names.signed_by(&key, &self.0).unwrap(), key)
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

/// A running front.
#[derive(Debug)]
pub struct TlsFront {
    /// Where it listens; its certificate is for `localhost`.
    pub address: SocketAddr,
    /// The authority's certificate, PEM.
    pub authority: String,
}

impl TlsFront {
    /// Passes on what it decrypts to `plain`.
    pub async fn start(plain: SocketAddr) -> Self {
        let authority = Authority::new();
        let (certificate, key) = authority.certificate();
        let provider = Arc::new(crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let front = Self {
            address: listener.local_addr().unwrap(),
            authority: authority.pem(),
        };
        tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), plain));
        front
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, plain: SocketAddr) {
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // A client that does not trust the certificate hangs up here.
            let Ok(mut decrypted) = acceptor.accept(stream).await else {
                return;
            };
            let mut server = TcpStream::connect(plain).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut decrypted, &mut server).await;
        });
    }
}
