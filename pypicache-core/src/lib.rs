//! Sources of Python packages that chain.
pub mod cached_source;
pub mod chained_source;
mod clock;
pub mod http_source;
pub mod mirrored_source;
pub mod model;
pub mod source;
pub mod store;
pub use clock::Clock;
pub mod simple { #![allow(missing_docs, unused)]
 use crate::model::*; use url::Url; use std::sync::Arc;
 #[derive(Clone,Copy)] pub enum Format {Json,Html} impl Format { pub fn of_content_type(h:&str)->Option<Format>{None} }
 pub const ACCEPT:&str="x";
 pub struct PageContext<'a> { pub project: &'a ProjectName, pub base: &'a Url, pub upstream: &'a Arc<str>, pub path_of: &'a (dyn Fn(&Url) -> Option<FilePath> + Send + Sync) , pub last_serial: Option<u64> }
 #[derive(Debug,thiserror::Error)] #[error("x")] pub struct ReadPageError;
 pub fn read_page(format: Format, body: &[u8], context: &PageContext) -> Result<ProjectPage, ReadPageError>{Err(ReadPageError)}
 pub fn read_list(format: Format, body: &[u8]) -> Result<ProjectList, ReadPageError>{Err(ReadPageError)}
}
pub mod archive { #![allow(missing_docs, unused)]
 use bytes::Bytes; use crate::source::SourceError; use std::io::*;
 #[derive(Debug,thiserror::Error)] #[error("x")] pub struct ArchiveError;
 #[derive(Debug,thiserror::Error)] pub enum RangedError { #[error("x")] Fetch(SourceError), #[error("y")] Other }
 pub fn wheel_metadata<R: Read + Seek>(reader: R) -> std::result::Result<Bytes, ArchiveError>{Err(ArchiveError)}
 pub async fn wheel_metadata_by_ranges<F, Fut>(size: u64, fetch: F) -> std::result::Result<Bytes, RangedError> where F: FnMut(u64, u64) -> Fut, Fut: Future<Output = std::result::Result<Bytes, SourceError>>{Err(RangedError::Other)}
}
