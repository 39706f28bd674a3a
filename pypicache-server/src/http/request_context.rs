//! From a request's headers to the request that is asked of a source: how far it may go, and which way it came.

use hyper::HeaderMap;
use hyper::header::{CACHE_CONTROL, HeaderValue, VIA};
use pypicache_core::source::{CacheMode, RequestContext, SourceError, Via};

/// What the request's headers say about how far to ask.
pub(crate) fn context_of(
    pseudonym: &str,
    headers: &HeaderMap,
    path: &str,
) -> Result<RequestContext, SourceError> {
    if !headers.contains_key(VIA) && !headers.contains_key(CACHE_CONTROL) {
        return Ok(RequestContext::default());
    }
    let all = |name| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value: &HeaderValue| value.to_str().ok())
            .collect::<Vec<_>>()
            .join(",")
    };
    let received = all(VIA);
    let via = Via::received(&received);
    if via.contains(pseudonym) {
        let story = format!(
            "{pseudonym} was asked for {path} by itself (Via: {received}); point one of these tiers somewhere else"
        );
        return Err(SourceError::Loop(story.into()));
    }
    let cache_control = all(CACHE_CONTROL).to_ascii_lowercase();
    let says = |word: &str| cache_control.split(',').any(|directive| directive.trim() == word);
    // `max-age=0` is passed over on purpose: pip up to 26.1 sends it with every page, and asking the upstream
    // each time would make a cache of no use to it.
    let cache_mode = match (says("only-if-cached"), says("no-cache")) {
        (true, _) => CacheMode::OnlyIfCached,
        (false, true) => CacheMode::NoCache,
        (false, false) => CacheMode::Default,
    };
    Ok(RequestContext {
        cache_mode,
        via,
        ..RequestContext::default()
    })
}
