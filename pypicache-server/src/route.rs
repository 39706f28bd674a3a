//! What a request's path asks for, and how. Parses only: no source is asked, no file is touched.

use hyper::Method;
use percent_encoding::percent_decode_str;
use pypicache_core::model::{FileName, FilePath, ProjectName};
use pypicache_core::source::{Sibling, View};

use crate::access::Scope;

/// The prefix under which an index shows only what is held.
const HELD: &str = "/held";

/// Splits off the prefix of the view of what is held: the view, and the path below it.
pub(crate) fn view(path: &str) -> (View, &str) {
    match path.strip_prefix(HELD) {
        Some(rest) if rest.starts_with("/simple") || rest.starts_with("/files/") => (View::Held, rest),
        _ => (View::Everything, path),
    }
}

/// What a path means, below an index's own prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/`: what this is; uploads are taken here as well.
    Front,
    /// `simple/`: the project list.
    Projects,
    /// `simple/<project>/`: a page.
    Page(ProjectName),
    /// A page or list under another spelling: the URL to go to, relative to the requested one.
    Redirect(String),
    /// `files/<path>`: a file or a sibling.
    File(FilePath, Sibling),
    /// `integrity/<project>/<version>/<file>/provenance`: attestations (PEP 740).
    Provenance(ProjectName, FileName),
    /// `legacy/`, or `pypi/` as of old: uploads.
    Legacy,
    /// `-/projects/<project>`: what is recorded of a hosted project, and changes to it.
    Project(ProjectName),
    /// `-/why/<project>`: who answers for it, and what the rules make of it.
    Why(ProjectName),
    /// `_/oidc/audience` and `_/oidc/mint-token`: trusted publishing.
    Audience,
    /// See [`Route::Audience`].
    Mint,
    /// `-/live`: whether the server runs.
    Live,
    /// `-/ready`: whether it can answer.
    Ready,
    /// `/metrics`: counters.
    Metrics,
    /// `pypi/<project>/json` and the like: PyPI's JSON API, which is not offered.
    JsonApi(ProjectName),
    /// `RPC2`: PyPI's XML-RPC, which is not offered.
    XmlRpc,
    /// Nothing of ours.
    Nothing,
}

impl Route {
    /// The methods that mean something here, beside OPTIONS.
    pub(crate) fn methods(&self) -> &'static str {
        match self {
            Self::Front => "GET, HEAD, POST, OPTIONS",
            Self::Legacy | Self::Mint | Self::XmlRpc => "POST, OPTIONS",
            Self::Project(_) => "GET, HEAD, POST, OPTIONS",
            _ => "GET, HEAD, OPTIONS",
        }
    }

    /// What it is called in metrics.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Front => "front",
            Self::Projects => "projects",
            Self::Page(_) => "page",
            Self::Redirect(_) => "redirect",
            Self::File(_, Sibling::File) => "file",
            Self::File(_, Sibling::Metadata) => "metadata",
            Self::Provenance(..) => "provenance",
            Self::Legacy => "upload",
            Self::Project(_) => "manage",
            Self::Why(_) => "why",
            Self::Live | Self::Ready => "health",
            Self::Audience | Self::Mint => "oidc",
            Self::Metrics => "metrics",
            Self::JsonApi(_) | Self::XmlRpc | Self::Nothing => "nothing",
        }
    }

    /// Whether it is about what an index has: what installers read.
    pub(crate) fn is_of_index(&self) -> bool {
        matches!(
            self,
            Self::Projects
                | Self::Page(_)
                | Self::Redirect(_)
                | Self::File(..)
                | Self::Provenance(..)
                | Self::JsonApi(_)
        )
    }

    /// Whether the method means something here.
    pub(crate) fn takes(&self, method: &Method) -> bool {
        self.methods().split(", ").any(|known| known == method.as_str())
    }

    /// What one needs for it; `None` where nobody is asked who they are.
    pub(crate) fn scope(&self, method: &Method) -> Option<Scope> {
        match self {
            Self::Front if method != Method::POST => None,
            Self::Nothing
            | Self::JsonApi(_)
            | Self::XmlRpc
            | Self::Live
            | Self::Ready
            | Self::Audience
            | Self::Mint => None,
            Self::Front | Self::Legacy => Some(Scope::Upload),
            Self::Project(_) => Some(Scope::Manage),
            _ => Some(Scope::Read),
        }
    }
}

/// Reads the path behind an index's prefix (it begins with `/`, still encoded as received).
pub(crate) fn route(path: &str) -> Route {
    if path == "/" {
        Route::Front
    } else if path == "/metrics" {
        Route::Metrics
    } else if path == "/simple" {
        Route::Redirect("simple/".to_owned())
    } else if matches!(path, "/legacy" | "/legacy/" | "/pypi" | "/pypi/") {
        Route::Legacy
    } else if let Some(rest) = path.strip_prefix("/project/") {
        project(rest)
    } else if let Some(rest) = path.strip_prefix("/simple/") {
        simple(rest)
    } else if let Some(rest) = path.strip_prefix("/files/") {
        file(rest)
    } else if let Some(rest) = path.strip_prefix("/integrity/") {
        provenance(rest).unwrap_or(Route::Nothing)
    } else if let Some(rest) = path.strip_prefix("/-/projects/") {
        decoded_name(rest).map_or(Route::Nothing, Route::Project)
    } else if path == "/_/oidc/audience" {
        Route::Audience
    } else if path == "/_/oidc/mint-token" {
        Route::Mint
    } else if path == "/-/live" {
        Route::Live
    } else if path == "/-/ready" {
        Route::Ready
    } else if let Some(rest) = path.strip_prefix("/-/why/") {
        decoded_name(rest).map_or(Route::Nothing, Route::Why)
    } else if path == "/RPC2" {
        Route::XmlRpc
    } else {
        json_api(path).map_or(Route::Nothing, Route::JsonApi)
    }
}

/// `pypi/<name>/json`, `pypi/<name>/<version>/json` as PyPI has it, `<name>/json` as pypiserver does.
fn json_api(path: &str) -> Option<ProjectName> {
    let path = path.strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path).strip_suffix("/json")?;
    let name = path.strip_prefix("pypi/").unwrap_or(path);
    let (name, version) = name.split_once('/').unwrap_or((name, ""));
    decoded_name(name).filter(|_| !version.contains('/') && path.len() > version.len())
}

/// `project/<name>/` and `project/<name>/<version>/`, as uploaders print them behind PyPI's example: the page.
fn project(rest: &str) -> Route {
    let path = rest.strip_suffix('/').unwrap_or(rest);
    let name = path.split('/').next().and_then(decoded_name);
    let climb = "../".repeat(rest.matches('/').count() + 1);
    match name {
        Some(name) if path.split('/').count() <= 2 => Route::Redirect(format!("{climb}simple/{name}/")),
        _ => Route::Nothing,
    }
}

/// `<project>/<version>/<file>/provenance`. The version says nothing that the file's name does not.
fn provenance(rest: &str) -> Option<Route> {
    let decoded = percent_decode_str(rest.strip_suffix("/provenance")?)
        .decode_utf8()
        .ok()?;
    let mut parts = decoded.split('/');
    let (project, _version, file) = (parts.next()?, parts.next()?, parts.next()?);
    let (project, file) = (ProjectName::parse(project).ok()?, FileName::parse(file).ok()?);
    parts.next().is_none().then_some(Route::Provenance(project, file))
}

fn decoded_name(segment: &str) -> Option<ProjectName> {
    let decoded = percent_decode_str(segment).decode_utf8().ok()?;
    ProjectName::parse(&decoded).ok()
}

fn simple(rest: &str) -> Route {
    if rest.is_empty() {
        return Route::Projects;
    }
    let (segment, slash) = match rest.strip_suffix('/') {
        Some(segment) => (segment, true),
        None => (rest, false),
    };
    let Ok(decoded) = percent_decode_str(segment).decode_utf8() else {
        return Route::Nothing;
    };
    match ProjectName::parse(&decoded) {
        Ok(project) if slash && project.as_str() == segment => Route::Page(project),
        Ok(project) if slash => Route::Redirect(format!("../{project}/")),
        Ok(project) => Route::Redirect(format!("{project}/")),
        Err(_) => Route::Nothing,
    }
}

fn file(rest: &str) -> Route {
    let (path, sibling) = match rest.strip_suffix(Sibling::Metadata.suffix()) {
        Some(path) => (path, Sibling::Metadata),
        None => (rest, Sibling::File),
    };
    FilePath::from_encoded(path).map_or(Route::Nothing, |path| Route::File(path, sibling))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn redirect(path: &str) -> String {
        match route(path) {
            Route::Redirect(to) => to,
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn pages_and_their_other_spellings() {
        assert_eq!(route("/simple/"), Route::Projects);
        assert_eq!(
            route("/simple/foo-bar/"),
            Route::Page(ProjectName::parse("foo-bar").unwrap())
        );
        assert_eq!(redirect("/simple"), "simple/");
        assert_eq!(redirect("/simple/foo-bar"), "foo-bar/");
        assert_eq!(redirect("/simple/Foo_.Bar/"), "../foo-bar/");
        assert_eq!(redirect("/simple/Foo_.Bar"), "foo-bar/");
        assert_eq!(redirect("/simple/%66oo/"), "../foo/");
        // Relative to /project/Foo, to /project/Foo/ and to /project/Foo/1.0/.
        assert_eq!(redirect("/project/Foo"), "../simple/foo/");
        assert_eq!(redirect("/project/Foo/"), "../../simple/foo/");
        assert_eq!(redirect("/project/Foo/1.0/"), "../../../simple/foo/");
    }

    #[test]
    fn what_is_no_name_or_no_file_is_nothing() {
        let long = format!("/simple/{}/", "a".repeat(300));
        for path in [
            "",
            "//",
            "/x",
            "/simple//foo/",
            "/simple/./",
            "/simple/../",
            "/simple/-a/",
            "/simple/a%00/",
            "/simple/a%0a/",
            "/simple/a b/",
            "/simple/a/b/",
            "/simple/%E2%84%AAelvin/",
            "/simple/%ff/",
            &long,
            "/files/",
            "/files/six-1.0.tar.gz",
            "/files/../etc/passwd",
            "/files/pypi/..%2f..%2fetc/passwd",
            "/files/pypi/%2e%2e/six-1.0.tar.gz",
            "/files/pypi/..\\six-1.0.tar.gz",
            "/files/pypi/%252e%252e/six-1.0.tar.gz",
            "/files//etc/six-1.0.tar.gz",
            "/files/pypi/six-1.0.tar.gz.asc",
            "/files/C:%5csix-1.0.tar.gz",
            "/legacy/x",
            "/project/",
            "/project/../x/",
            "/project/a/b/c/",
            "/-/projects/",
            "/-/projects/..",
            "/-/projects/%2e%2e%2fx",
            "/integrity/six/1.0/six-1.0.tar.gz",
            "/integrity/six/six-1.0.tar.gz/provenance",
            "/integrity/six/1.0/..%2fsix-1.0.tar.gz/provenance",
        ] {
            assert_eq!(route(path), Route::Nothing, "{path}");
        }
    }

    #[test]
    fn the_view_of_what_is_held_has_the_same_routes() {
        assert_eq!(view("/held/simple/six/"), (View::Held, "/simple/six/"));
        assert_eq!(view("/held/files/pypi/x"), (View::Held, "/files/pypi/x"));
        for path in ["/simple/held/", "/held", "/held/", "/heldsimple/", "/held/x"] {
            assert_eq!(view(path), (View::Everything, path));
        }
    }

    #[test]
    fn files_and_siblings() {
        let path = FilePath::new("pypi/a/six-1.0+l-py3-none-any.whl").unwrap();
        assert_eq!(
            route("/files/pypi/a/six-1.0%2Bl-py3-none-any.whl"),
            Route::File(path.clone(), Sibling::File)
        );
        assert_eq!(
            route("/files/pypi/a/six-1.0+l-py3-none-any.whl.metadata"),
            Route::File(path, Sibling::Metadata)
        );
    }

    #[test]
    fn methods_and_scopes() {
        let of = |method: Method, path: &str| {
            let route = route(path);
            route.takes(&method).then(|| route.scope(&method))
        };
        assert_eq!(of(Method::POST, "/"), Some(Some(Scope::Upload)));
        assert_eq!(of(Method::GET, "/"), Some(None));
        for path in ["/legacy", "/legacy/"] {
            assert_eq!(of(Method::POST, path), Some(Some(Scope::Upload)));
            assert_eq!(of(Method::GET, path), None);
            assert_eq!(of(Method::PUT, path), None);
        }
        for path in [
            "/simple/",
            "/simple/six/",
            "/files/pypi/six-1.0.tar.gz",
            "/metrics",
        ] {
            assert_eq!(of(Method::HEAD, path), Some(Some(Scope::Read)), "{path}");
            assert_eq!(of(Method::POST, path), None, "{path}");
        }
        for method in [Method::GET, Method::POST] {
            assert_eq!(of(method, "/-/projects/six"), Some(Some(Scope::Manage)));
        }
        assert_eq!(of(Method::DELETE, "/-/projects/six"), None);
    }

    proptest! {
        #[test]
        fn never_panics(path in ".*") {
            let _ = route(&format!("/integrity/{path}/provenance"));
            let _ = route(&path);
            let _ = route(&format!("/simple/{path}"));
            let _ = route(&format!("/files/{path}"));
        }
    }
}
