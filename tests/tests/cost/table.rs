//! The table, and how figures are held against it.

use std::collections::BTreeMap;

/// Figures by name: of system calls each by its own, of allocations one without.
pub(crate) type Figures = BTreeMap<String, u64>;

/// What each row may cost, by row and kind of cost.
pub(crate) struct Table(BTreeMap<(String, String), Figures>);

/// The kinds of cost.
const KINDS: [&str; 2] = ["allocations", "system calls"];

/// Reads `recvfrom 1, writev 1`, or one figure alone.
pub(crate) fn figures(text: &str) -> Figures {
    let figures = text.split(',').map(|figure| {
        let (name, count) = figure.trim().rsplit_once(' ').unwrap_or(("", figure.trim()));
        (name.to_owned(), count.parse().unwrap())
    });
    figures.collect()
}

impl Table {
    pub(crate) fn read() -> Self {
        Self::parse(include_str!("table.txt"))
    }

    /// Lines such as `page 304: allocations 20`; those with a `#` in front are for people.
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty());
        let entries = lines.map(|line| {
            let (row, cost) = line.split_once(": ").unwrap();
            let of_kind = |kind: &&str| Some(((*kind).to_owned(), cost.strip_prefix(*kind)?.trim()));
            let (kind, cost) = KINDS.iter().find_map(of_kind).unwrap();
            ((row.to_owned(), kind), figures(cost))
        });
        Self(entries.collect())
    }

    /// What has grown, in words.
    pub(crate) fn growth(&self, kind: &str, counted: &[(String, Figures)]) -> Vec<String> {
        let known = |row: &str, name: &str| {
            let figures = self.0.get(&(row.to_owned(), kind.to_owned()));
            figures
                .and_then(|figures| figures.get(name))
                .copied()
                .unwrap_or(0)
        };
        let told = |row: &str, name: &str, now: u64| {
            let before = known(row, name);
            let what = format!("{kind} {name}");
            (now > before).then(|| {
                format!(
                    "{row}: {} grew by {}, from {before} to {now}",
                    what.trim_end(),
                    now - before
                )
            })
        };
        let all = counted.iter().flat_map(|(row, figures)| {
            figures
                .iter()
                .filter_map(move |(name, now)| told(row, name, *now))
        });
        all.collect()
    }

    /// Fails with what has grown. What got less is told only: the table may be lowered then, so that it stays so.
    pub(crate) fn hold(&self, kind: &str, counted: &[(String, Figures)]) {
        let line = |(row, figures): &(String, Figures)| {
            let figures = figures.iter().map(|(name, count)| format!("{name} {count}"));
            let figures: Vec<_> = figures.map(|figure| figure.trim().to_owned()).collect();
            format!("{row}: {kind} {}\n", figures.join(", "))
        };
        let lines: String = counted.iter().map(line).collect();
        let growth = self.growth(kind, counted);
        println!("counted now:\n{lines}");
        assert!(
            growth.is_empty(),
            "warm requests cost more than the table says:\n  {}\nEither take that back, or write the new figures into \
             tests/tests/cost/table.txt and say in the commit's message what they are good for. Counted now:\n{lines}",
            growth.join("\n  ")
        );
    }
}
