//! A plain HTTP client: no redirects, no decompression, every header as it came.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use url::Url;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A response, whole.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body; an error's text where it broke off.
    pub body: Result<Bytes, String>,
}

impl Reply {
    /// A header's value, empty where it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The whole body.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        self.body.as_ref().unwrap()
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(self.bytes()).unwrap()
    }
}

/// Sends a request and hands the response back as soon as its head is in.
pub async fn open(method: Method, url: &Url, headers: &[(&str, &str)]) -> Response<Incoming> {
    try_open(method, url, headers).await.unwrap()
}

/// Whether the answer to a GET ends before it is whole, be it in the body or before its head.
pub async fn breaks_off(url: &Url) -> bool {
    match try_open(Method::GET, url, &[]).await {
        Ok(response) => response.into_body().collect().await.is_err(),
        Err(_) => true,
    }
}

async fn try_open(method: Method, url: &Url, headers: &[(&str, &str)]) -> Result<Response<Incoming>, Error> {
    try_send(method, url, headers, Bytes::new()).await
}

async fn try_send(
    method: Method,
    url: &Url,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Result<Response<Incoming>, Error> {
    let address = (url.host_str().unwrap(), url.port_or_known_default().unwrap());
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .header("host", url.authority());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body)).unwrap();
    Ok(sender.send_request(request).await?)
}

/// Sends a request and takes the whole response in.
pub async fn send(method: Method, url: &Url, headers: &[(&str, &str)]) -> Reply {
    whole(open(method, url, headers).await).await
}

/// POST.
pub async fn post(url: &Url, headers: &[(&str, &str)], body: Vec<u8>) -> Reply {
    whole(try_send(Method::POST, url, headers, body.into()).await.unwrap()).await
}

/// POST to a server that may be killed: the status, if one came.
pub async fn try_post(url: &Url, headers: &[(&str, &str)], body: Bytes) -> Option<StatusCode> {
    let response = try_send(Method::POST, url, headers, body).await.ok()?;
    Some(response.status())
}

async fn whole(response: Response<Incoming>) -> Reply {
    let (head, body) = response.into_parts();
    let body = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .map_err(|error| error.to_string());
    Reply {
        status: head.status,
        headers: head.headers,
        body,
    }
}

/// GET.
pub async fn get(url: &Url, headers: &[(&str, &str)]) -> Reply {
    send(Method::GET, url, headers).await
}

/// GET of a server that may be gone: the status and the whole body, if both came.
pub async fn try_get(url: &Url, headers: &[(&str, &str)]) -> Option<(StatusCode, Bytes)> {
    let response = try_open(Method::GET, url, headers).await.ok()?;
    let status = response.status();
    let body = response.into_body().collect().await.ok()?;
    Some((status, body.to_bytes()))
}

/// GET of a page as JSON.
pub async fn get_json(url: &Url) -> Reply {
    get(url, &[("accept", "application/vnd.pypi.simple.v1+json")]).await
}

/// Sends bytes as they are and reads until the server closes, or the first answer is in.
pub async fn raw(url: &Url, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect((url.host_str().unwrap(), url.port().unwrap()))
        .await
        .unwrap();
    // The server may close before it has read all.
    let _ = stream.write_all(bytes).await;
    let mut answer = vec![0; 4096];
    let count = stream.read(&mut answer).await.unwrap_or(0);
    String::from_utf8_lossy(&answer[..count]).into_owned()
}
