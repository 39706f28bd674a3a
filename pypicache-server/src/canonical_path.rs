//! Other spellings of a path: clients put slashes together (`/simple//flask/`, `/simple/flask//`), and keep `./` in it.
//!
//! Such a path leads to the plain spelling by one redirect that is relative, so that no spelling leads to another host. What climbs
//! (`..`) leads nowhere.

/// The path without empty and `.` segments, where it has any; a slash at its end stays.
pub(crate) fn cleaned(path: &str) -> Option<String> {
    let is_clean = !path.contains("//") && !path.contains("/./") && !path.ends_with("/.");
    if is_clean || path.split('/').any(|segment| segment == "..") {
        return None;
    }
    let mut clean = String::with_capacity(path.len());
    for segment in path.split('/').filter(|segment| !matches!(*segment, "" | ".")) {
        clean.push('/');
        clean.push_str(segment);
    }
    if path.ends_with('/') || path.ends_with("/.") || clean.is_empty() {
        clean.push('/');
    }
    Some(clean)
}

/// The relative reference that leads from `path` to `to`; both begin with a slash.
pub(crate) fn relative(path: &str, to: &str) -> String {
    let depth = path.matches('/').count().saturating_sub(1);
    format!("{}{}", "../".repeat(depth), to.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use url::Url;

    #[test]
    fn every_spelling_leads_to_the_plain_one_on_this_host() {
        for (path, plain) in [
            ("/simple//flask/", "/simple/flask/"),
            ("//simple/flask/", "/simple/flask/"),
            ("/simple/flask//", "/simple/flask/"),
            ("/simple/./flask/", "/simple/flask/"),
            ("///simple///flask///", "/simple/flask/"),
            ("//evil.example/simple/", "/evil.example/simple/"),
            ("/simple//flask", "/simple/flask"),
            ("//", "/"),
        ] {
            let clean = cleaned(path).unwrap();
            assert_eq!(clean, plain, "{path}");
            let base = Url::parse(&format!("http://host.example{path}")).unwrap();
            let to = base.join(&relative(path, &clean)).unwrap();
            assert_eq!(
                (to.host_str(), to.path()),
                (Some("host.example"), plain),
                "{path}"
            );
        }
        for path in ["/simple/flask/", "/simple//../flask/", "/"] {
            assert_eq!(cleaned(path), None, "{path}");
        }
    }
}
