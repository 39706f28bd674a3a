//! Pages for people.

pub(crate) mod front_page;
