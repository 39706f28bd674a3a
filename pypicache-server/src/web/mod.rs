//! Pages for people.
//!
//! Imports: `http`, `site`.

pub(crate) mod front_page;
