//! What PyPI has beside the Simple API and this server has not: said in the words of whoever asks for it.

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use pypicache_core::model::ProjectName;

use crate::http::problem::problem;
use crate::http::respond::{Reply, full};

/// PyPI's own fault code for methods that it no longer has.
const FAULT: &str = "<?xml version='1.0'?>\n<methodResponse><fault><value><struct>\
<member><name>faultCode</name><value><int>-32500</int></value></member>\
<member><name>faultString</name><value><string>This server has no XML-RPC, so there is no search; its index is at /simple/.</string></value></member>\
</struct></value></fault></methodResponse>\n";

/// The JSON API (`/pypi/<project>/json`).
pub(crate) fn json_api(project: &ProjectName) -> Reply {
    let detail = format!(
        "This server does not offer PyPI's JSON API. What it knows of {project} is at /simple/{project}/, as JSON with \
         Accept: application/vnd.pypi.simple.v1+json."
    );
    problem(StatusCode::NOT_FOUND, "Not offered", &detail)
}

/// Whether a request to the place for uploads is one of XML-RPC, which PyPI takes there too.
pub(crate) fn is_xml_rpc(head: &Parts) -> bool {
    let content_type = head.headers.get(CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/xml"))
}

/// A fault, which `pip search` prints.
pub(crate) fn xml_rpc() -> Reply {
    let mut response = Reply::new(full(FAULT.into()));
    let content_type = HeaderValue::from_static("text/xml; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
