//! A request's way: which index, which route, who asks, then reading, uploading or managing; and a line in the log.

use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, HeaderValue, LOCATION, USER_AGENT, VIA};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use pypicache_core::source::{Ask, Outcome, Step, Trail};

use crate::access::{Caller, Refusal, Scope};
use crate::ask::ask_of;
use crate::asker::{Asker, Client, REQUEST_ID, request_id};
use crate::audit::Event;
use crate::problem::{failed, nothing, problem, refused};
use crate::read::Question;
use crate::respond::{self, Reply, full, insert};
use crate::route::{Route, route, view};
use crate::site::{Index, Site};
use crate::{front_page, manage, metrics, upload};

/// How much of a `User-Agent` is logged.
const AGENT_LENGTH: usize = 100;

/// Answers one request, and writes one line to the log.
pub(crate) async fn handle(site: &Site, client: Client, request: Request<Incoming>) -> Reply {
    let begun = Instant::now();
    let (head, body) = request.into_parts();
    let id = request_id(&head.headers, &site.pseudonym);
    let (mut response, trail) = answer(site, client, &id, &head, body).await;
    if head.method == Method::HEAD {
        response = respond::without_body(response);
    }
    respond::add_trail(&mut response, &trail, &site.pseudonym);
    insert(response.headers_mut(), VIA, &format!("1.1 {}", site.pseudonym));
    note(&head, &id, response.status(), &trail, begun);
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// The line in the log: always for what reached an upstream or went wrong, for plain hits with `--verbose` only.
fn note(head: &Parts, id: &HeaderValue, status: StatusCode, trail: &Trail, begun: Instant) {
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                target: "access",
                method = %head.method,
                path = head.uri.path(),
                status = status.as_u16(),
                micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
                cache = %trail,
                request = id.to_str().unwrap_or_default(),
                agent = agent_of(&head.headers),
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

async fn answer(
    site: &Site,
    client: Client,
    id: &HeaderValue,
    head: &Parts,
    body: Incoming,
) -> (Reply, Trail) {
    let Some((number, path)) = site.index_of(head.uri.path()) else {
        return (nothing(), Trail::default());
    };
    let (view, path) = view(path);
    let (index, route) = (&site.indexes[number], route(path));
    if head.method == Method::OPTIONS {
        return (preflight(&route), Trail::default());
    }
    if !route.takes(&head.method) {
        return (wrong_method(&route), Trail::default());
    }
    let mut asker = Asker {
        client,
        caller: Caller::Anybody,
        request: id.clone(),
    };
    if let Err(refusal) = admit(site, index, &route, head, &mut asker) {
        note_refusal(site, &asker, head, &refusal);
        let response = match head.method {
            Method::POST => upload::turned_away(&refusal, head, body).await,
            _ => refused(&head.headers, &refusal),
        };
        return (response, Trail::default());
    }
    let ask = match ask_of(&site.pseudonym, &head.headers, path) {
        Ok(ask) => Ask {
            view,
            request: Some(id.clone()),
            ..ask
        },
        Err(error) => return (failed(&error), Trail::default()),
    };
    let question = Question {
        site,
        index: number,
        asker: &asker,
        ask,
        head,
    };
    let (mut response, trail) = dispatch(index, &question, route, body).await;
    if !index.anonymous_read {
        keep_private(&mut response);
    }
    (response, trail)
}

/// Finds out who asks, and whether they may do that at all. Where everybody may, nobody is asked who they are.
fn admit(site: &Site, index: &Index, route: &Route, head: &Parts, asker: &mut Asker) -> Result<(), Refusal> {
    match route.scope(&head.method) {
        None => Ok(()),
        Some(Scope::Read) if index.anonymous_read => Ok(()),
        Some(scope) => {
            asker.caller = site.access.caller(&head.headers, asker.client.address)?;
            site.note_use(asker);
            asker.caller.has(scope)
        }
    }
}

/// Wrong credentials and insufficient ones are written down; none at all are how most clients begin.
fn note_refusal(site: &Site, asker: &Asker, head: &Parts, refusal: &Refusal) {
    if head.headers.contains_key(AUTHORIZATION) {
        site.note(&Event {
            detail: Some(format!("{} {}: {refusal}", head.method, head.uri.path())),
            ..asker.event("turned-away")
        });
    }
}

async fn dispatch(index: &Index, question: &Question<'_>, route: Route, body: Incoming) -> (Reply, Trail) {
    let (site, head, asker) = (question.site, question.head, question.asker);
    let is_post = head.method == Method::POST;
    let response = match route {
        Route::Projects => return question.projects().await,
        Route::Page(project) => return question.page(&project).await,
        Route::File(path, sibling) => return question.file(path, sibling).await,
        Route::Provenance(project, file) => return question.provenance(&project, &file).await,
        Route::Front | Route::Legacy if is_post => upload::upload(site, index, asker, head, body).await,
        Route::Project(project) if is_post => manage::change(site, index, asker, &project, body).await,
        Route::Project(project) => manage::show(index, &asker.caller, &project).await,
        Route::Why(project) => question.why(&project).await,
        Route::Front => front_page::front_page(site, &head.headers),
        Route::Metrics => metrics::metrics(site),
        Route::Redirect(to) => redirect(&to),
        Route::Legacy | Route::Nothing => nothing(),
    };
    (response, Trail::default())
}

/// What takes credentials is not for caches that others read from (RFC 9111 section 5.2.2.7).
fn keep_private(response: &mut Reply) {
    let told = response
        .headers()
        .get(CACHE_CONTROL)
        .and_then(|value| value.to_str().ok());
    if let Some(told) = told.map(|told| told.replace("public", "private")) {
        insert(response.headers_mut(), CACHE_CONTROL, &told);
    }
}

/// Permanent, because it only ever leads to another spelling here; relative, so that a path prefix survives.
fn redirect(to: &str) -> Reply {
    let mut response = Response::new(full(bytes::Bytes::new()));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    insert(response.headers_mut(), LOCATION, to);
    response
}

fn preflight(route: &Route) -> Reply {
    let mut response = Response::new(full(bytes::Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    let methods = HeaderValue::from_static(route.methods());
    headers.insert(ALLOW, methods);
    headers.insert("access-control-allow-origin", HeaderValue::from_static("*"));
    // Pages and files may be read from a browser; nothing is changed from one.
    let readable = HeaderValue::from_static("GET, HEAD, OPTIONS");
    headers.insert("access-control-allow-methods", readable);
    headers.insert("access-control-allow-headers", HeaderValue::from_static("*"));
    response
}

fn wrong_method(route: &Route) -> Reply {
    let detail = match route {
        Route::Legacy => "Files are uploaded here with POST. Installers read /simple/ of this server.",
        _ => "This is read with GET and HEAD. Files are uploaded with POST to /legacy/ of this server.",
    };
    let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", detail);
    let methods = HeaderValue::from_static(route.methods());
    response.headers_mut().insert(ALLOW, methods);
    response
}
