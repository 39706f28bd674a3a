//! The `[policy]` table: what may be seen.

use pypicache_core::policy_source::{CoolDown, Rule, Rules, Target, Verdict};
use toml::Spanned;

use super::ConfigError;
use super::file::{ConfigFile, RawPolicy, RawRule};
use super::values::{bytes, time};

/// The rules; `None` where nothing is said.
pub(super) fn resolve(file: &ConfigFile, own_sources: Vec<String>) -> Result<Option<Rules>, ConfigError> {
    let Some(raw) = &file.raw.policy else {
        return Ok(None);
    };
    let rules = raw
        .rule
        .iter()
        .enumerate()
        .map(|(number, rule)| self::rule(file, number, rule));
    Ok(Some(Rules {
        rules: rules.collect::<Result<_, _>>()?,
        yanked: raw.yanked.map(Into::into).unwrap_or_default(),
        max_size: bytes(file, "policy.max-file-size", &raw.max_file_size)?,
        cool_down: cool_down(file, raw)?,
        own_sources: own_sources.into_iter().collect(),
        dry_run: raw.dry_run,
    }))
}

fn cool_down(file: &ConfigFile, raw: &RawPolicy) -> Result<Option<CoolDown>, ConfigError> {
    let Some(period) = &raw.cool_down else {
        let idle = raw.cool_down_exempt.first().map(Spanned::span);
        return match idle {
            Some(span) => Err(file.wrong(
                &span,
                "policy.cool-down-exempt",
                "there is no cool-down to be exempt from",
            )),
            None => Ok(None),
        };
    };
    Ok(Some(CoolDown {
        period: time(file, "policy.cool-down", period)?,
        exempt: targets(file, "policy.cool-down-exempt", &raw.cool_down_exempt)?,
        undated: raw.undated.map(Into::into).unwrap_or_default(),
    }))
}

fn rule(file: &ConfigFile, number: usize, raw: &Spanned<RawRule>) -> Result<Rule, ConfigError> {
    let (span, raw) = (raw.span(), raw.get_ref());
    let (verdict, given) = match (&raw.allow, &raw.deny) {
        (Some(allow), None) => (Verdict::Allow, allow),
        (None, Some(deny)) => (Verdict::Deny, deny),
        _ => {
            return Err(file.wrong(
                &span,
                "policy.rule",
                "a rule has either allow = [...] or deny = [...]",
            ));
        }
    };
    if given.is_empty() {
        return Err(file.wrong(
            &span,
            "policy.rule",
            "name at least one project; \"*\" is every one",
        ));
    }
    let kinds = raw.files.iter().flat_map(|kind| kind.kinds().iter().copied());
    Ok(Rule {
        name: raw
            .name
            .clone()
            .unwrap_or_else(|| format!("rule-{}", number + 1))
            .into(),
        verdict,
        targets: targets(file, "policy.rule", given)?,
        kinds: kinds.collect(),
        tags: raw.tags.clone(),
        reason: raw.reason.clone(),
    })
}

fn targets(file: &ConfigFile, key: &str, given: &[Spanned<String>]) -> Result<Vec<Target>, ConfigError> {
    let read = |text: &Spanned<String>| {
        Target::parse(text.get_ref()).map_err(|error| {
            let problem = format!("{error}; write \"flask\", \"acme-*\", \"*\" or \"requests<2.31\"");
            file.wrong(&text.span(), key, problem)
        })
    };
    given.iter().map(read).collect()
}
