//! The form that uploaders send (multipart/form-data, RFC 7578), read as it comes: texts into memory, bounded; the file to
//! the disk. In any order of fields.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt as _};
use http_body_util::BodyStream;
use hyper::body::Incoming;
use multer::{Field, Multipart};
use pypicache_core::hosted_source::{HostedSource, ReceivedUpload, UploadWriter};
use pypicache_core::source::SourceError;

/// The longest boundary (RFC 2046 section 5.1.1).
const MAX_BOUNDARY: usize = 70;
/// Fields of one form.
const MAX_FIELDS: usize = 4096;
/// All texts together, in bytes.
const MAX_TEXT: u64 = 8 * 1024 * 1024;
/// What may come in while the headers of a field are looked for: these, and what a connection hands over at once.
const MAX_HEADERS: u64 = 2 * 1024 * 1024;
/// How long a client may be silent.
const SILENCE: Duration = Duration::from_secs(30);

/// The fields that matter; what else uploaders send is passed over, since METADATA says it.
const KEPT: [&str; 9] = [
    ":action",
    "name",
    "version",
    "filetype",
    "sha256_digest",
    "blake2_256_digest",
    "md5_digest",
    "attestations",
    "protocol_version",
];

/// A form that came in whole.
#[derive(Debug)]
pub(super) struct Form {
    texts: HashMap<String, String>,
    /// The file's name as the uploader spells it, and its bytes.
    pub(super) content: Option<(String, ReceivedUpload)>,
}

/// Why a form is not taken.
#[derive(Debug)]
pub(super) enum FormError {
    /// 400.
    Malformed(String),
    /// 413.
    TooLarge(String),
    /// 408.
    Silent,
    /// 500 or 507.
    Storage(SourceError),
}

impl Form {
    /// A text; what is empty or `UNKNOWN` is not there.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let value = self.texts.get(name).map(|value| value.trim());
        value.filter(|value| !value.is_empty() && *value != "UNKNOWN")
    }

    /// Reads a form. The file is received by `source`, `limit` is the most bytes that it may have.
    pub(super) async fn read(
        body: Incoming,
        content_type: &str,
        source: &HostedSource,
        limit: u64,
    ) -> Result<Self, FormError> {
        let no_form = |_| FormError::Malformed("an upload is multipart/form-data with a boundary".to_owned());
        let boundary = multer::parse_boundary(content_type).map_err(no_form)?;
        if boundary.len() > MAX_BOUNDARY {
            return Err(FormError::Malformed(format!(
                "a boundary has at most {MAX_BOUNDARY} characters"
            )));
        }
        let between = Arc::new(AtomicU64::new(0));
        let mut parts = Multipart::new(pieces(body, between.clone()), boundary);
        let mut form = Self {
            texts: HashMap::new(),
            content: None,
        };
        let mut text_left = MAX_TEXT;
        for count in 0.. {
            between.store(MAX_HEADERS, Ordering::Relaxed);
            let Some(field) = parts.next_field().await.map_err(understood)? else {
                break;
            };
            between.store(u64::MAX, Ordering::Relaxed);
            if count >= MAX_FIELDS {
                return Err(FormError::TooLarge(format!(
                    "a form has at most {MAX_FIELDS} fields"
                )));
            }
            let name = field.name().unwrap_or_default().to_owned();
            match name.as_str() {
                "content" if form.content.is_some() => {
                    return Err(FormError::Malformed("there are two files in the form".to_owned()));
                }
                "content" => form.content = Some(content(field, source, limit).await?),
                _ => form.take_text(&name, field, &mut text_left).await?,
            }
        }
        Ok(form)
    }

    async fn take_text(&mut self, name: &str, mut field: Field<'_>, left: &mut u64) -> Result<(), FormError> {
        let is_kept = KEPT.contains(&name);
        let mut text = Vec::new();
        while let Some(piece) = field.chunk().await.map_err(understood)? {
            *left = left.checked_sub(piece.len() as u64).ok_or_else(|| {
                FormError::TooLarge(format!("the texts of a form have at most {MAX_TEXT} bytes"))
            })?;
            if is_kept {
                text.extend_from_slice(&piece);
            }
        }
        if !is_kept {
            return Ok(());
        }
        let text = String::from_utf8(text)
            .map_err(|_| FormError::Malformed(format!("the field {name} is not UTF-8")))?;
        match self.texts.insert(name.to_owned(), text) {
            None => Ok(()),
            Some(_) => Err(FormError::Malformed(format!("there are two fields {name}"))),
        }
    }
}

async fn content(
    mut field: Field<'_>,
    source: &HostedSource,
    limit: u64,
) -> Result<(String, ReceivedUpload), FormError> {
    let no_name = || FormError::Malformed("the file in the form has no name".to_owned());
    let filename = field.file_name().map(str::to_owned).ok_or_else(no_name)?;
    let mut receiving: UploadWriter = source.receive().await.map_err(FormError::Storage)?;
    while let Some(piece) = field.chunk().await.map_err(understood)? {
        if receiving.size() + piece.len() as u64 > limit {
            return Err(FormError::TooLarge(format!(
                "a file has at most {limit} bytes here"
            )));
        }
        receiving.write(&piece).await.map_err(FormError::Storage)?;
    }
    let received = receiving.finish().await.map_err(FormError::Storage)?;
    Ok((filename, received))
}

/// What can go wrong with the body itself.
#[derive(Debug, thiserror::Error)]
enum BodyTrouble {
    #[error("the upload broke off: {0}")]
    Broken(hyper::Error),
    #[error("nothing came for {} s", SILENCE.as_secs())]
    Silent,
    #[error("the headers of a field are larger than {MAX_HEADERS} bytes")]
    Headers,
}

/// The body's bytes. The reader of parts keeps everything between two fields in memory, so that is counted here.
fn pieces(body: Incoming, between: Arc<AtomicU64>) -> impl Stream<Item = Result<Bytes, BodyTrouble>> {
    futures_util::stream::unfold(Some(BodyStream::new(body)), move |body| {
        let between = between.clone();
        async move {
            let mut body = body?;
            loop {
                let frame = match tokio::time::timeout(SILENCE, body.next()).await {
                    Err(_) => return Some((Err(BodyTrouble::Silent), None)),
                    Ok(None) => return None,
                    Ok(Some(Err(error))) => return Some((Err(BodyTrouble::Broken(error)), None)),
                    Ok(Some(Ok(frame))) => frame,
                };
                let Ok(bytes) = frame.into_data() else { continue };
                let left = between.load(Ordering::Relaxed);
                let Some(left) = left.checked_sub(bytes.len() as u64).filter(|_| left > 0) else {
                    return Some((Err(BodyTrouble::Headers), None));
                };
                between.store(left, Ordering::Relaxed);
                return Some((Ok(bytes), Some(body)));
            }
        }
    })
}

/// Which of our own troubles it was, if it was one.
fn understood(error: multer::Error) -> FormError {
    let multer::Error::StreamReadFailed(inner) = &error else {
        return FormError::Malformed(format!("the form cannot be read: {error}"));
    };
    match inner.downcast_ref::<BodyTrouble>() {
        Some(BodyTrouble::Silent) => FormError::Silent,
        Some(BodyTrouble::Headers) => FormError::TooLarge(inner.to_string()),
        _ => FormError::Malformed(inner.to_string()),
    }
}
