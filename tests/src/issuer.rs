//! An issuer of identity tokens (OpenID Connect), and the endpoint from which a job of GitHub's gets its own.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

/// A running issuer.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// What stands in its tokens.
    pub url: Url,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    key: Mutex<(String, KeyPair)>,
    /// Claims of the tokens that jobs get.
    job: Mutex<Value>,
}

impl Issuer {
    /// Starts one whose jobs have these claims beside the usual ones.
    pub async fn start(job: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: Url = format!("http://{}", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let shared = Arc::new(Shared {
            key: Mutex::new(("first".to_owned(), key)),
            job: Mutex::new(job),
        });
        let issuer = Self { url, shared };
        let serving = issuer.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let issuer = serving.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let issuer = issuer.clone();
                        async move { Ok::<_, Infallible>(issuer.answer(&request)) }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        issuer
    }

    /// An identity token with these claims over the usual ones; a claim that is null is left out.
    #[must_use]
    pub fn token(&self, over: &Value) -> String {
        self.signed(over, None)
    }

    /// The same, signed by a key that the issuer does not have.
    #[must_use]
    pub fn forged(&self, over: &Value) -> String {
        self.signed(
            over,
            Some(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()),
        )
    }

    /// Signs by another key from now on.
    pub fn change_key(&self) {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        *self.shared.key.lock().unwrap() = ("second".to_owned(), key);
    }

    fn signed(&self, over: &Value, other: Option<KeyPair>) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({
            "iss": self.url.as_str().trim_end_matches('/'), "aud": "pypicache", "iat": now, "nbf": now, "exp": now + 300, "sub": "job",
        });
        let job = self.shared.job.lock().unwrap().clone();
        let target = claims.as_object_mut().unwrap();
        for (name, value) in job.as_object().unwrap().iter().chain(over.as_object().unwrap()) {
            match value.is_null() {
                true => drop(target.remove(name)),
                false => drop(target.insert(name.clone(), value.clone())),
            }
        }
        let key = self.shared.key.lock().unwrap();
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(key.0.clone());
        let der = other.as_ref().unwrap_or(&key.1).serialize_der();
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ec_der(&der)).unwrap()
    }

    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let document = match request.uri().path() {
            "/.well-known/openid-configuration" => {
                json!({ "issuer": self.url.as_str().trim_end_matches('/'), "jwks_uri": self.url.join("keys").unwrap() })
            }
            "/keys" => {
                let key = self.shared.key.lock().unwrap();
                // An uncompressed point: 4, then both coordinates.
                let point = key.1.public_key_raw();
                let (x, y) = point[1..].split_at(32);
                json!({ "keys": [{ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": key.0,
                    "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) }] })
            }
            "/job" => {
                let query = request.uri().query().unwrap_or_default();
                let audience =
                    url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "audience");
                let audience = audience.map(|(_, value)| value.into_owned()).unwrap_or_default();
                json!({ "value": self.token(&json!({ "aud": audience })) })
            }
            _ => Value::Null,
        };
        Response::builder()
            .header("content-type", "application/json")
            .body(Full::new(document.to_string().into()))
            .unwrap()
    }
}
