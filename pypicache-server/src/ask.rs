//! From a request's headers to the question that is asked of a source: how far it may go, and which way it came.

use hyper::HeaderMap;
use hyper::header::{CACHE_CONTROL, HeaderValue, VIA};
use pypicache_core::source::{Ask, Reach, SourceError, Via};

/// What the request's headers say about how far to ask.
pub(crate) fn ask_of(pseudonym: &str, headers: &HeaderMap, path: &str) -> Result<Ask, SourceError> {
    if !headers.contains_key(VIA) && !headers.contains_key(CACHE_CONTROL) {
        return Ok(Ask::default());
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
    let reach = match (says("only-if-cached"), says("no-cache")) {
        (true, _) => Reach::HeldOnly,
        (false, true) => Reach::Revalidate,
        (false, false) => Reach::Anywhere,
    };
    Ok(Ask {
        reach,
        via,
        ..Ask::default()
    })
}
