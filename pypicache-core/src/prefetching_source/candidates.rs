//! What an installer asks for next, as far as a page and METADATA let one guess.

use pep440_rs::Version;

use super::installer::{Fit, Installer};
use crate::model::{CoreMetadata, FileEntry, ProjectName, ProjectPage};

/// The most requirements that are looked at.
const MAX_REQUIREMENTS: usize = 200;

/// The wheel that an installer takes when nothing but the page decides: of the newest final version (where there is none,
/// the newest) that it can run, the one that fits best. `None` where METADATA of such a wheel is not offered.
pub(super) fn wheel<'a>(page: &'a ProjectPage, installer: &Installer) -> Option<&'a FileEntry> {
    let rank = |file: &'a FileEntry| -> Option<((bool, Version, Fit), &'a FileEntry)> {
        let fit = installer.fit(&file.filename)?;
        let version = file.filename.version_for(&page.name)?;
        Some(((!version.any_prerelease(), version, fit), file))
    };
    let candidates = page.files.iter().filter(|file| !file.yanked.is_yanked());
    let best = candidates
        .filter(|file| installer.satisfies(file.requires_python.as_deref()))
        .filter_map(rank)
        .max_by(|(one, _), (other, _)| one.cmp(other));
    let is_offered = |file: &&FileEntry| {
        matches!(
            file.core_metadata,
            CoreMetadata::Offered | CoreMetadata::Digest(_)
        )
    };
    best.map(|(_, file)| file).filter(is_offered)
}

/// The projects that METADATA requires of everybody: none that only an extra wants, none for another system.
pub(super) fn requirements(metadata: &[u8], installer: &Installer) -> Vec<ProjectName> {
    let text = String::from_utf8_lossy(metadata);
    let headers = text.lines().take_while(|line| !line.is_empty());
    let mut names = Vec::new();
    for line in headers
        .filter_map(|line| line.strip_prefix("Requires-Dist:"))
        .take(MAX_REQUIREMENTS)
    {
        let (requirement, marker) = line.split_once(';').unwrap_or((line, ""));
        let is_wanted = !marker.contains("extra") && installer.may_need(marker);
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let name = requirement.trim_start().split(|c| !is_of_name(c)).next();
        if let Some(Ok(name)) = name.filter(|_| is_wanted).map(ProjectName::parse)
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FilePath, Yanked};

    fn installer() -> Installer {
        Installer::parse(r#"uv/1 {"python":"3.11.2","implementation":{"name":"CPython"},"system":{"name":"Linux"},"distro":{"libc":{"lib":"glibc","version":"2.36"}},"cpu":"x86_64"}"#).unwrap()
    }

    type ManageAction<'a> = &'a dyn Fn(&mut FileEntry);

    fn page(files: &[(&str, ManageAction<'_>)]) -> ProjectPage {
        let mut page = ProjectPage::new(ProjectName::parse("a").unwrap());
        page.files = files
            .iter()
            .map(|(name, change)| {
                let mut file = FileEntry::new(FilePath::new(&format!("p/{name}")).unwrap());
                file.core_metadata = CoreMetadata::Offered;
                change(&mut file);
                file
            })
            .collect();
        page
    }

    #[test]
    fn the_newest_that_runs_is_likely() {
        let as_it_is: ManageAction<'_> = &|_| {};
        let page = page(&[
            ("a-1.9-py3-none-any.whl", as_it_is),
            ("a-1.10-py3-none-any.whl", as_it_is),
            ("a-1.10-cp311-cp311-manylinux_2_17_x86_64.whl", as_it_is),
            ("a-1.10-cp312-cp312-manylinux_2_17_x86_64.whl", as_it_is),
            ("a-1.11.tar.gz", as_it_is),
            ("a-1.12-py3-none-any.whl", &|file| file.yanked = Yanked::Yes),
            ("a-1.13-py3-none-any.whl", &|file| {
                file.requires_python = Some(">=3.12".into())
            }),
            ("a-2.0rc1-py3-none-any.whl", as_it_is),
        ]);
        let candidates = wheel(&page, &installer()).unwrap();
        assert_eq!(
            candidates.filename.as_str(),
            "a-1.10-cp311-cp311-manylinux_2_17_x86_64.whl"
        );
    }

    #[test]
    fn what_everybody_needs_is_required() {
        let metadata = b"Name: a\nRequires-Dist: B.c>=1\nRequires-Dist: d[x] (<2) ; python_version > '3'\nRequires-Dist: e; extra == 'test'\nRequires-Dist: colorama; sys_platform == 'win32'\nRequires-Dist: b-c\nRequires-Dist: ???\n\nRequires-Dist: body\n";
        let names: Vec<_> = requirements(metadata, &installer())
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(names, ["b-c", "d"]);
    }
}
