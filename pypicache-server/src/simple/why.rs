//! `GET /-/why/<project>` of an index, optionally with `?version=`: who answers for the project, and what the rules make of
//! each of its files; at this tier, and at the tiers above as far as they say.
//!
//! Nobody hears of the project who would not hear of it from an installer: the sources are gone through in the guard's own
//! order, and an upstream is asked for its explanation only where it was asked for its page.

use hyper::StatusCode;
use pypicache_core::model::{ProjectName, ProjectPage};
use pypicache_core::policy_source::Explanation;
use pypicache_core::source::{Answer, RequestContext};
use serde_json::{Value, json};

use crate::http::problem::problem;
use crate::http::respond::{Reply, json_document};
use crate::site::{Index, IndexMember, Site};

/// The explanation. `query` is that of the request.
pub(crate) async fn why(
    site: &Site,
    index: &Index,
    project: &ProjectName,
    query: Option<&str>,
    context: &RequestContext,
) -> Reply {
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let version = pairs
        .into_iter()
        .find(|(key, _)| key == "version")
        .map(|(_, value)| value.into_owned());
    let wanted = version
        .as_deref()
        .map(str::parse::<pypicache_core::model::Version>);
    let Ok(wanted) = wanted.transpose() else {
        return problem(
            StatusCode::BAD_REQUEST,
            "Not understood",
            "version= takes a version (PEP 440).",
        );
    };
    let mut sources = Vec::new();
    let mut above = Value::Null;
    for member in confidants(index, project) {
        let (said, ends) = match member.source.page(project, &context.without_validators()).await {
            Ok(Answer::Found(reply)) => (has(&reply.page), true),
            Ok(Answer::NotFound(_) | Answer::NotModified(_)) => ("does not have it".to_owned(), false),
            Err(error) => (error.chain(), true),
        };
        sources.push(json!({ "source": member.name, "says": said }));
        for upstream in &member.upstreams {
            if let Some(explained) = upstream.why(project, version.as_deref(), context).await {
                above = explained;
                break;
            }
        }
        if ends {
            break;
        }
    }
    let files = files(index, project, wanted.as_ref(), context).await;
    let path = format!("/{}", index.path);
    json_document(&json!({
        "project": project, "tier": &*site.pseudonym, "index": path, "sources": sources, "files": files, "above": above,
    }))
}

/// What a source's page has, and what of it cannot be served.
fn has(page: &ProjectPage) -> String {
    let files = format!("has it, with {} files", page.files.len());
    match page.left_out.is_empty() {
        true => files,
        false => format!(
            "{files}; its page lists more that cannot be served: {}",
            page.left_out
        ),
    }
}

/// Who may hear of the name, in the order of the guard.
fn confidants<'a>(index: &'a Index, project: &ProjectName) -> Vec<&'a IndexMember> {
    let claims = |member: &&IndexMember| member.claims.iter().any(|pattern| pattern.matches(project));
    match index.members.iter().any(|member| claims(&member)) {
        true => index.members.iter().filter(claims).collect(),
        false => index
            .members
            .iter()
            .filter(|member| member.claims.is_empty())
            .collect(),
    }
}

/// The files of the project, or of one version, with the rule that keeps each out.
async fn files(
    index: &Index,
    project: &ProjectName,
    wanted: Option<&pypicache_core::model::Version>,
    context: &RequestContext,
) -> Vec<Value> {
    let is_wanted = |path: &pypicache_core::model::FilePath| {
        wanted.is_none() || path.file_name().version_for(project).as_ref() == wanted
    };
    let explained = match &index.policy {
        Some(policy) => policy.explain(project, context).await,
        None => index
            .behind
            .page(project, &context.without_validators())
            .await
            .map(|answer| {
                answer.map(|reply| {
                    let free = |file: &pypicache_core::model::FileEntry| Explanation {
                        path: file.path.clone(),
                        denial: None,
                    };
                    reply.page.files.iter().map(free).collect()
                })
            }),
    };
    let Ok(Answer::Found(explained)) = explained else {
        return Vec::new();
    };
    explained
        .into_iter()
        .filter(|explanation| is_wanted(&explanation.path))
        .map(|explanation| match explanation.denial {
            None => json!({ "filename": explanation.path.file_name(), "verdict": "offered" }),
            Some(denial) => json!({
                "filename": explanation.path.file_name(), "verdict": "kept out", "rule": &*denial.rule, "reason": denial.reason,
            }),
        })
        .collect()
}
