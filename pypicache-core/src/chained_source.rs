//! Several sources in order: the first that owns a name answers for all of it.
//!
//! This is the guard against dependency confusion. Who owns a name is decided by the page: only a source that
//! says "absent" lets the next one be asked; one that cannot tell ends the question with its error. So a
//! private name is never asked of a public index, whatever is broken, and a page never mixes two sources.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::model::{FilePath, ProjectList, ProjectName};
use crate::source::{
    Answer, Ask, FileQuestion, FileReply, Freshness, IndexSource, ListReply, PageReply, SourceError, Trail,
};

/// Sources in order of who may answer first.
///
/// ```
/// use std::sync::Arc;
/// use pypicache_core::chained_source::ChainedSource;
/// use pypicache_core::disk_source::DiskSource;
/// let ours = DiskSource::new("ours", "wheels");
/// let theirs = DiskSource::new("theirs", "mirror");
/// let chain = ChainedSource::new(vec![Arc::new(ours), Arc::new(theirs)]);
/// assert_eq!(chain.to_string(), "first of [disk ours (wheels), disk theirs (mirror)]");
/// ```
#[derive(Debug)]
pub struct ChainedSource {
    sources: Vec<Arc<dyn IndexSource>>,
}

impl ChainedSource {
    /// The first of `sources` that owns a name answers for it.
    #[must_use]
    pub fn new(sources: Vec<Arc<dyn IndexSource>>) -> Self {
        Self { sources }
    }

    /// Whether `source` has a page for one of the projects that the file may belong to.
    async fn owns(source: &Arc<dyn IndexSource>, path: &FilePath, ask: &Ask) -> Result<bool, SourceError> {
        for (project, _) in path.file_name().owners() {
            let ask = ask.without_validators();
            if !matches!(source.page(&project, &ask).await?, Answer::Absent(_)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// An absence that says nothing yet: it counts as long as the shortest that follows.
fn endless() -> Freshness {
    Freshness::new(Duration::MAX)
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl IndexSource for ChainedSource {
    async fn projects(&self, ask: &Ask) -> Result<Answer<ListReply>, SourceError> {
        let mut merged = ProjectList::default();
        let (mut freshness, mut trail) = (endless(), Trail::default());
        for source in &self.sources {
            if let Answer::Found(reply) = source.projects(&ask.without_validators()).await? {
                merged = merged.merged(&reply.list);
                freshness = freshness.or_shorter(reply.freshness);
                trail.steps.extend(reply.trail.steps);
                trail.received = trail.received.or(reply.trail.received);
            }
        }
        Ok(Answer::Found(ListReply {
            list: Arc::new(merged),
            freshness,
            trail,
        }))
    }

    async fn page(&self, project: &ProjectName, ask: &Ask) -> Result<Answer<PageReply>, SourceError> {
        let mut absent = endless();
        for source in &self.sources {
            match source.page(project, ask).await? {
                Answer::Absent(freshness) => absent = absent.or_shorter(freshness),
                answer => return Ok(answer),
            }
        }
        Ok(Answer::Absent(absent))
    }

    async fn file(&self, question: &FileQuestion, ask: &Ask) -> Result<Answer<FileReply>, SourceError> {
        let mut absent = endless();
        for source in &self.sources {
            match source.file(question, ask).await? {
                Answer::Absent(freshness) => absent = absent.or_shorter(freshness),
                answer => return Ok(answer),
            }
            if Self::owns(source, &question.path, ask).await? {
                break;
            }
        }
        Ok(Answer::Absent(absent))
    }
}

impl fmt::Display for ChainedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.sources.iter().map(ToString::to_string).collect();
        write!(f, "first of [{}]", names.join(", "))
    }
}
