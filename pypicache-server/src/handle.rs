//! A request's way: which index, which route, who asks, then reading, uploading or managing; and a line in the log.

use std::net::IpAddr;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, HeaderValue, LOCATION, USER_AGENT, VIA};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use pypicache_core::source::{CacheStatus, Hop, IndexSource as _, Outcome, RequestContext, View};

use crate::access::{Caller, Refusal, Scope};
use crate::canonical_path::{cleaned, relative};
use crate::client_context::{Client, ClientContext, REQUEST_ID, request_id};
use crate::hosting::manage;
use crate::hosting::mint;
use crate::hosting::upload;
use crate::http::problem::{failed, nothing, problem, refused};
use crate::http::request_context::context_of;
use crate::http::respond::{self, RULE, Reply, full, insert, json_document};
use crate::http::{cors, host};
use crate::observe::audit::Event;
use crate::route::{Route, route, view};
use crate::simple::not_offered;
use crate::simple::read::ReadRequest;
use crate::site::{Index, Site};
use crate::web::front_page;

/// How much of a `User-Agent` is logged.
const AGENT_LENGTH: usize = 100;

/// Answers one request, and writes one line to the log.
pub(crate) async fn handle(site: &Site, peer: IpAddr, request: Request<Incoming>) -> Reply {
    let begun = Instant::now();
    let (head, body) = request.into_parts();
    let address = site.proxies.client(peer, &head.headers);
    let client = Client {
        address,
        is_local: address.is_loopback(),
    };
    let id = request_id(&head.headers, &site.pseudonym);
    let target = target_of(site, &head);
    let route = target.as_ref().map_or("nothing", |target| target.route.name());
    let is_readable = target.as_ref().is_some_and(|target| target.route.is_of_index());
    let (mut response, cache_status) = match (host::problem_with(&head), target) {
        (Some(detail), _) => (
            problem(StatusCode::BAD_REQUEST, "Bad request", detail),
            CacheStatus::default(),
        ),
        (None, Some(target)) => answer(site, client, &id, target, &head, body).await,
        (None, None) => (nothing(), CacheStatus::default()),
    };
    if is_readable {
        cors::allow_reading(response.headers_mut());
    }
    if head.method == Method::HEAD {
        response = respond::without_body(response);
    }
    respond::add_cache_status(&mut response, &cache_status, &site.pseudonym);
    if let Some(via) = &site.via {
        response.headers_mut().insert(VIA, via.clone());
    }
    site.metrics
        .note_request(route, response.status(), begun.elapsed(), &cache_status);
    note(&head, &id, response.status(), &cache_status, begun);
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// The line in the log: always for what reached an upstream or went wrong, for plain hits with `--verbose` only.
fn note(head: &Parts, id: &HeaderValue, status: StatusCode, cache_status: &CacheStatus, begun: Instant) {
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                target: "access",
                method = %head.method,
                path = head.uri.path(),
                status = status.as_u16(),
                micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
                cache = %cache_status,
                request = id.to_str().unwrap_or_default(),
                agent = agent_of(&head.headers),
            )
        };
    }
    let is_hit = |hop: &Hop| hop.outcome == Outcome::Hit;
    match !status.is_client_error() && !status.is_server_error() && cache_status.hops.iter().all(is_hit) {
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

/// What a request is about.
struct RequestTarget<'a> {
    /// The index's number.
    number: usize,
    view: View,
    /// Below the index.
    path: &'a str,
    route: Route,
}

fn target_of<'a>(site: &Site, head: &'a Parts) -> Option<RequestTarget<'a>> {
    let whole = site.proxies.strip(head.uri.path());
    let target = read_path(site, whole);
    match &target {
        Some(read) if read.route != Route::Nothing => target,
        _ => respelled(site, whole).or(target),
    }
}

fn read_path<'a>(site: &Site, path: &'a str) -> Option<RequestTarget<'a>> {
    let (number, path) = site.index_of(path)?;
    let (view, path) = view(path);
    let route = route(path);
    Some(RequestTarget {
        number,
        view,
        path,
        route,
    })
}

/// Where a path with empty segments leads that would mean a page or list without them.
fn respelled<'a>(site: &Site, path: &'a str) -> Option<RequestTarget<'a>> {
    let clean = cleaned(path)?;
    let meant = read_path(site, &clean)?;
    let to = match &meant.route {
        Route::Page(_) | Route::Projects => clean.clone(),
        // One redirect, whatever else is unusual about the spelling.
        Route::Redirect(to) => {
            let base = url::Url::parse("http://host/").ok()?.join(&clean).ok()?;
            base.join(to).ok()?.path().to_owned()
        }
        _ => return None,
    };
    Some(RequestTarget {
        number: meant.number,
        view: meant.view,
        path,
        route: Route::Redirect(relative(path, &to)),
    })
}

async fn answer(
    site: &Site,
    client: Client,
    id: &HeaderValue,
    target: RequestTarget<'_>,
    head: &Parts,
    body: Incoming,
) -> (Reply, CacheStatus) {
    let RequestTarget {
        number,
        view,
        path,
        route,
    } = target;
    let index = &site.indexes[number];
    if head.method == Method::OPTIONS {
        return (preflight(&route), CacheStatus::default());
    }
    if !route.takes(&head.method) {
        return (wrong_method(&route), CacheStatus::default());
    }
    if head.method == Method::POST && is_from_another_site(head) {
        return (from_another_site(), CacheStatus::default());
    }
    let mut client_context = ClientContext {
        client,
        caller: Caller::Anybody,
        request_id: id.clone(),
    };
    if let Err(refusal) = admit(site, index, &route, head, &mut client_context).await {
        note_refusal(site, &client_context, head, &refusal);
        let response = match head.method {
            Method::POST => upload::turned_away(&refusal, head, body).await,
            _ => refused(&head.headers, &refusal),
        };
        return (response, CacheStatus::default());
    }
    let context = match context_of(&site.pseudonym, &head.headers, path) {
        Ok(context) => RequestContext {
            view,
            request_id: Some(id.clone()),
            ..context
        },
        Err(error) => return (failed(&error), CacheStatus::default()),
    };
    let read = ReadRequest {
        site,
        index: number,
        client_context: &client_context,
        context,
        head,
    };
    let (mut response, cache_status) = dispatch(index, &read, route, body).await;
    if !index.anonymous_read {
        keep_private(&mut response);
    }
    if response.headers().contains_key(RULE) {
        note_denial(site, &client_context, head, &response);
    }
    (response, cache_status)
}

/// Whether a browser sends this for a page of somebody else's (Fetch Metadata, `Origin`): it adds the credentials that it has
/// for us, whoever wrote the page.
fn is_from_another_site(head: &Parts) -> bool {
    let told = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    // HTTP/2 has the host in the target.
    let host = head
        .uri
        .authority()
        .map(|authority| authority.as_str())
        .or(told("host"));
    let origin = told("origin").map(|origin| origin.split_once("://").map_or(origin, |(_, host)| host));
    let is_foreign_origin = origin.is_some_and(|origin| host != Some(origin));
    is_foreign_origin || told("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"))
}

fn from_another_site() -> Reply {
    problem(
        StatusCode::FORBIDDEN,
        "From another site",
        "A web page of another site sent this. Nothing is uploaded or changed from there.",
    )
}

/// Finds out who asks, and whether they may do that at all. Where everybody may, nobody is asked who they are.
async fn admit(
    site: &Site,
    index: &Index,
    route: &Route,
    head: &Parts,
    client_context: &mut ClientContext,
) -> Result<(), Refusal> {
    // Metrics are about the whole server, by whichever index they are asked for.
    let index = match route {
        Route::Metrics => site.indexes.first().unwrap_or(index),
        _ => index,
    };
    match route.scope(&head.method) {
        None => Ok(()),
        Some(Scope::Read) if index.anonymous_read => Ok(()),
        Some(scope) => {
            client_context.caller = site
                .access
                .caller(&head.headers, client_context.client.address)
                .await?;
            site.note_use(client_context);
            client_context.caller.has(scope)
        }
    }
}

/// Somebody asks for what a rule keeps out.
fn note_denial(site: &Site, client_context: &ClientContext, head: &Parts, response: &Reply) {
    site.metrics.note_denial("rule");
    let rule = response.headers().get(RULE).and_then(|value| value.to_str().ok());
    site.note(&Event {
        reason: rule.map(str::to_owned),
        detail: Some(format!("{} {}", head.method, head.uri.path())),
        ..client_context.event("denied")
    });
}

/// Wrong credentials and insufficient ones are written to disk; none at all are how most clients begin.
fn note_refusal(site: &Site, client_context: &ClientContext, head: &Parts, refusal: &Refusal) {
    site.metrics.note_denial(match refusal {
        Refusal::Unknown(_) => "credentials",
        Refusal::TooOften(_) => "too-often",
        Refusal::NotAllowed(_) => "scope",
    });
    if head.headers.contains_key(AUTHORIZATION) {
        site.note(&Event {
            detail: Some(format!("{} {}: {refusal}", head.method, head.uri.path())),
            ..client_context.event("turned-away")
        });
    }
}

async fn dispatch(
    index: &Index,
    read: &ReadRequest<'_>,
    route: Route,
    body: Incoming,
) -> (Reply, CacheStatus) {
    let (site, head, client_context) = (read.site, read.head, read.client_context);
    let is_post = head.method == Method::POST;
    let response = match route {
        Route::Projects => return read.projects().await,
        Route::Page(project) => return read.page(&project).await,
        Route::File(path, sibling) => return read.file(path, sibling).await,
        Route::Provenance(project, file) => return read.provenance(&project, &file).await,
        Route::Legacy if is_post && not_offered::is_xml_rpc(head) => not_offered::xml_rpc(),
        Route::Front | Route::Legacy if is_post => {
            upload::upload(site, index, client_context, head, body).await
        }
        Route::Project(project) if is_post => {
            manage::change(site, index, client_context, head, &project, body).await
        }
        Route::Project(project) => manage::show(index, &client_context.caller, head, &project).await,
        Route::Why(project) => read.why(&project).await,
        Route::Front => front_page::front_page(site, &head.headers),
        Route::Metrics => site.metrics.reply(site.totals().await),
        Route::Audience => mint::audience(site),
        Route::Mint => mint::mint(site, client_context, body).await,
        Route::Live => health(StatusCode::OK, "live"),
        Route::Ready => ready(site, index).await,
        Route::Redirect(to) => redirect(&to),
        Route::JsonApi(project) => not_offered::json_api(&project),
        Route::XmlRpc => not_offered::xml_rpc(),
        Route::Legacy | Route::Nothing => nothing(),
    };
    (response, CacheStatus::default())
}

/// Whether this server can answer and take uploads: what is hosted can be read. (A cache answers without its upstreams.)
async fn ready(site: &Site, index: &Index) -> Reply {
    if site.is_stopping() {
        return health(StatusCode::SERVICE_UNAVAILABLE, "stopping");
    }
    for hosting in &index.hosting {
        if let Some(project) = hosting.source.damaged().first() {
            let detail = format!(
                "the record of {project} is damaged; the server's log says which file, a backup has it"
            );
            let document = serde_json::json!({ "status": "hosted data is damaged", "detail": detail });
            let mut response = json_document(&document);
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            return response;
        }
        if let Err(error) = hosting.source.projects(&RequestContext::default()).await {
            tracing::error!(error = error.chain(), "not ready");
            return health(StatusCode::SERVICE_UNAVAILABLE, "hosted data cannot be read");
        }
    }
    if let Some((word, detail)) = data_trouble(site).await {
        tracing::error!(detail, "not ready: {word}");
        let document =
            serde_json::json!({ "status": word, "detail": "The server's log says which file, and why." });
        let mut response = json_document(&document);
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        return response;
    }
    health(StatusCode::OK, "ready")
}

/// What of this server's own data cannot be used: nobody would be let in, or nothing be accounted for. The word is for
/// everybody, the rest (it names paths) for the log.
async fn data_trouble(site: &Site) -> Option<(&'static str, String)> {
    let (check_access, audit) = (site.access.check(), site.audit.clone());
    let look = move || {
        if let Err(error) = check_access() {
            return Some(("tokens or users cannot be read", error));
        }
        let error = audit?.check().err()?;
        Some(("the audit log cannot be written", error.to_string()))
    };
    tokio::task::spawn_blocking(look).await.ok().flatten()
}

fn health(status: StatusCode, word: &'static str) -> Reply {
    let mut response = json_document(&serde_json::json!({ "status": word }));
    *response.status_mut() = status;
    response
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
    cors::allow_asking(headers);
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
