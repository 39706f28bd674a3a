//! Changing what is hosted: uploads (PyPI's legacy upload API), management (yank, delete, restore, status), tokens for CI jobs.
//!
//! Imports: `access`, `client_context`, `http`, `observe`, `site`.

pub(crate) mod manage;
pub(crate) mod mint;
pub(crate) mod upload;
