//! Trusted publishing over HTTP, as PyPI's own clients speak it: `GET /_/oidc/audience` and `POST /_/oidc/mint-token`.

use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::header::RETRY_AFTER;
use hyper::{HeaderMap, StatusCode};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::json;

use crate::access::{AUDIENCE, MintError, Refusal};
use crate::client_context::ClientContext;
use crate::http::problem::{self, nothing};
use crate::http::respond::{Reply, json_document};
use crate::observe::audit::Event;
use crate::site::Site;

/// The largest identity token that is read, with the JSON around it, in bytes.
const MAX_REQUEST: usize = 64 * 1024;

#[derive(Deserialize)]
struct Wanted {
    token: String,
}

/// For whom an identity token has to be made. Without trusted publishers this path does not exist.
pub(crate) fn audience(site: &Site) -> Reply {
    match site.access.publishers() {
        Some(_) => json_document(&json!({ "audience": AUDIENCE })),
        None => nothing(),
    }
}

/// A token for uploads, for a job that is trusted.
pub(crate) async fn mint(site: &Site, client_context: &ClientContext, body: Incoming) -> Reply {
    let Some(publishers) = site.access.publishers() else {
        return nothing();
    };
    let bytes = Limited::new(body, MAX_REQUEST)
        .collect()
        .await
        .map(|body| body.to_bytes());
    let wanted: Option<Wanted> = bytes.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let Some(wanted) = wanted else {
        return refused(
            StatusCode::UNPROCESSABLE_ENTITY,
            "the request has no identity token",
        );
    };
    match publishers.mint(&wanted.token).await {
        Ok((token, job)) => {
            tracing::info!(job, "a token was minted");
            site.note(&Event {
                who: Some(job),
                reason: Some("trusted-publisher".to_owned()),
                ..client_context.event("token-created")
            });
            json_document(&json!({ "success": true, "token": token.expose_secret() }))
        }
        Err(error) => {
            tracing::info!(%error, "no token was minted");
            site.note(&Event {
                detail: Some(error.to_string()),
                ..client_context.event("turned-away")
            });
            // Whoever tries what is no identity token is slowed like everybody who guesses.
            if matches!(error, MintError::Invalid(_))
                && let slowed @ Refusal::TooOften(_) = site.access.wrong(client_context.client.address)
            {
                return problem::refused(&HeaderMap::new(), &slowed);
            }
            let status = match &error {
                MintError::NoKeys(_) => StatusCode::SERVICE_UNAVAILABLE,
                MintError::Untrusted(_) => StatusCode::FORBIDDEN,
                MintError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            };
            refused(status, &error.to_string())
        }
    }
}

/// In the shape that PyPI has for it.
fn refused(status: StatusCode, why: &str) -> Reply {
    let error = json!({ "code": "invalid-payload", "description": why });
    let mut response = json_document(&json!({ "message": "Token request failed", "errors": [error] }));
    *response.status_mut() = status;
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, 60.into());
    }
    response
}
