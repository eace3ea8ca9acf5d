//! Checks the documents: every internal link has a target, every test that they name exists, every page is in
//! the book, and README and ARCHITECTURE keep their limits.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Collects the Markdown files in this folder and its subfolders.
fn markdown(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            markdown(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    markdown(Path::new("docs"), &mut found);
    let top = fs::read_dir(".")
        .unwrap()
        .map(|entry| entry.unwrap().path());
    found.extend(top.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    found
}

/// The text of a document without fenced code blocks.
fn prose(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let parts = text.split("```").step_by(2);
    parts.collect()
}

/// The targets of all links in a text.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1);
    targets.filter_map(|rest| rest.split_once(')').map(|(target, _)| target.trim()))
}

/// The anchors of a document's headings, as web sites and mdBook generate them.
fn anchors(path: &Path) -> BTreeSet<String> {
    let text = prose(path);
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn every_internal_link_has_a_target() {
    let mut broken = Vec::new();
    let mut count = 0;
    for document in documents() {
        for link in links(&prose(&document)) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            count += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => document.clone(),
                file => document.parent().unwrap().join(file),
            };
            let has_anchor = || anchor.is_empty() || anchors(&target).contains(anchor);
            if !target.exists() || !has_anchor() {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(count > 50, "only {count} links were found");
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// The paths of files, and the functions in them, that a text names: `src/x.rs`, or `src/x.rs::function`.
fn references(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let quoted = text.split('`').skip(1).step_by(2);
    let named = quoted.filter(|name| ["src/", "tests/"].iter().any(|top| name.starts_with(top)));
    named.map(|name| match name.split_once("::") {
        Some((file, function)) => (file, Some(function)),
        None => (name, None),
    })
}

#[test]
fn every_file_and_every_test_that_a_document_names_exists() {
    let mut missing = Vec::new();
    let mut count = 0;
    for document in documents() {
        let text = prose(&document);
        for (file, function) in references(&text) {
            count += 1;
            let has = |function| fs::read_to_string(file).is_ok_and(|text| text.contains(function));
            let is_there = match function {
                Some(function) => has(&format!("fn {function}(")),
                None => Path::new(file).exists(),
            };
            if !is_there {
                missing.push(format!("{}: {file} {function:?}", document.display()));
            }
        }
    }
    assert!(count > 100, "only {count} names were found");
    assert!(missing.is_empty(), "\n{}", missing.join("\n"));
}

#[test]
fn every_page_is_in_the_book() {
    let mut pages = Vec::new();
    markdown(Path::new("docs"), &mut pages);
    let pages = pages.iter().map(|page| page.strip_prefix("docs").unwrap());
    let pages: BTreeSet<_> = pages
        .filter(|page| *page != Path::new("SUMMARY.md"))
        .collect();
    let summary = fs::read_to_string("docs/SUMMARY.md").unwrap();
    let listed: BTreeSet<_> = links(&summary).map(Path::new).collect();
    assert_eq!(listed, pages);
}

#[test]
fn the_readme_and_the_architecture_keep_their_word_limits() {
    for (document, max_words) in [("README.md", 700), ("ARCHITECTURE.md", 1500)] {
        let words = fs::read_to_string(document)
            .unwrap()
            .split_whitespace()
            .count();
        assert!(words <= max_words, "{document} has {words} words");
    }
}
