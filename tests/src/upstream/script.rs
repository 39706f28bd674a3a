//! What goes wrong, with which requests, how often.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use hyper::{HeaderMap, Method};
use tokio::sync::watch;

/// What happens instead of the right answer.
#[derive(Debug, Clone)]
pub enum Fault {
    /// No answer, ever.
    Hang,
    /// The connection is closed without an answer.
    Reset,
    /// Another document: status, type, body.
    Document(u16, &'static str, Bytes),
    /// The right head, then the body ends after so many bytes.
    CutAfter(usize),
    /// The right answer with one byte of the body changed.
    Corrupt,
    /// The body stops after so many bytes until the gate is opened.
    HoldAfter(usize, Gate),
    /// The whole file with 200, whatever range is asked for.
    NoRanges,
    /// No `Content-Length`.
    NoLength,
    /// 302 to this URL.
    Redirect(String),
    /// 302 with these bytes as its `Location`.
    RedirectTo(Vec<u8>),
    /// HTML without anything newer than PEP 503.
    OldHtml,
    /// An answer of one's own: status, headers, body.
    Answer(u16, Vec<(&'static str, String)>, Bytes),
    /// The right answer, so much later.
    Delay(Duration),
    /// The right head, then a byte each so often.
    Trickle(Duration),
    /// The right answer in pieces of so many bytes, each so much later than the one before.
    Slow(usize, Duration),
    /// A 200 of this type whose body never ends.
    Endless(&'static str),
    /// The right body under a `Content-Length` that is larger by this.
    ClaimsMore(usize),
    /// The right body, gzipped and said to be so, whatever the client accepts.
    Gzipped,
    /// The right body, said to be gzipped.
    CalledGzipped,
    /// The right body, said to be in this coding.
    Called(&'static str),
    /// This answer, whose body is ended by nothing but the end of the connection.
    Undelimited(Box<Fault>),
    /// This for requests with a range only.
    OnRange(Box<Fault>),
    /// This for HEAD only.
    OnHead(Box<Fault>),
}

/// Holds bodies back until it is opened. Clones are the same gate.
#[derive(Debug, Clone)]
pub struct Gate(watch::Sender<bool>);

impl Default for Gate {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Gate {
    /// Lets everybody through, now and later.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    pub(super) async fn wait(&self) {
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

#[derive(Debug, Default)]
pub(super) struct Script {
    rules: Mutex<Vec<(String, Option<u32>, Fault)>>,
}

impl Script {
    pub(super) fn add(&self, path: &str, times: Option<u32>, fault: Fault) {
        self.rules.lock().unwrap().push((path.to_owned(), times, fault));
    }

    pub(super) fn clear(&self) {
        self.rules.lock().unwrap().clear();
    }

    /// The first rule for this request that is not used up.
    pub(super) fn fault(&self, path: &str, method: &Method, headers: &HeaderMap) -> Option<Fault> {
        match self.rule(path)? {
            Fault::OnRange(fault) => headers.contains_key("range").then_some(*fault),
            Fault::OnHead(fault) => (method == Method::HEAD).then_some(*fault),
            fault => Some(fault),
        }
    }

    fn rule(&self, path: &str) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap();
        let (_, times, fault) = rules
            .iter_mut()
            .find(|(part, times, _)| path.contains(&**part) && *times != Some(0))?;
        if let Some(times) = times {
            *times -= 1;
        }
        Some(fault.clone())
    }
}
