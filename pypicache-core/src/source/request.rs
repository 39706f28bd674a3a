//! How a source is asked.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::Validators;
use crate::model::{FileEntry, FilePath, ProjectName};

/// What goes with every request.
#[derive(Debug, Clone, Default)]
pub struct RequestContext {
    /// How far the request may travel.
    pub cache_mode: CacheMode,
    /// What the client holds already: a source that finds it still valid answers [`super::Answer::NotModified`].
    pub validators: Option<Validators>,
    /// The tiers that the request came through, nearest last.
    pub via: Via,
    /// Which of a page's files are wanted.
    pub view: View,
    /// How long the client waits for the beginning of an answer, where it has a choice; sources have bounds of
    /// their own as well.
    pub timeout: Option<Duration>,
    /// The only upstream that may hear of this (its index URL): what is held of the project came from a source of
    /// that upstream's own, so it is nobody else's business.
    pub pinned_upstream: Option<Arc<str>>,
    /// What the client says it is (`User-Agent`), as received; for guesses only.
    pub agent: Option<HeaderValue>,
    /// What the log lines of all tiers about this request have in common (`X-Request-Id`).
    pub request_id: Option<HeaderValue>,
}

/// How much shorter each tier waits than the one below it, so that the one that waits in vain tells the others why.
const TIER_STEP: Duration = Duration::from_millis(100);

impl RequestContext {
    /// How long to wait for the beginning of an answer: within a bound of one's own and the client's time-out, and
    /// less the more tiers wait behind.
    #[must_use]
    pub fn timeout_within(&self, bound: Duration) -> Duration {
        let tiers = u32::try_from(self.via.len()).unwrap_or(u32::MAX);
        let ours = bound
            .saturating_sub(TIER_STEP.saturating_mul(tiers))
            .max(bound / 2);
        self.timeout.map_or(ours, |theirs| theirs.min(ours))
    }

    /// The same without validators: for a client that has nothing to be confirmed.
    #[must_use]
    pub fn without_validators(&self) -> Self {
        Self {
            validators: None,
            ..self.clone()
        }
    }
}

/// Which files of a page are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum View {
    /// All that the origin lists.
    #[default]
    Everything,
    /// Those that can be installed right now, without anybody being asked. Goes with [`CacheMode::OnlyIfCached`].
    Held,
}

/// How far a request may travel: the request's `Cache-Control` (RFC 9111 section 5.2.1) in three words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CacheMode {
    /// To the origin where needed.
    #[default]
    Default,
    /// To the origin in any case, before a held answer is given (`no-cache`, `max-age=0`).
    NoCache,
    /// No further than what is held here (`only-if-cached`).
    OnlyIfCached,
}

/// The `Via` chain of a request (RFC 9110 section 7.6.3): one pseudonym for each tier it came through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Via(Option<Arc<str>>);

impl Via {
    /// Reads a received field's value.
    #[must_use]
    pub fn received(value: &str) -> Self {
        Self((!value.trim().is_empty()).then(|| value.trim().into()))
    }

    /// Whether a tier of this pseudonym has already passed the request on.
    #[must_use]
    pub fn contains(&self, pseudonym: &str) -> bool {
        let Some(chain) = &self.0 else { return false };
        chain
            .split(',')
            .any(|hop| hop.split_ascii_whitespace().nth(1) == Some(pseudonym))
    }

    /// How many tiers it names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |chain| chain.split(',').count())
    }

    /// Whether the request came straight from its client.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The value for the next request, with the tier of this pseudonym added.
    #[must_use]
    pub fn and(&self, pseudonym: &str) -> String {
        match &self.0 {
            Some(chain) => format!("{chain}, 1.1 {pseudonym}"),
            None => format!("1.1 {pseudonym}"),
        }
    }
}

/// Which file is asked for, and how much of it.
#[derive(Debug, Clone)]
pub struct FileRequest {
    /// The file's identity.
    pub path: FilePath,
    /// The file itself or a sibling.
    pub sibling: Sibling,
    /// Only this part. A source may answer with the whole all the same.
    pub range: Option<ByteRange>,
    /// Only the facts (length, digest), no bytes: the body of the answer is empty.
    pub head_only: bool,
    /// The page's entry for the file, where the client has it: spares the source a look-up.
    pub entry: Option<Arc<FileEntry>>,
    /// The project whose page lists the file, where that is known and the file's name does not tell.
    pub listed_by: Option<ProjectName>,
}

impl FileRequest {
    /// The whole file.
    #[must_use]
    pub fn whole(path: FilePath) -> Self {
        Self {
            path,
            sibling: Sibling::File,
            range: None,
            head_only: false,
            entry: None,
            listed_by: None,
        }
    }

    /// The whole METADATA sibling.
    #[must_use]
    pub fn metadata(path: FilePath) -> Self {
        Self {
            sibling: Sibling::Metadata,
            ..Self::whole(path)
        }
    }

    /// The same request for a part only.
    #[must_use]
    pub fn with_range(mut self, range: ByteRange) -> Self {
        self.range = Some(range);
        self
    }

    /// The same request with the page's entry.
    #[must_use]
    pub fn with_entry(mut self, entry: Arc<FileEntry>) -> Self {
        self.entry = Some(entry);
        self
    }
}

/// The file itself or something that lives beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sibling {
    /// The distribution file.
    File,
    /// Its METADATA (PEP 658): `<file>.metadata`.
    Metadata,
}

impl Sibling {
    /// What is added to the file's URL.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::File => "",
            Self::Metadata => ".metadata",
        }
    }
}

/// A single byte range as asked for (RFC 9110 section 14.1.2), positions counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// From the first position to the second, both included.
    Between(u64, u64),
    /// From the position to the end.
    From(u64),
    /// The last so many bytes; the whole file where it is shorter.
    Last(u64),
}

impl ByteRange {
    /// Where the range lies in a file of `size` bytes, as (offset, length); `None` where it cannot be satisfied.
    ///
    /// ```
    /// use pypicache_core::source::ByteRange;
    /// assert_eq!(ByteRange::Last(500).within(200), Some((0, 200)));
    /// assert_eq!(ByteRange::Between(10, 19).within(15), Some((10, 5)));
    /// assert_eq!(ByteRange::From(15).within(15), None);
    /// ```
    #[must_use]
    pub fn within(self, size: u64) -> Option<(u64, u64)> {
        match self {
            Self::Between(first, last) if first <= last && first < size => {
                Some((first, last.min(size - 1) - first + 1))
            }
            Self::From(first) if first < size => Some((first, size - first)),
            Self::Last(count) if count > 0 && size > 0 => Some((size - count.min(size), count.min(size))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tiers_further_up_give_up_sooner() {
        let second = Duration::from_secs(1);
        let mut context = RequestContext::default();
        assert_eq!(context.timeout_within(second), second);
        context.via = Via::received("1.1 laptop, 1.1 team");
        assert_eq!(context.timeout_within(second), Duration::from_millis(800));
        context.timeout = Some(Duration::from_millis(300));
        assert_eq!(context.timeout_within(second), Duration::from_millis(300));
        context = RequestContext::default();
        context.via = Via::received(&vec!["1.1 x"; 50].join(","));
        assert_eq!(context.timeout_within(second), second / 2);
    }

    #[test]
    fn via_grows_and_finds_loops() {
        let first = Via::received("").and("laptop");
        let second = Via::received(&first).and("team");
        assert_eq!(second, "1.1 laptop, 1.1 team");
        assert!(Via::received(&second).contains("laptop"));
        assert!(!Via::received(&second).contains("lap"));
    }

    proptest! {
        #[test]
        fn a_range_never_leaves_the_file(first in 0u64.., last in 0u64.., size in 0u64..) {
            for range in [ByteRange::Between(first, last), ByteRange::From(first), ByteRange::Last(last)] {
                if let Some((offset, length)) = range.within(size) {
                    prop_assert!(length > 0 && offset.checked_add(length).is_some_and(|end| end <= size));
                }
            }
        }
    }
}
