//! A request's way: which index, which route, who asks, then reading, uploading or managing; and a line in the log.

use std::net::IpAddr;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, HeaderValue, LOCATION, USER_AGENT, VIA};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use pypicache_core::source::{Ask, Outcome, Step, Trail};

use crate::access::{Caller, Refusal, Scope};
use crate::ask::ask_of;
use crate::problem::{failed, nothing, problem, refused};
use crate::read::Question;
use crate::respond::{self, Reply, full, insert};
use crate::route::{Route, route, view};
use crate::site::{Index, Site};
use crate::{front_page, manage, metrics, upload};

/// How much of a `User-Agent` is logged.
const AGENT_LENGTH: usize = 100;

/// From where somebody asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    /// Whether that is this machine.
    pub(crate) is_neighbour: bool,
}

/// Answers one request, and writes one line to the log.
pub(crate) async fn handle(site: &Site, client: Client, request: Request<Incoming>) -> Reply {
    let begun = Instant::now();
    let (head, body) = request.into_parts();
    let (mut response, trail) = answer(site, client, &head, body).await;
    if head.method == Method::HEAD {
        response = respond::without_body(response);
    }
    respond::add_trail(&mut response, &trail, &site.pseudonym);
    insert(response.headers_mut(), VIA, &format!("1.1 {}", site.pseudonym));
    note(&head, response.status(), &trail, begun);
    response
}

/// The line in the log: always for what reached an upstream or went wrong, for plain hits with `--verbose` only.
fn note(head: &Parts, status: StatusCode, trail: &Trail, begun: Instant) {
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                target: "access",
                method = %head.method,
                path = head.uri.path(),
                status = status.as_u16(),
                micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
                cache = %trail,
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

async fn answer(site: &Site, client: Client, head: &Parts, body: Incoming) -> (Reply, Trail) {
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
    let caller = match admitted(site, index, client, &route, head) {
        Ok(caller) => caller,
        Err(refusal) if head.method == Method::POST => {
            return (upload::turned_away(&refusal, head, body).await, Trail::default());
        }
        Err(refusal) => return (refused(&head.headers, &refusal), Trail::default()),
    };
    let ask = match ask_of(&site.pseudonym, &head.headers, path) {
        Ok(ask) => Ask { view, ..ask },
        Err(error) => return (failed(&error), Trail::default()),
    };
    let question = Question {
        site,
        index: number,
        client,
        caller: &caller,
        ask,
        head,
    };
    let (mut response, trail) = dispatch(index, &question, route, body).await;
    if !index.anonymous_read {
        keep_private(&mut response);
    }
    (response, trail)
}

/// Who asks, if they may do that at all. Where everybody may, nobody is asked who they are.
fn admitted(
    site: &Site,
    index: &Index,
    client: Client,
    route: &Route,
    head: &Parts,
) -> Result<Caller, Refusal> {
    match route.scope(&head.method) {
        None => Ok(Caller::Anybody),
        Some(Scope::Read) if index.anonymous_read => Ok(Caller::Anybody),
        Some(scope) => {
            let caller = site.access.caller(&head.headers, client.address)?;
            caller.has(scope).map(|()| caller)
        }
    }
}

async fn dispatch(index: &Index, question: &Question<'_>, route: Route, body: Incoming) -> (Reply, Trail) {
    let (site, head, caller) = (question.site, question.head, question.caller);
    let is_post = head.method == Method::POST;
    let response = match route {
        Route::Projects => return question.projects().await,
        Route::Page(project) => return question.page(&project).await,
        Route::File(path, sibling) => return question.file(path, sibling).await,
        Route::Provenance(project, file) => return question.provenance(&project, &file).await,
        Route::Front | Route::Legacy if is_post => upload::upload(index, caller, head, body).await,
        Route::Project(project) if is_post => manage::change(index, caller, &project, body).await,
        Route::Project(project) => manage::show(index, caller, &project).await,
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
