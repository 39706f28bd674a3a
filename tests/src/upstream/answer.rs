//! From a request to PyPI's answer, and from that to what the script makes of it.

use std::io::Write as _;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::header::HeaderMap;
use hyper::{Method, Request, Response, StatusCode};

use super::script::Fault;
use super::{Host, Seen, State, pages};
use crate::package::{Package, sha256};

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// An answer before it is sent.
struct Planned {
    status: StatusCode,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

const JSON: &str = "application/vnd.pypi.simple.v1+json";

pub(super) async fn answer(
    state: &State,
    host: Host,
    request: Request<Incoming>,
) -> Result<Response<Body>, std::io::Error> {
    // Files are known by their plain names; clients send a plus either way.
    let (path, headers) = (
        request.uri().path().replace("%2B", "+"),
        request.headers().clone(),
    );
    let seen = Seen {
        host,
        method: request.method().clone(),
        path: path.clone(),
        headers: headers.clone(),
    };
    state.seen.lock().unwrap().push(seen);
    let fault = state.script.fault(&path, request.method(), &headers);
    let (fault, is_undelimited) = match fault {
        Some(Fault::Undelimited(fault)) => (Some(*fault), true),
        fault => (fault, false),
    };
    match &fault {
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Delay(wait)) => tokio::time::sleep(*wait).await,
        Some(Fault::Reset) => return Err(std::io::Error::other("reset on command")),
        _ => {}
    }
    let planned = match (host, &fault) {
        (_, Some(Fault::Document(status, content_type, body))) => plan(
            *status,
            &[("content-type", (*content_type).to_owned())],
            body.clone(),
        ),
        (_, Some(Fault::Answer(status, headers, body))) => plan(*status, headers, body.clone()),
        (_, Some(Fault::Endless(content_type))) => {
            plan(200, &[("content-type", (*content_type).to_owned())], Bytes::new())
        }
        (_, Some(Fault::RedirectTo(_))) => plan(302, &[], Bytes::new()),
        (_, Some(Fault::Redirect(to))) => plan(302, &[("location", to.clone())], Bytes::new()),
        (Host::Index, _) => page(state, &path, &headers, matches!(fault, Some(Fault::OldHtml))),
        (Host::Files, _) if is_expired(state, request.uri().query()) => plan(403, &[], Bytes::new()),
        (Host::Files, _) => file(state, &path, &headers, matches!(fault, Some(Fault::NoRanges))),
    };
    let body = planned.body.clone();
    let mut response = send(planned, fault, request.method() == Method::HEAD);
    if is_undelimited {
        // HTTP/1.0 knows no chunks, and without a length there is nothing else that ends the body.
        *response.version_mut() = hyper::Version::HTTP_10;
        response.headers_mut().remove("content-length");
        let pieces = stream::once(async { Ok(Frame::data(body)) });
        *response.body_mut() = StreamBody::new(pieces).boxed_unsync();
    }
    Ok(response)
}

fn is_expired(state: &State, query: Option<&str>) -> bool {
    let signature = *state.signature.lock().unwrap();
    signature.is_some_and(|signature| query != Some(&format!("sig={signature}")))
}

fn page(state: &State, path: &str, request: &HeaderMap, old: bool) -> Planned {
    if let Some(wanted) = &*state.wanted.lock().unwrap()
        && text(request, "authorization") != wanted
    {
        return plan(
            401,
            &[("www-authenticate", "Basic realm=\"index\"".to_owned())],
            Bytes::new(),
        );
    }
    let projects = state.projects.lock().unwrap();
    let files = state.files.lock().unwrap().clone();
    let Some(name) = path.strip_prefix("/simple/") else {
        return plan(404, &[], Bytes::new());
    };
    let wants_json = text(request, "accept").contains(JSON) && !old;
    let (content_type, body) = match (name.strip_suffix('/'), wants_json) {
        (None, _) if name.is_empty() => (JSON, pages::list(projects.keys())),
        (None, _) => return plan(301, &[("location", format!("{path}/"))], Bytes::new()),
        (Some(name), json) => match projects.get(name) {
            None => {
                return plan(
                    404,
                    &[("content-type", "text/plain".to_owned())],
                    Bytes::from_static(b"404 Not Found"),
                );
            }
            Some(packages) if old => {
                return plan(
                    200,
                    &[("content-type", "text/html".to_owned())],
                    pages::old_html(packages, &files).into(),
                );
            }
            Some(packages) if json => {
                let signature = *state.signature.lock().unwrap();
                (JSON, pages::json(name, packages, &files, signature))
            }
            Some(packages) => ("text/html; charset=UTF-8", pages::html(packages, &files)),
        },
    };
    let (max_age, age) = *state.lifetime.lock().unwrap();
    let etag = format!("\"{}\"", &sha256(&body)[..22]);
    let mut headers = vec![
        ("cache-control", format!("max-age={max_age}, public")),
        ("etag", etag.clone()),
        ("vary", "Accept, Accept-Encoding".to_owned()),
        ("x-pypi-last-serial", "42".to_owned()),
    ];
    headers.extend(age.map(|age| ("age", age.to_string())));
    if text(request, "if-none-match") == etag {
        return plan(304, &headers, Bytes::new());
    }
    headers.push(("content-type", content_type.to_owned()));
    if text(request, "accept-encoding").contains("gzip") {
        headers.push(("content-encoding", "gzip".to_owned()));
        return plan(200, &headers, gzip(&body));
    }
    plan(200, &headers, body.into())
}

fn file(state: &State, path: &str, request: &HeaderMap, no_ranges: bool) -> Planned {
    let projects = state.projects.lock().unwrap();
    let found = |wanted: &str| {
        projects
            .values()
            .flatten()
            .find(|package: &&Package| pages::path(package) == wanted)
    };
    let body = match path.strip_suffix(".metadata") {
        Some(wheel) => found(wheel).and_then(|package| package.metadata.clone()),
        None => found(path).map(|package| package.bytes.clone()),
    };
    let Some(body) = body else {
        return plan(404, &[], Bytes::new());
    };
    let mut headers = vec![
        ("content-type", "application/octet-stream".to_owned()),
        ("cache-control", "max-age=365000000, immutable, public".to_owned()),
        ("etag", format!("\"{}\"", &sha256(&body)[..32])),
    ];
    if no_ranges {
        return plan(200, &headers, body);
    }
    headers.push(("accept-ranges", "bytes".to_owned()));
    let size = body.len();
    match text(request, "range")
        .strip_prefix("bytes=")
        .map(|spec| range(spec, size))
    {
        None => plan(200, &headers, body),
        Some(Some((first, end))) => {
            headers.push(("content-range", format!("bytes {first}-{}/{size}", end - 1)));
            plan(206, &headers, body.slice(first..end))
        }
        Some(None) => plan(416, &[("content-range", format!("bytes */{size}"))], Bytes::new()),
    }
}

/// First position and the one behind the last.
fn range(spec: &str, size: usize) -> Option<(usize, usize)> {
    let (first, last) = spec.split_once('-')?;
    let (first, end) = match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) => (first, last.saturating_add(1).min(size)),
        (Ok(first), Err(_)) => (first, size),
        (Err(_), Ok(count)) => (size.saturating_sub(count), size),
        (Err(_), Err(_)) => return None,
    };
    (first < end).then_some((first, end))
}

/// Makes the response, with what the script does to its body.
fn send(planned: Planned, fault: Option<Fault>, is_head: bool) -> Response<Body> {
    let mut response = Response::builder().status(planned.status);
    let whole = match fault {
        Some(Fault::Gzipped) => gzip(&planned.body),
        _ => planned.body,
    };
    if matches!(fault, Some(Fault::Gzipped | Fault::CalledGzipped)) {
        response = response.header("content-encoding", "gzip");
    }
    if let Some(Fault::RedirectTo(to)) = &fault {
        response = response.header("location", &**to);
    }
    if let Some(Fault::Called(coding)) = fault {
        response = response.header("content-encoding", coding);
    }
    for (name, value) in &planned.headers {
        response = response.header(*name, value);
    }
    let claimed = match fault {
        Some(Fault::ClaimsMore(more)) => Some(whole.len() + more),
        Some(Fault::NoLength | Fault::Endless(_)) => None,
        _ => Some(whole.len()),
    };
    if let Some(length) = claimed.filter(|_| planned.status != StatusCode::NOT_MODIFIED) {
        response = response.header("content-length", length);
    }
    let cut = |body: Bytes| {
        // Pending in between, so that the server sends what it has before it breaks off.
        let end = stream::once(async {
            tokio::task::yield_now().await;
            Err(std::io::Error::other("cut on command"))
        });
        stream::once(async { Ok(body) }).chain(end)
    };
    let body: Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>> = match fault {
        _ if is_head => Box::pin(stream::empty()),
        Some(Fault::CutAfter(count)) => Box::pin(cut(whole.slice(..count.min(whole.len())))),
        Some(Fault::HoldAfter(count, gate)) => {
            let (front, rest) = (
                whole.slice(..count.min(whole.len())),
                whole.slice(count.min(whole.len())..),
            );
            let rest = stream::once(async move {
                gate.wait().await;
                Ok(rest)
            });
            Box::pin(stream::once(async { Ok(front) }).chain(rest))
        }
        Some(Fault::Corrupt) => {
            let mut bytes = whole.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            Box::pin(stream::once(async { Ok(bytes.into()) }))
        }
        Some(Fault::ClaimsMore(_)) => Box::pin(cut(whole)),
        Some(Fault::Trickle(pause)) => Box::pin(stream::unfold(whole, move |mut left| async move {
            let next = (!left.is_empty()).then(|| left.split_to(1))?;
            tokio::time::sleep(pause).await;
            Some((Ok(next), left))
        })),
        Some(Fault::Slow(count, pause)) => Box::pin(stream::unfold(whole, move |mut left| async move {
            let next = (!left.is_empty()).then(|| left.split_to(count.min(left.len())))?;
            tokio::time::sleep(pause).await;
            Some((Ok(next), left))
        })),
        Some(Fault::Endless(_)) => Box::pin(stream::repeat_with(|| Ok(Bytes::from_static(&[b' '; 65_536])))),
        Some(Fault::NoLength) => Box::pin(stream::once(async { Ok(whole) })),
        _ => {
            return response
                .body(Full::new(whole).map_err(|never| match never {}).boxed_unsync())
                .unwrap();
        }
    };
    response
        .body(StreamBody::new(body.map(|piece| piece.map(Frame::data))).boxed_unsync())
        .unwrap()
}

fn plan(status: u16, headers: &[(&'static str, String)], body: Bytes) -> Planned {
    Planned {
        status: StatusCode::from_u16(status).unwrap(),
        headers: headers.to_vec(),
        body,
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap().into()
}
