//! Which file an installer takes, as far as a page lets one guess.

use pep440_rs::Version;

use super::installer::{Fit, Installer};
use crate::model::{CoreMetadata, FileEntry, ProjectPage};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FilePath, ProjectName, Yanked};

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
}
