//! What the RFCs of HTTP say, as code: certificates, proxies, content negotiation, conditions and ranges, headers and bodies of answers.
//! Knows pages and files as things to be sent, but no source, no index, no user.
//!
//! Imports: `access`.

pub(crate) mod condition;
pub(crate) mod cors;
pub(crate) mod file_body;
pub(crate) mod header_text;
pub(crate) mod host;
pub(crate) mod negotiate;
pub(crate) mod problem;
pub(crate) mod proxy;
pub(crate) mod render;
pub(crate) mod request_context;
pub(crate) mod respond;
pub(crate) mod tls;
