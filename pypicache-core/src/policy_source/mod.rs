//! Rules for what may be seen of a source: the same for pages, files and siblings, for what is fetched and for what has
//! been held for years.
//!
//! A page is held against the rules once for each revision of it, and again when a file comes of age; a page that
//! nothing is kept out of stays the very value that it was. A file is looked up on its page as far as that is held, so that
//! no file waits for an upstream because of a rule.
//!
//! What is kept out is not there for installers to choose. Where a page has nothing left, and for a file that is asked
//! for by its link, the answer is [`SourceError::Denied`], which names the rule: "absent" would send installers to
//! other indexes.
//!
//! Imports: `model`, `offload`, `source`.

mod judge;
mod rules;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use moka::sync::Cache;

pub use rules::{CoolDown, Denial, InvalidTarget, Rule, Rules, Target, Undated, Verdict, YankedFiles};

use crate::Clock;
use crate::model::{FileEntry, FilePath, ProjectName, ProjectPage};
use crate::offload::offload_in_place;
use crate::source::{
    Answer, CacheMode, FileReply, FileRequest, IndexSource, ListReply, PageReply, RequestContext, SourceError,
};

/// How many files the judged pages in memory list together.
const FILES_IN_MEMORY: u64 = 250_000;

/// From so many files on, others would notice how long it takes to hold them against rules.
const LARGE: usize = 500;

/// A source behind rules.
///
/// ```
/// use std::sync::Arc;
/// use pypicache_core::{Clock, disk_source::DiskSource, policy_source::{PolicySource, Rule, Rules, Target, Verdict}};
/// let no_evil = Rule {
///     name: "no-evil".into(), verdict: Verdict::Deny, targets: vec![Target::parse("evil-*")?],
///     kinds: vec![], tags: vec![], reason: Some("see the wiki".to_owned()),
/// };
/// let rules = Rules { rules: vec![no_evil], ..Rules::default() };
/// let guarded = PolicySource::new(Arc::new(DiskSource::new("ours", "wheels")), rules, Clock::system());
/// assert_eq!(guarded.to_string(), "rules over disk ours (wheels)");
/// # Ok::<(), pypicache_core::policy_source::InvalidTarget>(())
/// ```
#[derive(Clone)]
pub struct PolicySource {
    shared: Arc<Shared>,
}

struct Shared {
    inner: Arc<dyn IndexSource>,
    rules: Rules,
    clock: Clock,
    judged: Cache<ProjectName, Arc<Judged>>,
}

/// A page as the rules see it.
struct Judged {
    /// The page itself.
    page: Arc<ProjectPage>,
    /// What may be seen of it.
    shown: Arc<ProjectPage>,
    denials: HashMap<FilePath, Denial>,
    /// All that the page lists.
    listed: HashSet<FilePath>,
    /// For the client: how much is kept out, by which rules.
    notice: Option<Arc<str>>,
    /// When the next file comes of age.
    until: Option<SystemTime>,
}

/// A file with what the rules say of it.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The file.
    pub path: FilePath,
    /// Why it is not to be seen; `None` where it is.
    pub denial: Option<Denial>,
}

impl PolicySource {
    /// `inner`, as far as `rules` allow.
    #[must_use]
    pub fn new(inner: Arc<dyn IndexSource>, rules: Rules, clock: Clock) -> Self {
        let weigh = |_: &ProjectName, judged: &Arc<Judged>| {
            u32::try_from(judged.page.files.len())
                .unwrap_or(u32::MAX)
                .saturating_add(1)
        };
        let shared = Shared {
            inner,
            rules,
            clock,
            judged: Cache::builder()
                .max_capacity(FILES_IN_MEMORY)
                .weigher(weigh)
                .build(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// What the rules say of each file of a project, whether they are only tried or not.
    pub async fn explain(
        &self,
        project: &ProjectName,
        context: &RequestContext,
    ) -> Result<Answer<Vec<Explanation>>, SourceError> {
        let answer = self
            .shared
            .inner
            .page(project, &context.without_validators())
            .await?;
        Ok(answer.map(|reply| {
            let judged = self.shared.judge(project, &reply.page);
            let explained = |file: &FileEntry| Explanation {
                path: file.path.clone(),
                denial: judged.denials.get(&file.path).cloned(),
            };
            reply.page.files.iter().map(explained).collect()
        }))
    }
}

impl Shared {
    /// The page held against the rules, once for as long as neither it nor the verdict changes.
    fn judge(&self, project: &ProjectName, page: &Arc<ProjectPage>) -> Arc<Judged> {
        let now = self.clock.now();
        let still_right = |judged: &Arc<Judged>| {
            Arc::ptr_eq(&judged.page, page) && judged.until.is_none_or(|until| now < until)
        };
        if let Some(known) = self.judged.get(project).filter(still_right) {
            return known;
        }
        let rules = self.rules.for_project(project);
        let mut denials = HashMap::new();
        if !rules.is_silent() {
            let denied = page
                .files
                .iter()
                .filter_map(|file| Some((file.path.clone(), rules.denial(file, now)?)));
            offload_in_place(page.files.len() > LARGE, || denials.extend(denied));
        }
        let judged = Arc::new(Judged {
            page: page.clone(),
            shown: self.shown(page, &denials),
            notice: self.notice(&denials),
            listed: page.files.iter().map(|file| file.path.clone()).collect(),
            until: denials.values().filter_map(|denial| denial.until).min(),
            denials,
        });
        self.judged.insert(project.clone(), judged.clone());
        judged
    }

    fn shown(&self, page: &Arc<ProjectPage>, denials: &HashMap<FilePath, Denial>) -> Arc<ProjectPage> {
        if denials.is_empty() || self.rules.dry_run {
            return page.clone();
        }
        let mut shown = ProjectPage {
            files: page
                .files
                .iter()
                .filter(|file| !denials.contains_key(&file.path))
                .cloned()
                .collect(),
            ..ProjectPage::clone(page)
        };
        if let Some(versions) = &mut shown.versions {
            // A release of which every file is kept out is not there; one that never had a file stays.
            let of = |files: &[FileEntry]| -> Vec<_> {
                files
                    .iter()
                    .filter_map(|file| file.filename.version_for(&page.name))
                    .collect()
            };
            let (before, after) = (of(&page.files), of(&shown.files));
            versions.retain(|version| {
                let version = version.parse::<pep440_rs::Version>().ok();
                version.is_none_or(|version| after.contains(&version) || !before.contains(&version))
            });
        }
        Arc::new(shown)
    }

    /// `3 files by cool-down, 1 by no-evil`.
    fn notice(&self, denials: &HashMap<FilePath, Denial>) -> Option<Arc<str>> {
        let mut counts: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
        for denial in denials.values() {
            *counts.entry(&denial.rule).or_default() += 1;
        }
        let parts: Vec<_> = counts
            .iter()
            .map(|(rule, count)| format!("{count} by {rule}"))
            .collect();
        let dry_run = if self.rules.dry_run { " (dry run)" } else { "" };
        (!parts.is_empty()).then(|| format!("{}{dry_run}", parts.join(", ")).into())
    }

    /// Why a file is not to be had. `None`: it is, or nobody knows it.
    async fn denial_of(
        &self,
        path: &FilePath,
        context: &RequestContext,
    ) -> Result<Option<Denial>, SourceError> {
        let held_only = RequestContext {
            cache_mode: CacheMode::OnlyIfCached,
            ..context.without_validators()
        };
        let owners = path.file_name().owners();
        for (project, _) in &owners {
            let answer = match self.inner.page(project, &held_only).await {
                // Nothing is held of it: then whoever asks for the file has to wait for the page in any case.
                Err(SourceError::NotHeld { .. }) if context.cache_mode != CacheMode::OnlyIfCached => {
                    self.inner.page(project, &context.without_validators()).await
                }
                answer => answer,
            };
            match answer {
                Ok(Answer::Found(reply)) => {
                    let judged = self.judge(project, &reply.page);
                    if judged.listed.contains(path) {
                        return Ok(judged.denials.get(path).cloned());
                    }
                }
                Err(error @ SourceError::Denied { .. }) => return Err(error),
                Ok(Answer::NotFound(_) | Answer::NotModified(_)) | Err(_) => {}
            }
        }
        // On no page that can be had: its name says what can be said, and its age is unknown.
        let entry = FileEntry::new(path.clone());
        let now = self.clock.now();
        Ok(owners
            .iter()
            .find_map(|(project, _)| self.rules.for_project(project).denial(&entry, now)))
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl IndexSource for PolicySource {
    async fn projects(&self, context: &RequestContext) -> Result<Answer<ListReply>, SourceError> {
        self.shared.inner.projects(context).await
    }

    async fn page(
        &self,
        project: &ProjectName,
        context: &RequestContext,
    ) -> Result<Answer<PageReply>, SourceError> {
        // What a file's age allows changes without its page: nothing is confirmed, all is looked at.
        let answer = self
            .shared
            .inner
            .page(project, &context.without_validators())
            .await?;
        let Answer::Found(mut reply) = answer else {
            return Ok(answer);
        };
        let judged = self.shared.judge(project, &reply.page);
        if judged.shown.files.is_empty() && !reply.page.files.is_empty() {
            let notice = judged.notice.as_deref().unwrap_or_default();
            let reason = judged
                .denials
                .values()
                .next()
                .map(|denial| denial.reason.clone())
                .unwrap_or_default();
            let rules = format!("{notice} ({reason})");
            return Err(SourceError::denied(
                format_args!("every file of {project}"),
                &rules,
            ));
        }
        reply.cache_status.notice = judged.notice.clone();
        reply.page = judged.shown.clone();
        reply.validators = None;
        Ok(Answer::Found(reply))
    }

    async fn file(
        &self,
        request: &FileRequest,
        context: &RequestContext,
    ) -> Result<Answer<FileReply>, SourceError> {
        let denial = self.shared.denial_of(&request.path, context).await?;
        match denial.filter(|denial| !denial.only_listed && !self.shared.rules.dry_run) {
            Some(denial) => {
                let reason = format!("{} ({})", denial.rule, denial.reason);
                Err(SourceError::denied(request.path.file_name(), &reason))
            }
            None => self.shared.inner.file(request, context).await,
        }
    }
}

impl fmt::Display for PolicySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rules over {}", self.shared.inner)
    }
}

impl fmt::Debug for PolicySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PolicySource({self})")
    }
}
