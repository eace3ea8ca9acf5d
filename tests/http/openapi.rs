//! The OpenAPI document `docs/reference/openapi.yaml` has the routes of the server, with their methods.
//! `tests/openapi` checks the responses.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{
    client::request,
    mercure::PATH,
    server::{TestServer, quiet},
};

const DOCUMENT: &str = include_str!("../../docs/reference/openapi.yaml");
const ROUTES: &str = include_str!("../../src/http/routes.rs");

/// The paths in the document, each with its methods in lower case. Relies on the indentation of the document.
fn documented() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let (_, paths) = DOCUMENT.split_once("\npaths:\n").unwrap();
    let (paths, _) = paths.split_once("\ncomponents:\n").unwrap();
    let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    let mut path = "";
    for line in paths.lines() {
        let key = line.trim_start();
        let Some(key) = key.strip_suffix(':') else {
            continue;
        };
        match line.len() - line.trim_start().len() {
            2 => path = key,
            4 if key != "parameters" => {
                found.entry(path).or_default().insert(key);
            }
            _ => {}
        }
    }
    found
}

/// The paths, as the document writes them, of a route that is added with this argument.
fn paths(argument: &str) -> Vec<String> {
    if let Some(literal) = argument.strip_prefix('"') {
        return vec![literal.trim_end_matches('"').to_owned()];
    }
    let path = match argument {
        "events::PATH" => "/events/sse".to_owned(),
        "hub.path()" => PATH.to_owned(),
        "&metadata::path(hub)" => format!("/.well-known/oauth-protected-resource{PATH}"),
        "openapi::PATH" => "/openapi.yaml".to_owned(),
        // Only operators use it, at another address. `docs/guide/revoking-access.md` describes it.
        "revocations::PATH" => return Vec::new(),
        // All paths of active subscriptions.
        "&path" => {
            let below = [
                "",
                "/{match_type}/{match}",
                "/{match_type}/{match}/{subscriber}",
            ];
            let list = |below| format!("{PATH}/subscriptions{below}");
            return below.map(list).to_vec();
        }
        _ => panic!("add the path of the route {argument} to docs/reference/openapi.yaml and here"),
    };
    vec![path]
}

#[test]
fn the_document_has_the_paths_of_all_routes() {
    let (_, configure) = ROUTES.split_once("pub(crate) fn configure(").unwrap();
    let (configure, _) = configure.split_once("\nfn read(").unwrap();
    let calls = configure
        .split("read(")
        .skip(1)
        .chain(configure.split("resource(").skip(1));
    let arguments = calls.map(|call| call.split_once(',').unwrap().0.trim());
    let routes: BTreeSet<_> = arguments.flat_map(paths).collect();

    let documented: BTreeSet<_> = documented().into_keys().map(str::to_owned).collect();

    assert_eq!(documented, routes);
}

#[test]
fn the_document_has_all_methods_of_each_path_except_query() {
    let mut config = quiet();
    config.hub.subscriptions = true;
    let server = TestServer::start(config);

    for (path, methods) in documented() {
        let target = path.replace(['{', '}'], "");
        let response = request(server.addr, "OPTIONS", &target, "");

        assert_eq!(response.status(), 204, "{path}");
        let allowed = response.header("allow").unwrap().split(", ");
        // OpenAPI 3.1 cannot describe QUERY.
        let allowed: BTreeSet<_> = allowed.filter(|method| *method != "query").collect();
        assert_eq!(methods, allowed, "{path}");
    }
}

#[test]
fn the_document_has_the_version_of_the_server() {
    let version = format!("\n  version: {}\n", env!("CARGO_PKG_VERSION"));

    assert!(DOCUMENT.contains(&version));
}
