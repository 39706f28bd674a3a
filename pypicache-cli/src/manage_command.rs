//! `pypicache yank`, `unyank`, `delete`, `restore`, `status` and `show`: over HTTP, on the live server, from anywhere.

use pypicache_core::hosted_source::{FileSelector, ManageAction};
use pypicache_core::model::ProjectName;
use serde_json::Value;

use crate::args::{DeleteArgs, FilesArgs, ServerArgs, ShowArgs};
use crate::output::{print_line, report_line};
use crate::server::{Answer, Server};
use crate::{FAILED, OK, WRONG_USE};

/// Changes files.
pub(crate) fn change(files: FilesArgs, change: &ManageAction) -> u8 {
    let selection = FileSelector {
        version: files.version,
        filename: files.file,
    };
    ended(send(&files.server, &files.project, &selection, change))
}

/// Deletes files; all of a project only where that was said.
pub(crate) fn delete(options: DeleteArgs) -> u8 {
    let is_everything = options.files.version.is_none() && options.files.file.is_none();
    if is_everything != options.all {
        let problem = match options.all {
            true => "--all and a release or file exclude each other",
            false => "name a release or --file, or say --all",
        };
        report_line!("error: {problem}");
        return WRONG_USE;
    }
    change(options.files, &ManageAction::Delete)
}

/// Changes a project's status.
pub(crate) fn status(server: &ServerArgs, project: &str, status: &ManageAction) -> u8 {
    ended(send(server, project, &FileSelector::default(), status))
}

/// Shows a project's record.
pub(crate) fn show(options: &ShowArgs) -> u8 {
    ended(project_path(&options.project).and_then(|path| {
        let answer = Server::new(&options.server)?.ask(&path, None)?;
        match (answer, options.server.json) {
            (Answer::Document(document), true) => print_line!("{document:#}"),
            (Answer::Document(document), false) => print_record(&document),
            (Answer::Refused(detail), _) => return Err(refused(&detail)),
        }
        Ok(())
    }))
}

fn send(
    server: &ServerArgs,
    project: &str,
    selection: &FileSelector,
    change: &ManageAction,
) -> Result<(), u8> {
    let path = project_path(project)?;
    let (Value::Object(mut wanted), Value::Object(more)) =
        (serde_json::json!(change), serde_json::json!(selection))
    else {
        return Err(FAILED);
    };
    wanted.extend(more);
    let answer = Server::new(server)?.ask(&path, Some(Value::Object(wanted).to_string()))?;
    let document = match answer {
        Answer::Document(document) => document,
        Answer::Refused(detail) => return Err(refused(&detail)),
    };
    if server.json {
        print_line!("{document:#}");
        return Ok(());
    }
    for name in document["changed"].as_array().into_iter().flatten() {
        print_line!("{}", name.as_str().unwrap_or_default());
    }
    Ok(())
}

fn project_path(project: &str) -> Result<String, u8> {
    let project = ProjectName::parse(project).map_err(|error| {
        report_line!("error: {error}");
        WRONG_USE
    })?;
    Ok(format!("-/projects/{project}"))
}

fn print_record(document: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    print_line!(
        "{} in {}: {}",
        text(&document["project"]),
        text(&document["source"]),
        text(&document["status"]["marker"])
    );
    for file in document["files"].as_array().into_iter().flatten() {
        let yanked = match &file["yanked"] {
            Value::Object(reason) => format!("  yanked: {}", text(&reason["Because"])),
            Value::String(word) if word == "Yes" => "  yanked".to_owned(),
            _ => String::new(),
        };
        let state = match &file["state"] {
            Value::Object(state) => format!("  deleted {}", text(&state["deleted"]["at"])),
            Value::String(word) if word != "offered" => format!("  {word}"),
            _ => String::new(),
        };
        let by = file["uploader"]
            .as_str()
            .map(|by| format!("  by {by}"))
            .unwrap_or_default();
        let (name, size, time) = (text(&file["filename"]), &file["size"], text(&file["upload_time"]));
        print_line!("  {name}  {size} bytes  {time}{by}{yanked}{state}");
    }
}

fn refused(detail: &str) -> u8 {
    report_line!("error: {detail}");
    FAILED
}

fn ended(done: Result<(), u8>) -> u8 {
    done.err().unwrap_or(OK)
}
