//! `pypicache config check`.

use pypicache_server::config::{Configuration, SourceKind};

use crate::args::CheckArgs;
use crate::output::print_line;
use crate::{OK, WRONG_USE, print_error};

pub(crate) fn check(options: CheckArgs) -> u8 {
    match Configuration::load(&options.serve.into_overrides()) {
        Ok(configuration) => {
            print(&configuration, options.json);
            OK
        }
        Err(error) => {
            print_error(&error);
            WRONG_USE
        }
    }
}

/// What the configuration means. Credentials are left out, in URLs too.
fn print(configuration: &Configuration, json: bool) {
    let sources: Vec<_> = configuration
        .sources
        .iter()
        .map(|source| {
            let answers_from = match &source.kind {
                SourceKind::Directory(path) => vec![path.display().to_string()],
                SourceKind::Hosted(hosted) => vec![format!("uploads in {}", hosted.dir.display())],
                SourceKind::Upstream(upstream) => {
                    upstream.upstreams.iter().map(ToString::to_string).collect()
                }
            };
            (source.name.clone(), answers_from)
        })
        .collect();
    if json {
        let sources: Vec<_> = sources
            .iter()
            .map(|(name, from)| serde_json::json!({ "name": name, "from": from }))
            .collect();
        let indexes: Vec<_> = configuration
            .indexes
            .iter()
            .map(|index| format!("/{}/simple/", index.name))
            .collect();
        let document = serde_json::json!({
            "listen": configuration.listen.to_string(), "offline": configuration.offline,
            "prefetch": configuration.prefetch, "cache_dir": configuration.cache_dir,
            "data_dir": configuration.data_dir, "anonymous_read": configuration.anonymous_read,
            "max_size": configuration.max_size, "sources": sources, "indexes": indexes,
        });
        print_line!("{document:#}");
        return;
    }
    print_line!("listen     {}", configuration.listen);
    print_line!("cache      {}", configuration.cache_dir.display());
    print_line!("data       {}", configuration.data_dir.display());
    print_line!(
        "anonymous  {}",
        if configuration.anonymous_read {
            "may read"
        } else {
            "may not read"
        }
    );
    print_line!(
        "max-size   {}",
        configuration
            .max_size
            .map_or_else(|| "no limit".to_owned(), |bytes| format!("{bytes} bytes"))
    );
    let tls = configuration
        .tls
        .as_ref()
        .map(|(cert, _)| cert.display().to_string());
    print_line!("tls        {}", tls.as_deref().unwrap_or("none"));
    print_line!("rules      {}", rules(configuration));
    print_line!("offline    {}", configuration.offline);
    print_line!("prefetch   {}", configuration.prefetch);
    for (name, from) in sources {
        print_line!("source     {name}: {}", from.join(", else "));
    }
    for index in &configuration.indexes {
        print_line!("index      /{}/simple/", index.name);
    }
}

/// How many rules there are, and what else keeps files out.
fn rules(configuration: &Configuration) -> String {
    let Some(rules) = &configuration.policy else {
        return "none".to_owned();
    };
    let mut parts = vec![rules.rules.len().to_string()];
    parts.extend(
        rules
            .cool_down
            .as_ref()
            .map(|cool_down| format!("cool-down {} s", cool_down.period.as_secs())),
    );
    parts.extend(rules.max_size.map(|bytes| format!("at most {bytes} bytes")));
    parts.extend(rules.dry_run.then(|| "dry run".to_owned()));
    parts.join(", ")
}
