//! Uploads by hand: the form that uploaders send, to be misshapen at will.

use base64::Engine as _;
use bytes::Bytes;
use url::Url;

use crate::client::{Reply, post};
use crate::package::{Package, sha256};

/// The boundary that [`Form::body`] uses.
pub const BOUNDARY: &str = "a-boundary-that-is-in-no-file";

/// A form: fields in their order, the file among them.
#[derive(Debug, Clone)]
pub struct Form {
    /// Names and values.
    pub fields: Vec<(String, Bytes)>,
    /// What the file is called.
    pub filename: String,
}

impl Form {
    /// What twine sends for a package, without the fields that say what METADATA says.
    #[must_use]
    pub fn of(project: &str, version: &str, package: &Package) -> Self {
        let filetype = if package.filename.ends_with(".whl") {
            "bdist_wheel"
        } else {
            "sdist"
        };
        let texts = [
            (":action", "file_upload"),
            ("protocol_version", "1"),
            ("metadata_version", "2.1"),
            ("name", project),
            ("version", version),
            ("filetype", filetype),
            ("sha256_digest", &package.sha256),
        ];
        let mut fields: Vec<_> = texts
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes())))
            .collect();
        fields.push(("content".to_owned(), package.bytes.clone()));
        Self {
            fields,
            filename: package.filename.clone(),
        }
    }

    /// The same with another value for a field, or with a further field.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        let value = Bytes::copy_from_slice(value.as_bytes());
        match self.fields.iter_mut().find(|(known, _)| known == name) {
            Some(field) => field.1 = value,
            None => self.fields.push((name.to_owned(), value)),
        }
        self
    }

    /// The same without a field.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(known, _)| known != name);
        self
    }

    /// The same with a file of another name.
    #[must_use]
    pub fn named(mut self, filename: &str) -> Self {
        filename.clone_into(&mut self.filename);
        self
    }

    /// The same with another file, and its digest.
    #[must_use]
    pub fn holding(self, filename: &str, bytes: Vec<u8>) -> Self {
        let mut form = self
            .named(filename)
            .with("sha256_digest", &sha256(&bytes))
            .without("content");
        form.fields.push(("content".to_owned(), bytes.into()));
        form
    }

    /// As it goes over the wire.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, value) in &self.fields {
            let file = match name.as_str() {
                "content" => format!("; filename=\"{}\"", self.filename),
                _ => String::new(),
            };
            body.extend_from_slice(
                format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n")
                    .as_bytes(),
            );
            body.extend_from_slice(value);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        body
    }

    /// Sends it.
    pub async fn send(&self, url: &Url, token: Option<&str>) -> Reply {
        let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
        let authorization = token.map(basic);
        let mut headers = vec![("content-type", &*content_type), ("accept", "*/*")];
        headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
        post(url, &headers, self.body()).await
    }
}

/// The header that a token is sent in.
#[must_use]
pub fn basic(token: &str) -> String {
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(format!("__token__:{token}"))
    )
}
