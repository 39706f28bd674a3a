//! The structure of the crates, read from their own `use` lines: imports run one way, and each folder says which.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A crate's files by their module path (`["http_source", "pages"]`; the root is `[]`), with their code.
type Modules = BTreeMap<Vec<String>, String>;

#[test]
fn no_import_runs_in_a_circle() {
    for name in ["pypicache-core", "pypicache-server", "pypicache-cli"] {
        let modules = modules(name);
        let imports: BTreeMap<_, _> = modules
            .iter()
            .map(|(module, code)| (module.clone(), imports(&modules, module, code)))
            .collect();
        for module in imports.keys() {
            let way = way_back(&imports, module);
            assert!(
                way.is_none(),
                "{name}: a circle of imports: {}",
                way.unwrap().join(" -> ")
            );
        }
    }
}

#[test]
fn each_folder_imports_what_its_header_says() {
    let mut wrong = Vec::new();
    for name in ["pypicache-core", "pypicache-server"] {
        let modules = modules(name);
        for folder in modules.keys().filter(|module| module.len() == 1) {
            let is_inside = |module: &&Vec<String>| module.first() == folder.first();
            if modules.keys().filter(is_inside).count() == 1 {
                continue;
            }
            let used: BTreeSet<String> = modules
                .keys()
                .filter(is_inside)
                .flat_map(|module| imports(&modules, module, &modules[module]))
                .filter_map(|imported| imported.first().cloned())
                .filter(|first| Some(first) != folder.first())
                .collect();
            let stated = stated(&source(name).join(&folder[0]).join("mod.rs"));
            if stated.as_ref() != Some(&used) {
                let list: Vec<_> = used.iter().map(|name| format!("`{name}`")).collect();
                wrong.push(format!(
                    "{name}/src/{}: //! Imports: {}.",
                    folder[0],
                    list.join(", ")
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "headers that do not say what the folder imports:\n{}",
        wrong.join("\n")
    );
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(name)
        .join("src")
}

fn modules(name: &str) -> Modules {
    let mut modules = Modules::new();
    collect(&source(name), &mut Vec::new(), &mut modules);
    modules
}

fn collect(directory: &Path, module: &mut Vec<String>, modules: &mut Modules) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        // Tests may look at everything.
        if ["tests", "fuzz", "conformance"].contains(&stem.as_str()) {
            continue;
        }
        if path.is_dir() {
            module.push(stem);
            collect(&path, module, modules);
            module.pop();
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut name = module.clone();
            if !["mod", "lib", "main"].contains(&stem.as_str()) {
                name.push(stem);
            }
            modules.insert(name, code_of(&text));
        }
    }
}

/// Without comments and without the tests at a file's end.
fn code_of(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    text[..end].lines().filter(is_code).collect::<Vec<_>>().join("\n")
}

/// The files that a file imports from, those it lies in left out: a folder's `mod.rs` shares its types with what is inside.
fn imports(modules: &Modules, module: &[String], code: &str) -> BTreeSet<Vec<String>> {
    let folder = if modules
        .keys()
        .any(|other| other.len() > module.len() && other.starts_with(module))
    {
        module
    } else {
        &module[..module.len().saturating_sub(1)]
    };
    let mut found = BTreeSet::new();
    for path in paths(code) {
        let mut names = path.split("::");
        let mut target = match names.next() {
            Some("crate") => Vec::new(),
            Some("super") if folder == module => module[..module.len().saturating_sub(1)].to_vec(),
            Some("super") => folder.to_vec(),
            Some(first) if modules.contains_key(&[folder, &[first.to_owned()]].concat()) => {
                [folder, &[first.to_owned()]].concat()
            }
            _ => continue,
        };
        for name in names {
            match name {
                "super" => {
                    target.pop();
                }
                name => {
                    target.push(name.to_owned());
                    if !modules.contains_key(&target) {
                        target.pop();
                        break;
                    }
                }
            }
        }
        if !module.starts_with(&target) {
            found.insert(target);
        }
    }
    found
}

/// Every path of a file's code that may lead to another module, groups in braces taken apart.
fn paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut rest = code;
    while let Some(start) = rest.find(is_part) {
        let end = rest[start..]
            .find(|c| !is_part(c))
            .map_or(rest.len(), |length| start + length);
        let word = &rest[start..end];
        rest = &rest[end..];
        match word.strip_suffix("::") {
            Some(front) if rest.starts_with('{') => {
                let close = closing(rest);
                paths.extend(paths_in_group(front, &rest[1..close]));
            }
            _ if word.contains("::") => paths.push(word.to_owned()),
            _ => {}
        }
    }
    paths
}

fn paths_in_group(front: &str, group: &str) -> Vec<String> {
    let mut all = vec![front.to_owned()];
    let (mut depth, mut item) = (0, String::new());
    for c in group.chars().chain([',']) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if c == ',' && depth == 0 {
            let name: String = item
                .trim()
                .chars()
                .take_while(|c| c.is_alphanumeric() || "_:".contains(*c))
                .collect();
            all.push(format!("{front}::{}", name.trim_end_matches("::")));
            item.clear();
        } else {
            item.push(c);
        }
    }
    all
}

fn closing(text: &str) -> usize {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// The way from a module back to itself, if there is one.
fn way_back(
    imports: &BTreeMap<Vec<String>, BTreeSet<Vec<String>>>,
    module: &Vec<String>,
) -> Option<Vec<String>> {
    let mut came_from: BTreeMap<&Vec<String>, &Vec<String>> = BTreeMap::new();
    let mut next = vec![module];
    while let Some(here) = next.pop() {
        for there in &imports[here] {
            if there == module {
                let mut way = vec![module.join("::"), here.join("::")];
                let mut at = here;
                while let Some(before) = came_from.get(at) {
                    at = before;
                    way.push(at.join("::"));
                }
                way.reverse();
                return Some(way);
            }
            if there != module && !came_from.contains_key(there) {
                came_from.insert(there, here);
                next.push(there);
            }
        }
    }
    None
}

/// The line `//! Imports: ...` of a folder's header.
fn stated(path: &Path) -> Option<BTreeSet<String>> {
    let text = std::fs::read_to_string(path).unwrap();
    let from = text.find("//! Imports:")? + "//! Imports:".len();
    let line: String = text[from..]
        .lines()
        .take_while(|line| !line.trim().is_empty())
        .collect();
    let names = line.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    Some(names)
}
