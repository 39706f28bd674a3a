//! Several sources in order: the first that owns a name answers for all of it.
//!
//! This is the guard against dependency confusion. Who owns a name is decided by the page: only a source that
//! says "absent" lets the next one be asked; one that cannot tell ends the request with its error. So a
//! private name is never asked of a public index, whatever is broken, and a page never mixes two sources.
//!
//! Two exceptions, each to be asked for: a source may lay files over projects that another one owns (`overlay`), and a source
//! may claim names by patterns. Nobody else is asked about claimed names, held or not, reachable or not,
//! and the source itself is asked about nothing else. Where a list of projects shows that a later source has a name that
//! belongs to an earlier one, an alarm is raised: somebody may be waiting for a mistake.
//!
//! Imports: `model`, `source`.

mod overlay;

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::model::{FilePath, NamePattern, ProjectList, ProjectName};
use crate::{AlarmKind, Alarms};
use overlay::Overlays;

use crate::source::{
    Answer, CacheStatus, FileReply, FileRequest, Freshness, IndexSource, ListReply, PageReply,
    RequestContext, SourceError,
};

/// Sources in order of who may answer first.
///
/// ```
/// use std::sync::Arc;
/// use pypicache_core::chained_source::{ChainedSource, Member};
/// use pypicache_core::disk_source::DiskSource;
/// use pypicache_core::model::NamePattern;
/// let ours = Member::with_claims(Arc::new(DiskSource::new("ours", "wheels")), vec![NamePattern::parse("acme-*")?]);
/// let theirs = Member::new(Arc::new(DiskSource::new("theirs", "mirror")));
/// let chain = ChainedSource::new(vec![ours, theirs]);
/// assert_eq!(chain.to_string(), "first of [disk ours (wheels) for acme-*, disk theirs (mirror)]");
/// # Ok::<(), pypicache_core::model::InvalidProjectName>(())
/// ```
#[derive(Debug)]
pub struct ChainedSource {
    members: Vec<Member>,
    overlays: Overlays,
    alarms: Alarms,
    /// Names that an alarm was raised for. A std mutex: held for a look-up.
    reported: Mutex<HashSet<ProjectName>>,
}

/// A source in a chain.
#[derive(Debug, Clone)]
pub struct Member {
    source: Arc<dyn IndexSource>,
    /// The names that it claims; empty: it claims none, and hears of all that nobody claims.
    claims: Vec<NamePattern>,
    /// The names that it does not own, but adds files to.
    overlay: Vec<NamePattern>,
}

impl Member {
    /// A source that is asked about every name that nobody claims.
    #[must_use]
    pub fn new(source: Arc<dyn IndexSource>) -> Self {
        Self::with_claims(source, Vec::new())
    }

    /// A source that is asked about names that fit `claims`, and is the only one (with others that claim them) to
    /// be asked about these. Without claims, this is [`Member::new`].
    #[must_use]
    pub fn with_claims(source: Arc<dyn IndexSource>, claims: Vec<NamePattern>) -> Self {
        Self {
            source,
            claims,
            overlay: Vec::new(),
        }
    }

    /// The same, whose files of projects that fit `overlay` are added to those of whoever owns the project.
    #[must_use]
    pub fn with_overlay(mut self, overlay: Vec<NamePattern>) -> Self {
        self.overlay = overlay;
        self
    }

    /// The source itself.
    #[must_use]
    pub fn into_source(self) -> Arc<dyn IndexSource> {
        self.source
    }

    fn claims(&self, name: &ProjectName) -> bool {
        self.claims.iter().any(|pattern| pattern.matches(name))
    }

    fn overlays_project(&self, name: &ProjectName) -> bool {
        self.overlay.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether `source` has a page for one of the projects that the file may belong to.
    async fn owns(&self, path: &FilePath, context: &RequestContext) -> Result<bool, SourceError> {
        for (project, _) in path.file_name().owners() {
            if self.overlays_project(&project) {
                continue;
            }
            let answer = self.source.page(&project, &context.without_validators()).await?;
            if !matches!(answer, Answer::NotFound(_)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl ChainedSource {
    /// The first of `members` that owns a name answers for it.
    #[must_use]
    pub fn new(members: Vec<Member>) -> Self {
        Self {
            members,
            overlays: Overlays::new(),
            alarms: Alarms::default(),
            reported: Mutex::default(),
        }
    }

    /// The same with somebody who is told of names that exist elsewhere too.
    #[must_use]
    pub fn with_alarms(mut self, alarms: Alarms) -> Self {
        self.alarms = alarms;
        self
    }

    /// Raises an alarm, once for each name, for what a later source lists of what is not its own.
    fn report(&self, member: &Member, list: &ProjectList, earlier: &HashSet<ProjectName>) {
        for project in list.projects() {
            let name = &project.name;
            let is_foreign = earlier.contains(name) || (self.is_claimed(name) && !member.claims(name));
            if !is_foreign || member.overlays_project(name) {
                continue;
            }
            let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
            if reported.insert(name.clone()) {
                let source: Arc<str> = member.source.to_string().into();
                let detail =
                    "a name that belongs to an earlier source exists here too; it is never asked for here";
                self.alarms.raise(AlarmKind::NameElsewhere, &source, name, detail);
            }
        }
    }

    fn is_claimed(&self, name: &ProjectName) -> bool {
        self.members.iter().any(|member| member.claims(name))
    }

    /// The owner's page with the files of those who lie over it.
    async fn with_overlays(
        &self,
        mut reply: PageReply,
        over: &[&Member],
        project: &ProjectName,
        context: &RequestContext,
    ) -> Result<PageReply, SourceError> {
        let mut above = Vec::new();
        for member in over {
            if let Answer::Found(more) = member.source.page(project, &context.without_validators()).await? {
                above.push(more.page);
                reply.freshness = reply.freshness.or_shorter(more.freshness);
                // What would be confirmed is a part of the page.
                reply.validators = None;
            }
        }
        reply.page = self.overlays.merged(reply.page, above);
        Ok(reply)
    }

    /// Who may hear of a name: those who claim it, and where nobody does, those who claim nothing. A file may belong
    /// to several projects, as far as its name tells; one claimed name among these is enough.
    fn confidants(&self, names: &[ProjectName]) -> impl Iterator<Item = &Member> {
        let claims = |member: &Member| names.iter().any(|name| member.claims(name));
        let is_claimed = self.members.iter().any(claims);
        self.members
            .iter()
            .filter(move |member| match is_claimed {
                true => claims(member),
                false => member.claims.is_empty(),
            })
            .collect::<Vec<_>>()
            .into_iter()
    }

    /// What of a member's list it speaks for.
    fn own_part(&self, member: &Member, list: &ProjectList) -> ProjectList {
        if self.members.iter().all(|member| member.claims.is_empty()) {
            return list.clone();
        }
        let speaks_for = |name: &&ProjectName| {
            let mut confidants = self.confidants(std::slice::from_ref(*name));
            confidants.any(|confidant| std::ptr::eq(confidant, member))
        };
        let names = list.projects().iter().map(|project| &project.name);
        names.filter(speaks_for).cloned().collect()
    }
}

/// An absence that says nothing yet: it counts as long as the shortest that follows.
fn endless() -> Freshness {
    Freshness::new(Duration::MAX)
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl IndexSource for ChainedSource {
    async fn projects(&self, context: &RequestContext) -> Result<Answer<ListReply>, SourceError> {
        let mut merged = ProjectList::default();
        let (mut freshness, mut cache_status) = (endless(), CacheStatus::default());
        let mut earlier = HashSet::new();
        for member in &self.members {
            if let Answer::Found(reply) = member.source.projects(&context.without_validators()).await? {
                self.report(member, &reply.list, &earlier);
                let owned = reply.list.projects().iter().map(|project| &project.name);
                earlier.extend(owned.filter(|name| !member.overlays_project(name)).cloned());
                merged = merged.merged(&self.own_part(member, &reply.list));
                freshness = freshness.or_shorter(reply.freshness);
                cache_status.hops.extend(reply.cache_status.hops);
                cache_status.received = cache_status.received.or(reply.cache_status.received);
            }
        }
        Ok(Answer::Found(ListReply {
            list: Arc::new(merged),
            freshness,
            cache_status,
        }))
    }

    async fn page(
        &self,
        project: &ProjectName,
        context: &RequestContext,
    ) -> Result<Answer<PageReply>, SourceError> {
        let mut absent = endless();
        let confidants = self.confidants(std::slice::from_ref(project));
        let (over, owners): (Vec<_>, Vec<_>) =
            confidants.partition(|member| member.overlays_project(project));
        let context = &match over.is_empty() {
            true => context.clone(),
            false => context.without_validators(),
        };
        for member in owners {
            match member.source.page(project, context).await? {
                Answer::NotFound(freshness) => absent = absent.or_shorter(freshness),
                Answer::Found(reply) if !over.is_empty() => {
                    return self
                        .with_overlays(reply, &over, project, context)
                        .await
                        .map(Answer::Found);
                }
                answer => return Ok(answer),
            }
        }
        // Nobody owns the project: what lies over it is all there is.
        for member in over {
            match member.source.page(project, context).await? {
                Answer::NotFound(freshness) => absent = absent.or_shorter(freshness),
                answer => return Ok(answer),
            }
        }
        Ok(Answer::NotFound(absent))
    }

    async fn file(
        &self,
        request: &FileRequest,
        context: &RequestContext,
    ) -> Result<Answer<FileReply>, SourceError> {
        let mut absent = endless();
        let filename = request.path.file_name();
        let mut names: Vec<_> = filename.owners().into_iter().map(|(name, _)| name).collect();
        if names.is_empty() {
            // Its page may be claimed all the same.
            names = filename.other_owners();
        }
        for member in self.confidants(&names) {
            match member.source.file(request, context).await? {
                Answer::NotFound(freshness) => absent = absent.or_shorter(freshness),
                answer => return Ok(answer),
            }
            if member.owns(&request.path, context).await? {
                break;
            }
        }
        Ok(Answer::NotFound(absent))
    }
}

impl fmt::Display for ChainedSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |member: &Member| {
            let claims: Vec<_> = member.claims.iter().map(ToString::to_string).collect();
            match claims.is_empty() {
                true => member.source.to_string(),
                false => format!("{} for {}", member.source, claims.join(" ")),
            }
        };
        let names: Vec<_> = self.members.iter().map(name).collect();
        write!(f, "first of [{}]", names.join(", "))
    }
}
