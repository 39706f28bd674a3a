//! `pypicache backup create`.

use std::io;
use std::path::Path;

use pypicache_core::hosted_source::BackupWriter;
use pypicache_core::local_fs::{Beneath, Kind};
use pypicache_server::data_dir::LAYOUT;
use pypicache_server::observe::audit;

use super::output::{Output, Packing};
use super::{ROOT, TOKENS};
use crate::data::Data;
use crate::output::report_line;
use crate::{FAILED, OK, error_chain, wrong_use};

pub(super) fn create(data: &Data, path: &Path, allow_empty: bool) -> Result<u8, u8> {
    let failed = |error: io::Error| {
        report_line!("error: the backup {} cannot be written: {error}", path.display());
        FAILED
    };
    let place = data.data_dir().display();
    if !data.is_used() {
        return wrong_use(&format!(
            "no server has kept anything in {place}: --config and --data-dir say where the data is"
        ));
    }
    let sources = data.used()?;
    let output = Output::open(path).map_err(failed)?;
    let is_packed = path.extension().is_some_and(|extension| extension == "gz");
    let mut archive = BackupWriter::new(output.packing(is_packed).map_err(failed)?, ROOT);
    append_tokens(data, &mut archive).map_err(failed)?;
    append_audit(data, &mut archive).map_err(failed)?;
    for source in sources {
        let prefix = format!("hosted/{}", source.name());
        source.backup(&mut archive, &prefix).map_err(failed)?;
    }
    for name in data.unconfigured() {
        archive.miss(
            format!("hosted/{name}"),
            "no hosted source of this name is in the configuration",
        );
    }
    let (packing, end) = archive.finish().map_err(failed)?;
    for missing in &end.missing {
        report_line!(
            "missing: {}: {}",
            missing.what.escape_debug(),
            missing.why.escape_debug()
        );
    }
    if end.files == 0 && !allow_empty {
        report_line!(
            "error: there are 0 files in {place}, so that no backup was written: is this the server's configuration? \
             --allow-empty writes it all the same"
        );
        return Err(FAILED);
    }
    packing.finish().map_err(failed)?;
    let kept = output.keep(end.missing.is_empty()).map_err(failed)?;
    report_line!("{} files are in {}", end.files, kept.display());
    if end.missing.is_empty() {
        return Ok(OK);
    }
    report_line!("error: {} things are missing from this backup", end.missing.len());
    Err(FAILED)
}

fn append_tokens(data: &Data, archive: &mut BackupWriter<Packing>) -> io::Result<()> {
    match data.tokens().document() {
        Ok(Some(bytes)) => archive.append(TOKENS, &bytes),
        Ok(None) => Ok(()),
        Err(error) => {
            archive.miss(TOKENS, error_chain(&error));
            Ok(())
        }
    }
}

/// As much of each file as there is now: they are appended to meanwhile.
fn append_audit(data: &Data, archive: &mut BackupWriter<Packing>) -> io::Result<()> {
    let directory = data.data_dir().join(LAYOUT).join(audit::DIRECTORY);
    let beneath = match Beneath::open(&directory) {
        Ok(beneath) => beneath,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            archive.miss(audit::DIRECTORY, error);
            return Ok(());
        }
    };
    let files = beneath.entries(Path::new(""))?;
    for (name, _) in files.into_iter().filter(|(_, kind)| *kind == Kind::File) {
        let place = format!("{}/{name}", audit::DIRECTORY);
        let opened = beneath.file(Path::new(&name));
        match opened.and_then(|file| Ok((file.metadata()?.len(), file))) {
            Ok((size, file)) => archive.append_file(&place, file, size)?,
            Err(error) => archive.miss(place, error),
        }
    }
    Ok(())
}
