//! One request to another server of ours, for those who manage it: not a part of being a source.

use bytes::Bytes;
use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE};
use url::Url;

use super::causes::cause_of;
use super::{Credentials, HttpClient};
use crate::source::Cause;

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
        let mut request = self
            .pages
            .request(method, url.clone())
            .header(ACCEPT, "application/json");
        if let Some(credentials) = credentials {
            request = credentials.sign(request);
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let mut answer = request.send().await.map_err(|error| cause_of(&error))?;
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| cause_of(&error))? {
            if bytes.len() + piece.len() > MAX_ANSWER {
                return Err(Cause::Nonsense(format!("more than {MAX_ANSWER} bytes").into()));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok((answer.status(), bytes.into()))
    }
}
