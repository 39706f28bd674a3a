//! `pypicache why`: what a server says of a project, tier by tier.

use pypicache_core::model::ProjectName;
use serde_json::Value;

use crate::args::WhyArgs;
use crate::output::{print_line, report_line};
use crate::server::{Answer, Server};
use crate::{FAILED, OK, WRONG_USE};

pub(crate) fn why(options: &WhyArgs) -> u8 {
    match asked(options) {
        Ok(document) => {
            match options.server.json {
                true => print_line!("{document:#}"),
                false => print(&document),
            }
            OK
        }
        Err(code) => code,
    }
}

fn asked(options: &WhyArgs) -> Result<Value, u8> {
    let (name, version) = match options.requirement.split_once("==") {
        Some((name, version)) => (name.trim(), Some(version.trim())),
        None => (options.requirement.as_str(), None),
    };
    let project = ProjectName::parse(name).map_err(|error| {
        report_line!("error: {error}");
        WRONG_USE
    })?;
    let encoded =
        |version: &str| url::form_urlencoded::byte_serialize(version.as_bytes()).collect::<String>();
    let query = version.map(|version| format!("?version={}", encoded(version)));
    let path = format!("-/why/{project}{}", query.unwrap_or_default());
    match Server::new(&options.server)?.ask(&path, None)? {
        Answer::Document(document) => Ok(document),
        Answer::Refused(detail) => {
            report_line!("error: {detail}");
            Err(FAILED)
        }
    }
}

/// This tier first, then the one above it, and so on.
fn print(document: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut tier = document;
    while tier.is_object() {
        print_line!(
            "{} at {} (index {})",
            text(&tier["project"]),
            text(&tier["tier"]),
            text(&tier["index"])
        );
        for source in tier["sources"].as_array().into_iter().flatten() {
            print_line!("  source {}: {}", text(&source["source"]), text(&source["says"]));
        }
        for file in tier["files"].as_array().into_iter().flatten() {
            let rule = match file["rule"].as_str() {
                Some(rule) => format!(" by rule {rule}: {}", text(&file["reason"])),
                None => String::new(),
            };
            print_line!("  {}  {}{rule}", text(&file["filename"]), text(&file["verdict"]));
        }
        tier = &tier["above"];
    }
}
