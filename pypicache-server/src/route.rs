//! What a request's path asks for. Parses only: no source is asked, no file is touched.

use percent_encoding::percent_decode_str;
use pypicache_core::model::{FilePath, ProjectName};
use pypicache_core::source::{Sibling, View};

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
    /// `/`: what this is.
    Front,
    /// `simple/`: the project list.
    Projects,
    /// `simple/<project>/`: a page.
    Page(ProjectName),
    /// A page or list under another spelling: the URL to go to, relative to the requested one.
    Redirect(String),
    /// `files/<path>`: a file or a sibling.
    File(FilePath, Sibling),
    /// `/metrics`: counters.
    Metrics,
    /// Nothing of ours.
    Nothing,
}

/// Reads the path behind an index's prefix (it begins with `/`, still encoded as received).
pub(crate) fn route(path: &str) -> Route {
    if path == "/" {
        Route::Front
    } else if path == "/metrics" {
        Route::Metrics
    } else if path == "/simple" {
        Route::Redirect("simple/".to_owned())
    } else if let Some(rest) = path.strip_prefix("/simple/") {
        simple(rest)
    } else if let Some(rest) = path.strip_prefix("/files/") {
        file(rest)
    } else {
        Route::Nothing
    }
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

    proptest! {
        #[test]
        fn never_panics(path in ".*") {
            let _ = route(&path);
            let _ = route(&format!("/simple/{path}"));
            let _ = route(&format!("/files/{path}"));
        }
    }
}
