//! Checks the deployment files without a container engine: what they refer to exists, and they agree with
//! each other and with the config.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use sse_broadcaster::{
    LogKind,
    config::{Config, Found, IssuerConfig, KeySource, Sources},
};

const COMPOSE: &str = include_str!("../compose.yaml");
const DOCKERFILE: &str = include_str!("../Dockerfile");
const DOCKERIGNORE: &str = include_str!("../.dockerignore");
const NGINX: &str = include_str!("../deploy/nginx.conf");
const NGINX_SITE: &str = include_str!("../deploy/nginx-site.conf");
const PROXIES: &str = include_str!("../docs/operate/proxies.md");
const GITIGNORE: &str = include_str!("../.gitignore");
const CONFIG: &str = "config/cluster.toml";

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The lines of a file without indentation, empty lines and comments.
fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// The block below this line of `compose.yaml`: all following lines with deeper indentation.
fn block(opening: &str) -> Vec<&'static str> {
    let mut lines = COMPOSE.lines().skip_while(|line| *line != opening);
    assert!(lines.next().is_some(), "{opening}");
    let depth = |line: &str| line.len() - line.trim_start().len();
    let inner = lines.take_while(|line| line.is_empty() || depth(line) > depth(opening));
    inner.map(str::trim).collect()
}

fn unquoted(text: &str) -> &str {
    text.trim().trim_matches(['"', '\''])
}

/// The environment variables of a node. Those of `compose.yaml` override those of the image.
fn environment() -> Vec<(OsString, OsString)> {
    let of_image = lines(DOCKERFILE).filter_map(|line| line.strip_prefix("ENV ")?.split_once('='));
    let of_node = lines(COMPOSE)
        .filter(|line| line.starts_with("BROADCASTER__"))
        .map(|line| line.split_once(": ").unwrap());
    let variable = |(name, value): (&str, &str)| (name.into(), unquoted(value).into());
    of_image.chain(of_node).map(variable).collect()
}

/// The config of a node in `compose.yaml`.
fn config() -> Config {
    let sources = Sources {
        environment: environment(),
        ..Sources::default()
    };
    sources.load(&Found::at(repository().join(CONFIG))).unwrap()
}

/// The paths that are copied into the image, relative to the repository.
fn copied() -> Vec<&'static str> {
    let copies = lines(DOCKERFILE).filter_map(|line| line.strip_prefix("COPY "));
    let copies = copies.filter(|paths| !paths.starts_with("--from="));
    let sources = copies.map(|paths| paths.rsplit_once(' ').unwrap().0);
    sources.flat_map(str::split_whitespace).collect()
}

/// The services that nginx forwards to, each with its port.
fn upstreams() -> Vec<(&'static str, &'static str)> {
    let servers = lines(NGINX).filter_map(|line| line.strip_prefix("server "));
    let servers = servers.filter(|server| server.ends_with(';'));
    let address = |server: &'static str| server.split([' ', ';']).next().unwrap();
    servers
        .map(|server| address(server).split_once(':').unwrap())
        .collect()
}

#[test]
fn every_file_that_the_image_copies_exists_and_is_not_ignored() {
    let copied = copied();

    assert!(copied.contains(&"src"), "{copied:?}");
    for path in copied {
        assert!(repository().join(path).exists(), "{path}");
        let is_ignored = |line: &str| line == path || path.starts_with(&format!("{line}/"));
        assert!(!lines(DOCKERIGNORE).any(is_ignored), "{path}");
    }
}

#[test]
fn the_image_is_built_with_the_document_that_the_source_includes() {
    assert!(copied().contains(&"docs/reference/openapi.yaml"));
    assert!(!lines(DOCKERIGNORE).any(|line| line == "docs"));
}

#[test]
fn the_image_is_built_with_the_rust_version_that_the_crate_requires() {
    let manifest = include_str!("../Cargo.toml");
    let version = lines(manifest).find_map(|line| line.strip_prefix("rust-version = "));
    let version = unquoted(version.unwrap());

    assert!(DOCKERFILE.contains(&format!("FROM rust:{version}-")));
}

#[test]
fn every_mounted_file_exists() {
    let mounts = lines(COMPOSE).filter_map(|line| line.strip_prefix("- ./"));
    let mounts: Vec<_> = mounts.collect();

    assert!(!mounts.is_empty());
    for mount in mounts {
        let path = mount.split(':').next().unwrap();
        assert!(repository().join(path).is_file(), "{path}");
    }
}

#[test]
fn the_secret_is_mounted_where_a_node_reads_it_and_is_not_in_the_repository() {
    let issuers = config().auth.issuers;

    let [IssuerConfig { keys, .. }] = &*issuers else {
        panic!("one issuer: {issuers:?}");
    };
    let secret = PathBuf::from("/run/secrets/hub");
    assert_eq!(keys, &KeySource::SecretFile(secret));
    assert!(block("x-node: &node").contains(&"- hub"));
    assert_eq!(block("  hub:"), ["file: ./deploy/secret"]);
    assert!(lines(GITIGNORE).any(|line| line == "/deploy/secret"));
    assert!(lines(DOCKERIGNORE).any(|line| line == "deploy"));
}

#[test]
fn every_node_uses_a_config_in_the_image_and_shares_the_log() {
    let config = config();
    let command = format!("command: [\"--config\", \"{CONFIG}\"]");

    assert!(block("x-node: &node").contains(&&*command));
    assert!(copied().contains(&"config"));
    assert!(matches!(config.log_kind(), LogKind::Redis(_)));
    assert_eq!(config.log.url.to_string(), "redis://redis:6379/0");
    let redis = block("  redis:").join(" ");
    for argument in [
        "- --appendonly - \"yes\"",
        "- --appendfsync - always",
        "- --maxmemory-policy - noeviction",
    ] {
        assert!(redis.contains(argument), "{argument}");
    }
}

#[test]
fn nginx_forwards_to_every_node_at_its_port() {
    let config = config();
    let nodes = lines(COMPOSE).filter_map(|line| line.strip_suffix(": *node"));
    let nodes: Vec<_> = nodes.collect();
    let upstreams = upstreams();

    assert_eq!(nodes.len(), 3);
    assert!(
        upstreams
            .iter()
            .map(|(node, _)| *node)
            .eq(nodes.iter().copied())
    );
    for (node, port) in upstreams {
        assert_eq!(config.server.bind, format!("0.0.0.0:{port}"));
        assert!(block("  proxy:").contains(&&*format!("- {node}")));
    }
}

#[test]
fn the_hub_url_has_the_published_port_of_nginx() {
    let (outside, inside) = block("  proxy:")
        .into_iter()
        .filter_map(|line| line.strip_prefix("- \""))
        .find_map(|port| port.strip_suffix('"')?.split_once(':'))
        .unwrap();
    let url = config().hub_url();

    assert!(lines(NGINX).any(|line| line == format!("listen {inside};")));
    let hub = format!("http://localhost:{outside}/.well-known/mercure");
    assert_eq!(url.as_str(), hub);
}

#[test]
fn nginx_does_not_buffer_streams_and_accepts_the_largest_update() {
    let config = config();
    let directives: Vec<_> = lines(NGINX).collect();

    for directive in [
        "proxy_http_version 1.1;",
        "proxy_set_header Connection \"\";",
        "proxy_buffering off;",
        "client_max_body_size 16m;",
        "zone broadcaster 128k;",
        "error_page 500 502 503 504 = @away;",
    ] {
        assert!(directives.contains(&directive), "{directive}");
    }
    assert!(config.limits.body <= 16 << 20);
}

#[test]
fn the_nginx_snippet_in_the_documentation_is_part_of_the_recipe() {
    let (_, snippet) = PROXIES.split_once("```nginx\n").unwrap();
    let (snippet, _) = snippet.split_once("```").unwrap();
    let recipe: Vec<_> = lines(NGINX_SITE).collect();

    assert!(snippet.contains("@away"));
    for line in lines(snippet) {
        assert!(recipe.contains(&line), "{line}");
    }
}

#[test]
fn the_nginx_of_the_cluster_responds_like_the_recipe_while_all_servers_are_down() {
    let answer = |text| -> Vec<_> {
        let is_part = |line: &&str| *line != "}";
        lines(text)
            .skip_while(|line| !line.starts_with("location @away"))
            .filter(is_part)
            .collect()
    };

    assert!(answer(NGINX).len() > 20);
    assert_eq!(answer(NGINX), answer(NGINX_SITE));
}
