//! Attestations (PEP 740): kept and served, and checked to be about the file. Their signatures are for whoever installs
//! to verify: that takes keys and logs which this crate does not have.

use base64::Engine as _;
use serde_json::{Value, json};

use crate::model::{FileName, Sha256};

/// The most attestations of one file.
const MAX_COUNT: usize = 16;

/// Attestations that came with a file.
#[derive(Debug, Clone)]
pub struct Attestations {
    list: Vec<Value>,
    publisher: Value,
}

/// Why attestations are not taken.
#[derive(Debug, thiserror::Error)]
#[error("the attestations cannot be kept: {0}")]
pub struct AttestationsError(String);

impl Attestations {
    /// Reads the JSON array that uploaders send; `publisher` says who they are (an object with `kind`).
    pub fn parse(text: &str, publisher: Value) -> Result<Self, AttestationsError> {
        let list: Vec<Value> = serde_json::from_str(text)
            .map_err(|error| AttestationsError(format!("no JSON array: {error}")))?;
        if list.is_empty() || list.len() > MAX_COUNT {
            return Err(AttestationsError(format!(
                "one to {MAX_COUNT} are taken, not {}",
                list.len()
            )));
        }
        for attestation in &list {
            if attestation["version"] != 1 || !attestation["verification_material"].is_object() {
                return Err(AttestationsError("one is not of version 1 of PEP 740".to_owned()));
            }
        }
        Ok(Self { list, publisher })
    }

    /// Whether each of them is about this very file: its statement names it and its digest.
    pub(super) fn check(&self, filename: &FileName, sha256: Sha256) -> Result<(), AttestationsError> {
        let digest = sha256.to_hex();
        for attestation in &self.list {
            let statement = statement(attestation)
                .ok_or_else(|| AttestationsError("one has no readable statement".to_owned()))?;
            let subjects = statement["subject"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            let fits = |subject: &Value| {
                subject["name"] == filename.as_str() && subject["digest"]["sha256"] == digest.as_str()
            };
            if !matches!(subjects, [only] if fits(only)) {
                return Err(AttestationsError(format!(
                    "one is not about {filename} with sha256 {digest}"
                )));
            }
        }
        Ok(())
    }

    /// The provenance document, as it is served.
    pub(super) fn provenance(&self) -> Vec<u8> {
        let bundle = json!({ "publisher": self.publisher, "attestations": self.list });
        json!({ "version": 1, "attestation_bundles": [bundle] })
            .to_string()
            .into_bytes()
    }
}

fn statement(attestation: &Value) -> Option<Value> {
    let encoded = attestation["envelope"]["statement"].as_str()?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
    serde_json::from_slice(&bytes).ok()
}
