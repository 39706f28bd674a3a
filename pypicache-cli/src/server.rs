//! A running server, as the commands talk to it.

use std::path::Path;

use pypicache_core::http_source::{ClientOptions, Credentials, HttpClient, Netrc};
use serde_json::Value;
use url::Url;

use crate::args::ServerArgs;
use crate::output::report_line;
use crate::{FAILED, WRONG_USE, print_error};

/// A server and the credentials for it.
pub(crate) struct Server {
    url: Url,
    credentials: Option<Credentials>,
    client: HttpClient,
    runtime: tokio::runtime::Runtime,
}

/// What it said.
pub(crate) enum Answer {
    /// What was asked for.
    Document(Value),
    /// No, and why.
    Refused(String),
}

impl Server {
    /// The server that the options name. Nothing is asked of it yet; what is wrong is printed.
    pub(crate) fn new(options: &ServerArgs) -> Result<Self, u8> {
        let mut url = options.server.clone();
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        // The index's URL means its server as well: it is what people have at hand.
        if let Some(front) = url.path().strip_suffix("simple/").map(str::to_owned) {
            url.set_path(&front);
        }
        let in_url = Credentials::out_of(&mut url);
        let client = ClientOptions {
            extra_ca_file: options.ca_file.clone(),
            ..ClientOptions::default()
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Self {
            credentials: in_url.map_or_else(|| credentials(options, &url), |found| Ok(Some(found)))?,
            client: HttpClient::new(client).map_err(failed)?,
            runtime: runtime.map_err(failed)?,
            url,
        })
    }

    /// Asks for `path` below the server's URL, or sends a JSON document there.
    pub(crate) fn ask(&self, path: &str, body: Option<String>) -> Result<Answer, u8> {
        let url = self.url.join(path).map_err(failed)?;
        let asked = self.client.call(&url, self.credentials.as_ref(), body);
        let (status, bytes) = self.runtime.block_on(asked).map_err(|cause| {
            report_line!(
                "error: {} cannot be asked: {cause}; --server names another one",
                self.url
            );
            FAILED
        })?;
        let document: Option<Value> = serde_json::from_slice(&bytes).ok();
        Ok(match (status.is_success(), document) {
            (true, Some(document)) => Answer::Document(document),
            (false, Some(problem)) if problem["detail"].is_string() => {
                Answer::Refused(problem["detail"].as_str().unwrap_or_default().to_owned())
            }
            _ => Answer::Refused(format!(
                "{} answered with status {status}, as no pypicache does",
                self.url
            )),
        })
    }
}

/// The token of the file, else of the environment, else what netrc says.
fn credentials(options: &ServerArgs, url: &Url) -> Result<Option<Credentials>, u8> {
    let token = match &options.token_file {
        Some(path) => Some(std::fs::read_to_string(path).map_err(|error| {
            report_line!("error: the token file {} cannot be read: {error}", path.display());
            WRONG_USE
        })?),
        None => std::env::var("PYPICACHE_TOKEN").ok(),
    };
    if let Some(token) = token {
        return Ok(Some(Credentials::new(
            "__token__",
            token.trim().to_owned().into(),
        )));
    }
    let (named, home) = (std::env::var_os("NETRC"), std::env::var_os("HOME"));
    let netrc = Netrc::of_user(named.as_ref().map(Path::new), home.as_ref().map(Path::new));
    Ok(netrc.map_err(failed)?.credentials(url))
}

fn failed(error: impl std::error::Error + 'static) -> u8 {
    print_error(&error);
    FAILED
}
