//! Checks the layout of the source: a folder of `src` imports only from the folders before it in [`FOLDERS`],
//! and no files import each other in a circle.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use syn::{
    Item, ItemMod, UseTree,
    visit::{self, Visit},
};

/// The folders of `src`, bottom up. `ARCHITECTURE.md` describes each of them.
const FOLDERS: [&str; 11] = [
    "event",
    "matching",
    "metrics",
    "event_log",
    "auth",
    "broadcaster",
    "delivery",
    "transport",
    "config",
    "http",
    "server",
];

/// The path of a module inside the crate, such as `["event", "wire"]`.
type Module = Vec<String>;

/// For each module, the modules that it imports from. Tests are ignored.
type Imports = BTreeMap<Module, BTreeSet<Module>>;

/// Collects the source files with their modules.
fn sources(folder: &Path, module: &Module, found: &mut BTreeMap<Module, PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut child = module.clone();
        if name != "mod" && name != "lib" {
            child.push(name);
        }
        if path.is_dir() {
            if child != ["bin"] {
                sources(&path, &child, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.insert(child, path);
        }
    }
}

/// Collects the paths that a file mentions, as written. Each has the depth of the inline module that contains
/// it.
struct Paths {
    inner: Vec<String>,
    found: Vec<(usize, Vec<String>)>,
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            _ => &Vec::new(),
        };
        let is_for_tests = |attribute: &syn::Attribute| {
            let list = attribute.meta.require_list();
            list.is_ok_and(|list| list.path.is_ident("cfg") && list.tokens.to_string() == "test")
        };
        if !attributes.iter().any(is_for_tests) {
            visit::visit_item(self, item);
        }
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {
        // `pub(crate)` looks like a path, but imports nothing.
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        self.inner.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.inner.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let mut paths = Vec::new();
        flatten(&item.tree, &mut Vec::new(), &mut paths);
        let depth = self.inner.len();
        self.found
            .extend(paths.into_iter().map(|path| (depth, path)));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path.segments.iter().map(|part| part.ident.to_string());
        self.found.push((self.inner.len(), names.collect()));
        visit::visit_path(self, path);
    }
}

fn flatten(tree: &UseTree, before: &mut Vec<String>, paths: &mut Vec<Vec<String>>) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, paths);
            before.pop();
        }
        UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, before, paths);
            }
        }
        UseTree::Name(name) => paths.push([&before[..], &[name.ident.to_string()]].concat()),
        UseTree::Rename(name) => paths.push([&before[..], &[name.ident.to_string()]].concat()),
        UseTree::Glob(_) => paths.push(before.clone()),
    }
}

/// The module that a path refers to. The path is written `depth` inline modules deep in the file of `module`.
fn resolve(
    path: &[String],
    depth: usize,
    module: &Module,
    sources: &BTreeMap<Module, PathBuf>,
) -> Option<Module> {
    let up = path.iter().take_while(|part| *part == "super").count();
    let mut absolute = match path.first()?.as_str() {
        "crate" => path[1..].to_vec(),
        "self" if depth == 0 => [module, &path[1..]].concat(),
        "super" => {
            let up_from_file = up.checked_sub(depth)?;
            [&module[..module.len() - up_from_file], &path[up..]].concat()
        }
        _ => return None,
    };
    while !sources.contains_key(&absolute) {
        absolute.pop();
    }
    Some(absolute)
}

fn imports() -> Imports {
    let mut files = BTreeMap::new();
    sources(Path::new("src"), &Module::new(), &mut files);
    let is_test = |module: &Module| {
        let is_test = |name: &String| name == "tests" || name.ends_with("_tests");
        module.iter().any(is_test)
    };
    let is_of_folder = |module: &Module| {
        let folder = module.first();
        folder.is_some_and(|folder| FOLDERS.contains(&&**folder)) && !is_test(module)
    };
    let of_file = |(module, path): (&Module, &PathBuf)| {
        let file = syn::parse_file(&fs::read_to_string(path).unwrap()).unwrap();
        let mut paths = Paths {
            inner: Vec::new(),
            found: Vec::new(),
        };
        paths.visit_file(&file);
        let resolved = paths.found.iter();
        let resolved = resolved.filter_map(|(depth, path)| resolve(path, *depth, module, &files));
        let imported = resolved.filter(|other| other != module && !is_test(other));
        (module.clone(), imported.collect())
    };
    let modules = files.iter().filter(|(module, _)| is_of_folder(module));
    modules.map(of_file).collect()
}

#[test]
fn every_folder_is_in_the_list() {
    let mut files = BTreeMap::new();
    sources(Path::new("src"), &Module::new(), &mut files);
    let in_folders = files.keys().filter(|module| module.len() > 1);
    let mut folders: BTreeSet<_> = in_folders.map(|module| &*module[0]).collect();
    // This folder has only `mod.rs`, so no module path inside it shows that it exists.
    folders.insert("metrics");
    assert_eq!(folders, FOLDERS.into_iter().collect());
}

#[test]
fn a_folder_imports_only_from_folders_before_it_in_the_list() {
    let rank = |module: &Module| {
        let folder = module.first().map_or("", |folder| folder);
        FOLDERS.iter().position(|listed| *listed == folder)
    };
    let mut wrong = Vec::new();
    let imports = imports();
    assert!(imports.len() > 50, "too few source files were found");
    for (module, imported) in &imports {
        for other in imported {
            if rank(other).is_none_or(|rank_of_other| Some(rank_of_other) > rank(module)) {
                wrong.push(format!(
                    "{} imports {}",
                    module.join("::"),
                    other.join("::")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let imports = imports();
    let mut circles = BTreeSet::new();
    for start in imports.keys() {
        // The modules that `start` imports directly or indirectly, each with the module that imports it.
        let mut reached = BTreeMap::from([(start, start)]);
        let mut queue = vec![start];
        while let Some(module) = queue.pop() {
            for next in imports.get(module).into_iter().flatten() {
                if next == start {
                    let mut circle = vec![module];
                    while *circle.last().unwrap() != start {
                        circle.push(reached[circle.last().unwrap()]);
                    }
                    circle.sort();
                    circles.insert(circle);
                } else if !reached.contains_key(next) {
                    reached.insert(next, module);
                    queue.push(next);
                }
            }
        }
    }
    let text: Vec<_> = circles
        .iter()
        .map(|circle| {
            let names: Vec<_> = circle.iter().map(|module| module.join("::")).collect();
            names.join(" <-> ")
        })
        .collect();
    assert!(circles.is_empty(), "\n{}", text.join("\n"));
}
