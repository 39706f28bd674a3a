//! What is served: pages of 48, 244 and 4,312 files, small wheels, a large file; and an upstream that sends these bytes
//! as they are, as late as it is told.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use pypicache_tests::package::{Package, Wheel, noise, plain, sha256};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

pub(crate) const JSON: &str = "application/vnd.pypi.simple.v1+json";

/// How many small projects there are beside those of the table.
pub(crate) const SMALL_PROJECTS: usize = 300;

pub(crate) struct Corpus {
    /// By path: type, plain bytes, gzipped bytes where it is a page.
    documents: BTreeMap<String, (&'static str, Bytes, Option<Bytes>)>,
    pub(crate) large: Bytes,
}

pub(crate) const LARGE: &str = "/packages/big/large-1.0-py3-none-any.whl";

impl Corpus {
    pub(crate) fn new(large: usize) -> Self {
        let mut corpus = Self {
            documents: BTreeMap::new(),
            large: noise(large).into(),
        };
        for (name, files) in [("small", 48), ("medium", 244), ("huge", 4312)] {
            corpus.add(
                name,
                (0..files).map(|number| Wheel::new(name, &format!("1.{number}")).build()),
            );
        }
        for number in 0..SMALL_PROJECTS {
            let name = format!("leaf-{number}");
            corpus.add(&name, [Wheel::new(&name, "1.0").payload(10_000).build()]);
        }
        let package = plain("large-1.0-py3-none-any.whl", corpus.large.to_vec());
        let page = page("large", &[entry(&package, LARGE)]);
        corpus.add_page("large", page);
        corpus.documents.insert(
            LARGE.to_owned(),
            ("application/octet-stream", corpus.large.clone(), None),
        );
        corpus
    }

    fn add(&mut self, project: &str, packages: impl IntoIterator<Item = Package>) {
        let mut entries = Vec::new();
        for package in packages {
            let path = format!("/packages/{}/{}", &package.sha256[..2], package.filename);
            entries.push(entry(&package, &path));
            if let Some(metadata) = package.metadata {
                let sibling = ("application/octet-stream", metadata, None);
                self.documents.insert(format!("{path}.metadata"), sibling);
            }
            self.documents
                .insert(path, ("application/octet-stream", package.bytes, None));
        }
        self.add_page(project, page(project, &entries));
    }

    fn add_page(&mut self, project: &str, page: Vec<u8>) {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        encoder.write_all(&page).unwrap();
        let packed = encoder.finish().unwrap();
        self.documents.insert(
            format!("/simple/{project}/"),
            (JSON, page.into(), Some(packed.into())),
        );
    }

    /// All documents, for a server of static files: path, plain bytes, gzipped bytes.
    pub(crate) fn documents(&self) -> impl Iterator<Item = (&str, &Bytes, Option<&Bytes>)> {
        self.documents
            .iter()
            .map(|(path, (_, plain, packed))| (path.as_str(), plain, packed.as_ref()))
    }

    /// A file's path as the page of its project tells it.
    pub(crate) fn file_of(&self, project: &str) -> String {
        let (_, page, _) = &self.documents[&format!("/simple/{project}/")];
        let page: serde_json::Value = serde_json::from_slice(page).unwrap();
        page["files"][0]["url"].as_str().unwrap().to_owned()
    }

    /// An upstream that answers so much later than it is asked.
    pub(crate) fn upstream(&self, runtime: &Runtime, delay: Duration) -> CannedUpstream {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (documents, asked) = (Arc::new(self.documents.clone()), Arc::new(AtomicU64::new(0)));
        let counter = asked.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let (documents, counter) = (documents.clone(), counter.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (documents, counter) = (documents.clone(), counter.clone());
                    async move {
                        counter.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(delay).await;
                        Ok::<_, Infallible>(answer(&documents, &request))
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        CannedUpstream { address, asked }
    }
}

pub(crate) struct CannedUpstream {
    pub(crate) address: SocketAddr,
    asked: Arc<AtomicU64>,
}

impl CannedUpstream {
    pub(crate) fn index(&self) -> String {
        format!("http://{}/simple/", self.address)
    }

    /// How many requests came in so far.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

fn answer(
    documents: &BTreeMap<String, (&'static str, Bytes, Option<Bytes>)>,
    request: &Request<Incoming>,
) -> Response<Full<Bytes>> {
    let Some((content_type, plain, packed)) = documents.get(request.uri().path()) else {
        return Response::builder().status(404).body(Full::default()).unwrap();
    };
    let response = Response::builder()
        .header("content-type", *content_type)
        .header("cache-control", "max-age=600");
    match packed {
        Some(packed) => response
            .header("content-encoding", "gzip")
            .body(packed.clone().into())
            .unwrap(),
        None => response.body(plain.clone().into()).unwrap(),
    }
}

fn entry(package: &Package, path: &str) -> serde_json::Value {
    let metadata = package
        .metadata
        .as_deref()
        .map(|bytes| serde_json::json!({ "sha256": sha256(bytes) }));
    serde_json::json!({
        "filename": package.filename,
        "url": path,
        "hashes": { "sha256": package.sha256 },
        "size": package.bytes.len(),
        "upload-time": package.upload_time,
        "requires-python": package.requires_python,
        "yanked": false,
        "core-metadata": metadata.unwrap_or(false.into()),
    })
}

fn page(project: &str, files: &[serde_json::Value]) -> Vec<u8> {
    let document = serde_json::json!({ "meta": { "api-version": "1.1" }, "name": project, "versions": ["1.0"], "files": files });
    serde_json::to_vec(&document).unwrap()
}
