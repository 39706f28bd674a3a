//! Reading an index: pages, lists, files and siblings (PEP 503, 691, 658, 740), and why something is not there.
//!
//! Imports: `access`, `client_context`, `http`, `site`.

pub(crate) mod not_offered;
pub(crate) mod read;
pub(crate) mod why;
