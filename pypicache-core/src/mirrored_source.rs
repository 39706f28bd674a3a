//! Several upstreams of one source, equals in order of preference: "the team's cache when reachable, else PyPI".
//!
//! Each question goes to the first upstream that is not known to be failing; if it cannot tell, the next is
//! asked. "Absent" is an answer like any other: the upstreams are equals, so nobody else needs to be asked.
//! An upstream that failed is tried last for a while, so a dead one costs its time-out once, not per question.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::model::ProjectName;
use crate::source::{
    Answer, Ask, Cause, FileQuestion, FileReply, IndexSource, ListReply, PageReply, SourceError,
};

/// How long an upstream that failed is tried last.
const PAUSE: Duration = Duration::from_secs(15);

/// Equal upstreams in order of preference.
#[derive(Debug)]
pub struct MirroredSource {
    name: Arc<str>,
    upstreams: Vec<Upstream>,
}

#[derive(Debug)]
struct Upstream {
    source: Arc<dyn IndexSource>,
    /// A std mutex: held for a read or a write, never across an await.
    failed_at: Mutex<Option<Instant>>,
}

impl Upstream {
    fn is_paused(&self) -> bool {
        self.failed_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some_and(|at| at.elapsed() < PAUSE)
    }

    fn note(&self, failed: bool) {
        *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner) = failed.then(Instant::now);
    }
}

impl MirroredSource {
    /// `upstreams` of the source `name`, the preferred one first.
    #[must_use]
    pub fn new(name: &str, upstreams: Vec<Arc<dyn IndexSource>>) -> Self {
        let upstream = |source| Upstream {
            source,
            failed_at: Mutex::new(None),
        };
        Self {
            name: name.into(),
            upstreams: upstreams.into_iter().map(upstream).collect(),
        }
    }

    /// The upstreams in the order in which they are to be asked now.
    fn in_order(&self) -> impl Iterator<Item = &Upstream> {
        let (paused, ready): (Vec<_>, Vec<_>) =
            self.upstreams.iter().partition(|upstream| upstream.is_paused());
        ready.into_iter().chain(paused)
    }

    fn nobody_could_tell(&self, asked: impl fmt::Display, reasons: &[String]) -> SourceError {
        SourceError::unavailable(asked, &self.name, Cause::All(reasons.join("; ").into()))
    }
}

impl Upstream {
    /// Takes an answer for good, or notes why the next upstream has to be asked.
    fn settle<T>(
        &self,
        answer: Result<T, SourceError>,
        reasons: &mut Vec<String>,
    ) -> Option<Result<T, SourceError>> {
        let reason = match &answer {
            Err(error) if error.is_unavailable() => error.chain(),
            _ => {
                self.note(false);
                return Some(answer);
            }
        };
        tracing::debug!(upstream = %self.source, error = reason, "the next upstream is asked");
        self.note(true);
        reasons.push(reason);
        None
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl IndexSource for MirroredSource {
    async fn projects(&self, ask: &Ask) -> Result<Answer<ListReply>, SourceError> {
        let mut reasons = Vec::new();
        for upstream in self.in_order() {
            if let Some(answer) = upstream.settle(upstream.source.projects(ask).await, &mut reasons) {
                return answer;
            }
        }
        Err(self.nobody_could_tell("the project list", &reasons))
    }

    async fn page(&self, project: &ProjectName, ask: &Ask) -> Result<Answer<PageReply>, SourceError> {
        let mut reasons = Vec::new();
        for upstream in self.in_order() {
            if let Some(answer) = upstream.settle(upstream.source.page(project, ask).await, &mut reasons) {
                return answer;
            }
        }
        Err(self.nobody_could_tell(format_args!("the page of {project}"), &reasons))
    }

    async fn file(&self, question: &FileQuestion, ask: &Ask) -> Result<Answer<FileReply>, SourceError> {
        let mut reasons = Vec::new();
        for upstream in self.in_order() {
            if let Some(answer) = upstream.settle(upstream.source.file(question, ask).await, &mut reasons) {
                return answer;
            }
        }
        Err(self.nobody_could_tell(&question.path, &reasons))
    }
}

impl fmt::Display for MirroredSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self
            .upstreams
            .iter()
            .map(|upstream| upstream.source.to_string())
            .collect();
        write!(f, "{} from any of [{}]", self.name, names.join(", "))
    }
}
