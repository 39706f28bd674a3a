//! One request to another server of ours, for those who manage it: not a part of being a source.

use bytes::Bytes;
use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE, VIA};
use url::Url;

use super::causes::cause_of;
use super::exchange::{Outcome, OutgoingRequest, RequestKind};
use super::{Credentials, HttpClient, HttpSource};
use crate::model::ProjectName;
use crate::source::{Cause, RequestContext};

/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

impl HttpClient {
    /// Sends `body` (JSON) to `url`, or asks for it where there is none. Gives the status and the body of the answer,
    /// whatever they say. Redirects are not followed.
    pub async fn call(
        &self,
        url: &Url,
        credentials: Option<&Credentials>,
        body: Option<String>,
    ) -> Result<(http::StatusCode, Bytes), Cause> {
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let mut builder = self
            .pages
            .request(method, url.clone())
            .header(ACCEPT, "application/json");
        if let Some(credentials) = credentials {
            builder = credentials.sign(builder);
        }
        if let Some(body) = body {
            builder = builder.header(CONTENT_TYPE, "application/json").body(body);
        }
        let mut answer = builder.send().await.map_err(|error| cause_of(&error))?;
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| cause_of(&error))? {
            if bytes.len() + piece.len() > MAX_ANSWER {
                return Err(Cause::InvalidResponse(
                    format!("more than {MAX_ANSWER} bytes").into(),
                ));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok((answer.status(), bytes.into()))
    }
}

/// The largest explanation that is read, in bytes.
const MAX_EXPLANATION: usize = 8 * 1024 * 1024;

impl HttpSource {
    /// What a tier of ours says of a project (`-/why/<project>` beside its `simple/`); `None` where the upstream is
    /// none, or cannot tell.
    pub async fn why(
        &self,
        project: &ProjectName,
        version: Option<&str>,
        context: &RequestContext,
    ) -> Option<serde_json::Value> {
        self.tier_files.as_ref()?;
        let mut url = self.index.join(&format!("../-/why/{project}")).ok()?;
        if let Some(version) = version {
            url.query_pairs_mut().append_pair("version", version);
        }
        let outgoing = OutgoingRequest {
            asked: "an explanation",
            method: Method::GET,
            url,
            kind: RequestKind::Page,
            timeout: context.timeout_within(self.options.page_timeout),
            with_headers: &|builder| builder.header(VIA, context.via.and(&self.options.pseudonym)),
        };
        let Ok(Outcome::Answered(mut answer)) = self.exchange_once(&outgoing).await else {
            return None;
        };
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.ok()? {
            if bytes.len() + piece.len() > MAX_EXPLANATION {
                return None;
            }
            bytes.extend_from_slice(&piece);
        }
        let explained: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
        (answer.status().is_success() && explained["tier"].is_string()).then_some(explained)
    }
}
