//! Decides which values are allowed for settings that name a host: addresses to listen on, and origins of
//! pages.

use std::net::{Ipv6Addr, SocketAddrV6};

use serde::{Deserialize, Deserializer, de::Error};
use toml::Value;
use url::Url;

use super::value::{refused, text_or_off};

/// Maximum length of a host name, in bytes. DNS allows at most this length.
const MAX_HOST_BYTES: usize = 253;

/// Maximum length of a URL, in bytes.
const MAX_URL_BYTES: usize = 4096;

/// Maximum length of the scheme of an origin, in bytes. The HTTP library refuses a longer scheme.
const MAX_SCHEME_BYTES: usize = 64;

/// Maximum number of origins in `cors.allowed_origins`. A longer list is refused.
const MAX_ORIGINS: usize = 1000;

pub(super) fn bind_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let found = Value::deserialize(deserializer)?;
    found
        .as_str()
        .filter(|address| is_address(address))
        .map(str::to_owned)
        .ok_or_else(|| {
            refused(
                &found,
                "a host and a port from 0 to 65535, such as \"127.0.0.1:3000\" or \"[::]:3000\"",
            )
        })
}

/// Reads and writes a setting whose value is an address (a host and a port), or `off`.
pub(super) mod optional_address {
    use super::*;
    pub(in crate::config) use crate::config::value::write_or_off as serialize;

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<String>, D::Error> {
        let allowed = "a host and a port from 0 to 65535, such as \"127.0.0.1:9090\"";
        text_or_off(deserializer, is_address, allowed)
    }
}

/// Whether the text has the form of a host and a port. Whether the host exists is not checked: only binding
/// to the address shows this.
fn is_address(text: &str) -> bool {
    if text.starts_with('[') {
        return text.parse::<SocketAddrV6>().is_ok();
    }
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let is_host = |c: char| c.is_alphanumeric() || "-_.".contains(c);
        (1..=MAX_HOST_BYTES).contains(&host.len()) && host.chars().all(is_host) && is_port(port)
    })
}

fn is_port(text: &str) -> bool {
    // The number parser alone would also accept a leading `+`.
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

pub(super) fn origins<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let found = Value::deserialize(deserializer)?;
    let Some(origins) = found.as_array().filter(|list| list.len() <= MAX_ORIGINS) else {
        let allowed = format!("a list of at most {MAX_ORIGINS} origins, such as [\"*\"] or []");
        return Err(match found.as_array() {
            Some(list) => D::Error::custom(format!(
                "found a list of {}, allowed is {allowed}",
                list.len()
            )),
            None => refused(&found, allowed),
        });
    };
    let origin = |origin: &Value| {
        origin
            .as_str()
            .filter(|text| is_origin(text))
            .map(str::to_owned)
            .ok_or_else(|| {
                refused(
                    origin,
                    "\"*\", \"null\" or an origin as browsers send it, such as \
                     \"https://example.org\", \"https://*.example.org\" or \"http://localhost:8080\": in lower \
                     case, without a path, without port 80 of http or 443 of https",
                )
            })
    };
    origins.iter().map(origin).collect()
}

/// The word in `auth.publish_origins` for the origins in `cors.allowed_origins`.
pub(crate) const CORS: &str = "cors";

pub(super) fn publish_origins<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<String>, D::Error> {
    let found = Value::deserialize(deserializer)?;
    let is_good = |text: &str| text == CORS || (text != "*" && text != "null" && is_origin(text));
    let origin = |origin: &Value| {
        origin
            .as_str()
            .filter(|text| is_good(text))
            .map(str::to_owned)
    };
    let origins = found.as_array().filter(|list| list.len() <= MAX_ORIGINS);
    let origins = origins.and_then(|list| list.iter().map(origin).collect::<Option<_>>());
    origins.ok_or_else(|| {
        refused(
            &found,
            format_args!(
                "a list of at most {MAX_ORIGINS} items: \"{CORS}\", or an origin as browsers send it, such as \
                 \"https://example.org\" or \"https://*.example.org\""
            ),
        )
    })
}

/// Maximum number of URLs in `auth.authorization_servers`. A longer list is refused.
const MAX_SERVERS: usize = 100;

pub(super) fn authorization_servers<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<String>, D::Error> {
    let found = Value::deserialize(deserializer)?;
    let is_issuer = |url: &Url| {
        let is_web = matches!(url.scheme(), "https" | "http");
        is_web && url.query().is_none() && url.fragment().is_none()
    };
    let url = |url: &Value| {
        let text = url.as_str().filter(|text| text.len() <= MAX_URL_BYTES)?;
        Url::parse(text)
            .is_ok_and(|url| is_issuer(&url))
            .then(|| text.to_owned())
    };
    let servers = found.as_array().filter(|list| list.len() <= MAX_SERVERS);
    let servers = servers.and_then(|list| list.iter().map(url).collect::<Option<_>>());
    servers.ok_or_else(|| {
        refused(
            &found,
            format_args!(
                "a list of at most {MAX_SERVERS} URLs without query and fragment, such as \
                 [\"https://login.example.org\"]"
            ),
        )
    })
}

/// Whether the text is `*`, or a value that a browser can send in the header `Origin`: `null`, or a scheme
/// and a host, with the port unless it is the default. The host may begin with `*.`.
fn is_origin(text: &str) -> bool {
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let serialized = || {
        let (scheme, rest) = text.split_once("://")?;
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !rest.ends_with(']') => (host, Some(port)),
            _ => (rest, None),
        };
        let scheme_is_good = scheme.len() <= MAX_SCHEME_BYTES
            && scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme.bytes().all(|b| lower(b) || b"+-.".contains(&b));
        let host_is_good = match host.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')) {
            Some(text) => text
                .parse()
                .is_ok_and(|ip: Ipv6Addr| ip.to_string() == text),
            None => {
                let host = host.strip_prefix("*.").unwrap_or(host);
                (1..=MAX_HOST_BYTES).contains(&host.len())
                    && host.bytes().all(|b| lower(b) || b"-_.".contains(&b))
            }
        };
        let port_is_good = port.is_none_or(|port| {
            let default = matches!((scheme, port), ("http", "80") | ("https", "443"));
            is_port(port) && !port.starts_with('0') && !default
        });
        (scheme_is_good && host_is_good && port_is_good).then_some(())
    };
    text == "*" || text == "null" || serialized().is_some()
}

#[cfg(test)]
mod tests {
    use actix_web::http::Uri;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for good in [
            "*",
            "null",
            "https://example.org",
            "http://localhost:8080",
            "http://127.0.0.1:3000",
            "http://[::1]:3000",
            "http://[2001:db8::1]",
            "https://xn--bcher-kva.example",
            "https://example.org:80",
            "https://*.example.org",
            "http://*.localhost:8080",
            "chrome-extension://abcdefghijklmnop",
        ] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "",
            "example.org",
            "https://",
            "://example.org",
            "https://example.org/",
            "https://example.org/path",
            "https://Example.org",
            "HTTPS://example.org",
            "https://example.org:443",
            "http://example.org:80",
            "http://example.org:",
            "http://example.org:080",
            "http://example.org:65536",
            "https://user@example.org",
            "https://*",
            "https://*.",
            "https://*example.org",
            "https://a.*.example.org",
            "https://*.*.example.org",
            "*.example.org",
            "https://b\u{fc}cher.example",
            "https://a b",
            "https://a<b",
            "http://[::1",
            "http://[0:0::1]",
            "http://::1",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in [
            "127.0.0.1:0",
            "0.0.0.0:65535",
            "[::]:3000",
            "[::1]:3000",
            "localhost:3000",
            "a_b-c.example.org:3000",
        ] {
            assert!(is_address(good), "{good}");
        }
        for bad in [
            "",
            ":",
            ":3000",
            "3000",
            "localhost",
            "localhost:",
            "localhost:65536",
            "localhost:+80",
            "localhost:-1",
            "local host:3000",
            "::1:3000",
            "[]:3000",
            "[::1]",
            "[::1:3000",
            "http://localhost:3000",
            "localhost:3000/",
        ] {
            assert!(!is_address(bad), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_accepted_origin_is_a_url(
            text in "[a-z][a-z0-9+.-]{0,70}://([*]?[a-z0-9._-]{0,12}|\\[[0-9a-f:]{1,8}\\])(:[0-9]{0,6})?",
        ) {
            if is_origin(&text) {
                let uri: Uri = text.parse().unwrap();
                prop_assert_eq!(uri.scheme_str(), text.split("://").next());
            }
        }
    }
}
