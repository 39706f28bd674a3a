//! `pypicache token`: on the host of the server, whose tokens are a file of its data directory.

use jiff::Timestamp;
use pypicache_core::model::NamePattern;
use pypicache_server::access::tokens::{NewToken, TokenFile, TokenRecord};
use pypicache_server::access::{Role, Scope};
use pypicache_server::config::duration;
use pypicache_server::observe::audit::{Audit, Event, TokenDetails};
use secrecy::ExposeSecret as _;
use serde_json::json;

use crate::args::{RoleName, ScopeName, TokenCommand, TokenCreateArgs};
use crate::data::Data;
use crate::output::{print_line, report_line};
use crate::{FAILED, OK, WRONG_USE, print_error};

pub(crate) fn token(command: TokenCommand) -> u8 {
    let done = match command {
        TokenCommand::Create(options) => create(options),
        TokenCommand::List(options) => Data::load(&options.data).and_then(|data| list(&data, options.json)),
        TokenCommand::Revoke(options) => {
            Data::load(&options.data).and_then(|data| revoke(&data.tokens(), &data.audit, &options.token))
        }
    };
    done.unwrap_or_else(|code| code)
}

fn create(options: TokenCreateArgs) -> Result<u8, u8> {
    let wrong = |problem: String| {
        report_line!("error: {problem}");
        WRONG_USE
    };
    let patterns = options.projects.iter().map(|text| NamePattern::parse(text));
    let projects = patterns
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(format!("--project: {error}")))?;
    let data = Data::load(&options.data)?;
    data.check_new_token(options.data.data_dir.is_some(), options.init_data)?;
    let new = NewToken {
        name: options.name.clone(),
        scopes: scopes(&options),
        projects,
        sources: options.sources.clone(),
        expires: options
            .expires
            .as_deref()
            .map(expiry)
            .transpose()
            .map_err(wrong)?,
    };
    let (record, secret) = data.tokens().create(new).map_err(failed)?;
    data.audit.note(&Event {
        token: Some(details(&record)),
        ..Event::new("token-created")
    });
    if options.json {
        let document = json!({ "id": record.id, "name": record.name, "token": secret.expose_secret() });
        print_line!("{document:#}");
    } else {
        report_line!(
            "The token {:?} ({}), which is not shown again:",
            record.name,
            described(&record)
        );
        print_line!("{}", secret.expose_secret());
    }
    Ok(OK)
}

fn scopes(options: &TokenCreateArgs) -> Vec<Scope> {
    let one = |name: &ScopeName| match name {
        ScopeName::Read => Scope::Read,
        ScopeName::Upload => Scope::Upload,
        ScopeName::Manage => Scope::Manage,
    };
    match options.role {
        Some(RoleName::Installer) => Role::Installer.scopes(),
        Some(RoleName::Developer) => Role::Developer.scopes(),
        Some(RoleName::Admin) => Role::Admin.scopes(),
        None => options.scope.iter().map(one).collect(),
    }
}

fn expiry(text: &str) -> Result<Timestamp, String> {
    let problem = || format!("--expires: {text:?} is no time: write \"90 days\" or \"12 h\"");
    let after = duration::parse(text).ok_or_else(problem)?;
    let at = std::time::SystemTime::now()
        .checked_add(after)
        .ok_or_else(problem)?;
    Timestamp::try_from(at).map_err(|_| problem())
}

fn list(data: &Data, json: bool) -> Result<u8, u8> {
    let file = data.tokens();
    if !data.is_used() {
        report_line!("no server has kept anything in {}", data.data_dir().display());
    }
    let tokens = file.list().map_err(failed)?;
    if json {
        let shown: Vec<_> = tokens
            .iter()
            .map(|token| {
                json!({
                    "id": token.id, "name": token.name, "scopes": token.scopes, "projects": token.projects,
                    "sources": token.sources, "created": token.created, "expires": token.expires,
                })
            })
            .collect();
        print_line!("{:#}", json!(shown));
        return Ok(OK);
    }
    for token in &tokens {
        print_line!("{}  {}  {}", token.id, token.name, described(token));
    }
    Ok(OK)
}

fn details(token: &TokenRecord) -> TokenDetails {
    TokenDetails {
        id: token.id.clone(),
        name: token.name.clone(),
        scope: scope(token, " "),
        projects: token.projects.clone(),
        sources: token.sources.clone(),
        expires: token.expires.map(|expires| format!("{expires:.0}")),
    }
}

fn scope(token: &TokenRecord, between: &str) -> String {
    let scopes: Vec<_> = token.scopes.iter().map(ToString::to_string).collect();
    scopes.join(between)
}

fn described(token: &TokenRecord) -> String {
    let mut text = scope(token, ", ");
    if !token.projects.is_empty() {
        text.push_str(&format!("; projects {}", token.projects.join(" ")));
    }
    if !token.sources.is_empty() {
        text.push_str(&format!("; sources {}", token.sources.join(" ")));
    }
    match token.expires {
        Some(expires) => text.push_str(&format!("; until {expires:.0}")),
        None => text.push_str("; for ever"),
    }
    text
}

fn revoke(file: &TokenFile, audit: &Audit, token: &str) -> Result<u8, u8> {
    let revoked = file.revoke(token).map_err(failed)?;
    for token in &revoked {
        report_line!("revoked {} ({})", token.name, token.id);
        audit.note(&Event {
            token: Some(details(token)),
            ..Event::new("token-revoked")
        });
    }
    if revoked.is_empty() {
        report_line!("error: there is no token of the id or name {token:?}; see pypicache token list");
        return Err(FAILED);
    }
    Ok(OK)
}

fn failed(error: impl std::error::Error + 'static) -> u8 {
    print_error(&error);
    FAILED
}
