//! Fetches a small document over HTTP. It trusts nothing in the response: its size, the time that it takes and
//! its redirects are limited.

use std::{
    sync::{Arc, LazyLock},
    time::{Duration, Instant, SystemTime},
};

use ureq::{
    Agent, Proxy,
    http::{HeaderMap, header},
    tls::{RootCerts, TlsConfig, TlsProvider},
};
use url::Url;

/// Maximum time from the first connection to the last byte, with all redirects.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum length of the document, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Maximum number of redirects that are followed.
const MAX_REDIRECTS: usize = 3;

/// A document that was fetched.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) body: Vec<u8>,
    /// How long the response may be cached. `None`: it does not say.
    pub(super) lifetime: Option<Duration>,
}

/// Sends requests over HTTPS, through the proxy in the environment variables if there is one.
static AGENT: LazyLock<Agent> = LazyLock::new(|| agent(Proxy::try_from_env()));

/// Sends requests over HTTP to this machine. They must not go through a proxy.
static LOCAL_AGENT: LazyLock<Agent> = LazyLock::new(|| agent(None));

fn agent(proxy: Option<Proxy>) -> Agent {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(provider)
        .build();
    Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        // A key server that moves to another address must be found again.
        .max_idle_connections(0)
        .proxy(proxy)
        .build()
        .new_agent()
}

/// Fetches a document, and blocks meanwhile. Follows redirects only within the origin of the URL. Fails with
/// the reason, which contains nothing of the document.
pub(super) fn fetch(url: &Url) -> Result<Fetched, String> {
    let deadline = Instant::now() + TIMEOUT;
    let agent = match url.scheme() {
        "http" => &LOCAL_AGENT,
        _ => &AGENT,
    };
    let mut target = url.clone();
    for _ in 0..=MAX_REDIRECTS {
        let left = deadline.saturating_duration_since(Instant::now());
        let request = agent
            .get(target.as_str())
            .header("Accept", "application/json");
        let request = request.config().timeout_global(Some(left)).build();
        let mut response = request.call().map_err(|err| err.to_string())?;
        let status = response.status();
        if let Some(location) = location(response.headers()).filter(|_| status.is_redirection()) {
            target = redirected(&target, location)?;
            continue;
        }
        if status != 200 {
            return Err(format!("the response has status {}", status.as_u16()));
        }
        let lifetime = lifetime(response.headers());
        let body = response.body_mut().with_config().limit(MAX_BYTES);
        let body = body.read_to_vec().map_err(|err| match err {
            ureq::Error::BodyExceedsLimit(_) => {
                format!("the response is longer than {MAX_BYTES} bytes")
            }
            err => err.to_string(),
        })?;
        return Ok(Fetched { body, lifetime });
    }
    Err(format!("there are more than {MAX_REDIRECTS} redirects"))
}

fn location(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::LOCATION)?.to_str().ok()
}

/// The URL to which a response redirects. Fails if it has another origin.
fn redirected(from: &Url, location: &str) -> Result<Url, String> {
    let to = from
        .join(location)
        .map_err(|_| "the Location of the redirect is not a URL")?;
    if to.origin() != from.origin() {
        let to = to.origin().ascii_serialization();
        return Err(format!(
            "it redirects to another origin, {to}, which is not followed: name the final URL"
        ));
    }
    Ok(to)
}

/// How long a response may be cached, according to `Cache-Control` or else `Expires` (RFC 9111, section 4.2).
fn lifetime(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok();
    let directives = text(header::CACHE_CONTROL).unwrap_or_default().split(',');
    let directives: Vec<_> = directives
        .map(|it| it.trim().to_ascii_lowercase())
        .collect();
    if directives
        .iter()
        .any(|it| it == "no-store" || it == "no-cache")
    {
        return Some(Duration::ZERO);
    }
    let max_age = directives.iter().find_map(|it| it.strip_prefix("max-age="));
    if let Some(seconds) = max_age.and_then(|seconds| seconds.trim_matches('"').parse().ok()) {
        let age = text(header::AGE).and_then(|age| age.trim().parse().ok());
        let age = Duration::from_secs(age.unwrap_or(0));
        return Some(Duration::from_secs(seconds).saturating_sub(age));
    }
    let expires = httpdate::parse_http_date(text(header::EXPIRES)?).ok()?;
    Some(
        expires
            .duration_since(SystemTime::now())
            .unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lifetime_is_what_the_response_says() {
        let of = |fields: &[(&str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                let name = header::HeaderName::from_bytes(name.as_bytes()).unwrap();
                headers.insert(name, value.parse().unwrap());
            }
            lifetime(&headers).map(|lifetime| lifetime.as_secs())
        };
        let in_an_hour = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3600));

        assert_eq!(of(&[]), None);
        assert_eq!(
            of(&[("cache-control", "public, max-age=600, must-revalidate")]),
            Some(600)
        );
        assert_eq!(of(&[("cache-control", "Max-Age=\"600\"")]), Some(600));
        assert_eq!(
            of(&[("cache-control", "max-age=600"), ("age", "200")]),
            Some(400)
        );
        assert_eq!(
            of(&[("cache-control", "max-age=600"), ("age", "700")]),
            Some(0)
        );
        assert_eq!(of(&[("cache-control", "no-store, max-age=600")]), Some(0));
        assert_eq!(of(&[("cache-control", "max-age=1e9")]), None);
        assert_eq!(of(&[("cache-control", "private")]), None);
        assert!((3590..=3600).contains(&of(&[("expires", &in_an_hour)]).unwrap()));
        assert_eq!(of(&[("expires", "Thu, 01 Jan 1970 00:00:00 GMT")]), Some(0));
        assert_eq!(of(&[("expires", "0")]), None);
        assert_eq!(
            of(&[("cache-control", "max-age=5"), ("expires", &in_an_hour)]),
            Some(5)
        );
    }

    #[test]
    fn a_redirect_is_followed_within_the_origin_only() {
        let from = Url::parse("https://keys.example:8443/a/jwks").unwrap();
        let to = |location: &str| redirected(&from, location).map(String::from);

        assert_eq!(to("/b").unwrap(), "https://keys.example:8443/b");
        assert_eq!(to("c?d").unwrap(), "https://keys.example:8443/a/c?d");
        assert_eq!(
            to("https://KEYS.example:8443/e").unwrap(),
            "https://keys.example:8443/e"
        );
        for location in [
            "https://keys.example/b",
            "http://keys.example:8443/b",
            "https://evil.example/b",
            "//evil.example/b",
            "https://keys.example:8443@evil.example/",
            "file:///etc/passwd",
            "http://[",
        ] {
            assert!(to(location).is_err(), "{location}");
        }
    }
}
