//! A request's way: which index, which route, ask the source, respond.

use std::time::Instant;

use hyper::header::{ALLOW, CACHE_CONTROL, HeaderValue, LOCATION, USER_AGENT, VIA};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use pypicache_core::model::{FilePath, ProjectName};
use pypicache_core::source::{
    Answer, Ask, FileQuestion, Outcome, Reach, Sibling, SourceError, Step, Trail, Via, View,
};

use crate::negotiate::{Representation, negotiate};
use crate::problem::{absent, failed, nothing, problem};
use crate::render::Keep;
use crate::respond::{self, Reply, full, insert};
use crate::route::{Route, route, view};
use crate::site::Site;
use crate::{condition, front_page, metrics, render};

/// How much of a `User-Agent` is logged.
const AGENT_LENGTH: usize = 100;

/// Who asks: whether the client is a process on this machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    pub(crate) is_neighbour: bool,
}

/// Answers one request, and writes one line to the log.
pub(crate) async fn handle<B>(site: &Site, client: Client, request: Request<B>) -> Reply {
    let begun = Instant::now();
    let (mut response, trail) = answer(site, client, &request).await;
    if request.method() == Method::HEAD {
        response = respond::without_body(response);
    }
    respond::add_trail(&mut response, &trail, &site.pseudonym);
    insert(response.headers_mut(), VIA, &format!("1.1 {}", site.pseudonym));
    note(&request, response.status(), &trail, begun);
    response
}

/// The line in the log: always for what reached an upstream or went wrong, for plain hits with `--verbose` only.
fn note<B>(request: &Request<B>, status: StatusCode, trail: &Trail, begun: Instant) {
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                target: "access",
                method = %request.method(),
                path = request.uri().path(),
                status = status.as_u16(),
                micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
                cache = %trail,
                agent = agent_of(request.headers()),
            )
        };
    }
    let is_hit = |step: &Step| step.outcome == Outcome::Hit;
    match !status.is_client_error() && !status.is_server_error() && trail.steps.iter().all(is_hit) {
        true => line!(debug),
        false => line!(info),
    }
}

fn agent_of(headers: &HeaderMap) -> &str {
    let agent = headers
        .get(USER_AGENT)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("-");
    &agent[..agent.floor_char_boundary(AGENT_LENGTH)]
}

async fn answer<B>(site: &Site, client: Client, request: &Request<B>) -> (Reply, Trail) {
    match *request.method() {
        Method::GET | Method::HEAD => {}
        Method::OPTIONS => return (preflight(), Trail::default()),
        _ => return (wrong_method(), Trail::default()),
    }
    let Some((index, path)) = site.index_of(request.uri().path()) else {
        return (nothing(), Trail::default());
    };
    let (view, path) = view(path);
    let ask = match ask_of(site, request.headers(), path) {
        Ok(ask) => Ask { view, ..ask },
        Err(error) => return (failed(&error), Trail::default()),
    };
    match route(path) {
        Route::Front => (front_page::front_page(site, request.headers()), Trail::default()),
        Route::Metrics => (metrics::metrics(site), Trail::default()),
        Route::Redirect(to) => (redirect(&to), Trail::default()),
        Route::Nothing => (nothing(), Trail::default()),
        Route::File(path, sibling) => file(site, index, path, sibling, &ask, request).await,
        Route::Projects => match representation(request) {
            Some(representation) => projects(site, index, representation, &ask, request.headers()).await,
            None => (not_acceptable(), Trail::default()),
        },
        Route::Page(project) => match representation(request) {
            Some(representation) => {
                let wanted = (representation, client);
                page(site, index, &project, wanted, &ask, request.headers()).await
            }
            None => (not_acceptable(), Trail::default()),
        },
    }
}

async fn page(
    site: &Site,
    index: usize,
    project: &ProjectName,
    (representation, client): (Representation, Client),
    ask: &Ask,
    headers: &HeaderMap,
) -> (Reply, Trail) {
    let ask = &Ask {
        agent: headers.get(USER_AGENT).cloned(),
        ..ask.clone()
    };
    match site.indexes[index].source.page(project, ask).await {
        Ok(Answer::Found(reply)) => {
            let (shelf, renderer) = ((index, ask.view), &site.renderer);
            let (representation, keep) = match client.is_neighbour {
                true => renderer.for_neighbour(shelf, &reply.page, representation),
                false => (representation, Keep::Long),
            };
            let rendered = renderer.page(shelf, &reply.page, (representation, keep)).await;
            (
                respond::page(
                    rendered,
                    representation,
                    reply.freshness,
                    reply.page.last_serial,
                    headers,
                ),
                reply.trail,
            )
        }
        Ok(Answer::Absent(freshness) | Answer::Unchanged(freshness)) => {
            let what = match ask.view {
                View::Everything => format!("project named {project}"),
                View::Held => {
                    format!("file of {project} that is held here; /simple/{project}/ may list some")
                }
            };
            (absent(&what, freshness), Trail::default())
        }
        Err(error) => (failed(&error), Trail::default()),
    }
}

async fn projects(
    site: &Site,
    index: usize,
    representation: Representation,
    ask: &Ask,
    headers: &HeaderMap,
) -> (Reply, Trail) {
    match site.indexes[index].source.projects(ask).await {
        Ok(Answer::Found(reply)) => {
            let list = reply.list.clone();
            let rendered =
                tokio::task::spawn_blocking(move || render::render_list(&list, representation)).await;
            match rendered {
                Ok(rendered) => (
                    respond::page(rendered, representation, reply.freshness, None, headers),
                    reply.trail,
                ),
                Err(_) => (nothing(), reply.trail),
            }
        }
        Ok(Answer::Absent(freshness) | Answer::Unchanged(freshness)) => {
            (absent("project list", freshness), Trail::default())
        }
        Err(error) => (failed(&error), Trail::default()),
    }
}

async fn file<B>(
    site: &Site,
    index: usize,
    path: FilePath,
    sibling: Sibling,
    ask: &Ask,
    request: &Request<B>,
) -> (Reply, Trail) {
    let facts_only = request.method() == Method::HEAD;
    let range = condition::range(request.headers()).filter(|_| !facts_only);
    let question = FileQuestion {
        sibling,
        range,
        facts_only,
        ..FileQuestion::whole(path)
    };
    // Files never change: a client that insists on revalidation gets what is held.
    let reach = if ask.reach == Reach::Revalidate {
        Reach::Anywhere
    } else {
        ask.reach
    };
    // What the view lists is held, so nobody is asked for it; what was evicted meanwhile is fetched again.
    let view = View::Everything;
    let ask = Ask {
        reach,
        view,
        ..ask.clone()
    };
    let source = &site.indexes[index].source;
    let mut answer = source.file(&question, &ask).await;
    if let Ok(Answer::Found(reply)) = &answer
        && range.is_some()
        && !condition::range_applies(request.headers(), respond::etag_of(reply).as_deref())
    {
        answer = source
            .file(
                &FileQuestion {
                    range: None,
                    ..question.clone()
                },
                &ask,
            )
            .await;
    }
    match answer {
        Ok(Answer::Found(reply)) => {
            let trail = reply.trail.clone();
            (respond::file(reply, request.headers(), facts_only), trail)
        }
        Ok(Answer::Absent(freshness) | Answer::Unchanged(freshness)) => (
            absent(
                &format!("file {}{}", question.path.file_name(), sibling.suffix()),
                freshness,
            ),
            Trail::default(),
        ),
        Err(error) => {
            if !error.is_unavailable() {
                tracing::debug!(error = error.chain(), "a file could not be answered");
            }
            (failed(&error), Trail::default())
        }
    }
}

/// What to write for this client; `None` where it takes nothing that there is.
fn representation<B>(request: &Request<B>) -> Option<Representation> {
    let header = |name| {
        request
            .headers()
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let accept = request
        .headers()
        .get_all(hyper::header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect::<Vec<_>>();
    let accept = (!accept.is_empty()).then(|| accept.join(","));
    negotiate(
        accept.as_deref(),
        header(hyper::header::ACCEPT_ENCODING),
        request.uri().query(),
    )
}

fn not_acceptable() -> Reply {
    problem(
        StatusCode::NOT_ACCEPTABLE,
        "Not acceptable",
        "This index speaks application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html and text/html.",
    )
}

/// What the request's headers say about how far to ask.
fn ask_of(site: &Site, headers: &HeaderMap, path: &str) -> Result<Ask, SourceError> {
    if !headers.contains_key(VIA) && !headers.contains_key(CACHE_CONTROL) {
        return Ok(Ask::default());
    }
    let all = |name| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value: &HeaderValue| value.to_str().ok())
            .collect::<Vec<_>>()
            .join(",")
    };
    let received = all(VIA);
    let via = Via::received(&received);
    if via.contains(&site.pseudonym) {
        let story = format!(
            "{} was asked for {path} by itself (Via: {received}); point one of these tiers somewhere else",
            site.pseudonym
        );
        return Err(SourceError::Loop(story.into()));
    }
    let cache_control = all(CACHE_CONTROL).to_ascii_lowercase();
    let says = |word: &str| cache_control.split(',').any(|directive| directive.trim() == word);
    // `max-age=0` is passed over on purpose: pip up to 26.1 sends it with every page, and asking the upstream
    // each time would make a cache of no use to it.
    let reach = match (says("only-if-cached"), says("no-cache")) {
        (true, _) => Reach::HeldOnly,
        (false, true) => Reach::Revalidate,
        (false, false) => Reach::Anywhere,
    };
    Ok(Ask {
        reach,
        via,
        ..Ask::default()
    })
}

/// Permanent, because it only ever leads to another spelling here; relative, so that a path prefix survives.
fn redirect(to: &str) -> Reply {
    let mut response = Response::new(full(bytes::Bytes::new()));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    insert(response.headers_mut(), LOCATION, to);
    response
}

fn preflight() -> Reply {
    let mut response = Response::new(full(bytes::Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    headers.insert("access-control-allow-origin", HeaderValue::from_static("*"));
    headers.insert(
        "access-control-allow-methods",
        HeaderValue::from_static("GET, HEAD, OPTIONS"),
    );
    headers.insert("access-control-allow-headers", HeaderValue::from_static("*"));
    response
}

fn wrong_method() -> Reply {
    let mut response = problem(
        StatusCode::METHOD_NOT_ALLOWED,
        "Method not allowed",
        "This index is read with GET and HEAD.",
    );
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    response
}
