//! The URL of the hub. Relative topics and patterns are resolved against this URL, and tokens name it as
//! their audience. Only the hub itself publishes on its path and the paths below.

use std::{str::FromStr, sync::Arc};

use thiserror::Error;
use url::Url;

/// Path of a hub in the Mercure protocol, and the default path of this server.
pub(crate) const WELL_KNOWN: &str = "/.well-known/mercure";

/// Path of the list of active subscriptions, relative to the path of the hub.
pub(crate) const SUBSCRIPTIONS_PATH: &str = "/subscriptions";

/// The URL under which clients reach the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubUrl(Arc<Inner>);

#[derive(Debug, PartialEq, Eq)]
struct Inner {
    url: Url,
    /// The path of `url` as [`comparable`] returns it, for comparisons with the paths of topics.
    path: String,
    /// Further URLs of the hub.
    others: Vec<HubUrl>,
}

/// Error: the text is not a valid [`HubUrl`] (see [`HubUrl::parse`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "a hub's URL is an http or https URL with a path that is not /, without query and fragment"
)]
pub struct InvalidHubUrl;

impl HubUrl {
    /// Parses an `http` or `https` URL. Fails if its path is `/` or ends with `/`, or if it has a user, a
    /// password, a query or a fragment.
    pub fn parse(text: &str) -> Result<Self, InvalidHubUrl> {
        let url = Url::parse(text).map_err(|_| InvalidHubUrl)?;
        let is_plain = matches!(url.scheme(), "http" | "https")
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        let path = comparable(url.path());
        if !is_plain || path.len() < 2 || path.ends_with('/') {
            return Err(InvalidHubUrl);
        }
        Ok(Self(Arc::new(Inner {
            url,
            path,
            others: Vec::new(),
        })))
    }

    /// This URL, of a hub that clients also know under these URLs.
    pub(crate) fn also_known_as(&self, others: &[Self]) -> Self {
        Self(Arc::new(Inner {
            url: self.0.url.clone(),
            path: self.0.path.clone(),
            others: others.to_vec(),
        }))
    }

    /// The further URLs of the hub.
    pub(crate) fn others(&self) -> &[Self] {
        &self.0.others
    }

    /// All URLs of the hub, this one first.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.others())
    }

    /// The default URL of a server that listens on `address`, a host and a port as in `server.bind`. The URL
    /// has the host of `address`, but the port `port`. If this host is `0.0.0.0` or `[::]`, or is not valid
    /// in a URL, the URL has the host `localhost` instead.
    pub(crate) fn at(address: &str, port: u16) -> Self {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = match host {
            // A server can listen on these hosts, but a client cannot connect to them.
            "0.0.0.0" | "[::]" | "" => "localhost",
            host => host,
        };
        let parsed = Self::parse(&format!("http://{host}:{port}{WELL_KNOWN}"));
        let local = || Self::parse(&format!("http://localhost:{port}{WELL_KNOWN}"));
        parsed.or_else(|_| local()).expect("this is a URL")
    }

    /// The URL as text, which is also the audience of tokens for this hub.
    pub fn as_str(&self) -> &str {
        self.0.url.as_str()
    }

    /// Whether the path of the hub is the path in the protocol, `/.well-known/mercure`.
    pub fn is_well_known(&self) -> bool {
        self.path() == WELL_KNOWN
    }

    pub(crate) fn url(&self) -> &Url {
        &self.0.url
    }

    /// The path of the hub, without host and scheme.
    pub(crate) fn path(&self) -> &str {
        self.0.url.path()
    }

    /// The topic as an absolute URL. A relative topic is resolved against the URL of the hub. `None`: the
    /// topic cannot be parsed as a URL, even as a relative one.
    pub(crate) fn resolve(&self, topic: &str) -> Option<Url> {
        self.0.url.join(topic).ok()
    }

    /// Whether a topic has the path of one of the hub's URLs or a path below it, with any scheme and host, and
    /// in any spelling such as percent-encoding. Only the hub may publish on such topics.
    pub(crate) fn reserves(&self, topic: &str) -> bool {
        self.all().any(|hub| {
            let Some(url) = hub.resolve(topic) else {
                return false;
            };
            comparable(url.path())
                .strip_prefix(&hub.0.path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

impl FromStr for HubUrl {
    type Err = InvalidHubUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// Returns a path in one spelling, so that equal paths have equal text: unreserved characters (RFC 3986,
/// section 2.3) are decoded, and dot segments (`.` and `..`) are removed. The URL parser already removes most
/// dot segments, but not those in a path without a leading slash.
fn comparable(path: &str) -> String {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        decoded.push_str(&rest[..at]);
        let digits = rest.get(at + 1..at + 3);
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.map(char::from) {
            Some(c) if c.is_ascii_alphanumeric() || "-._~".contains(c) => {
                decoded.push(c);
                rest = &rest[at + 3..];
            }
            _ => {
                decoded.push('%');
                rest = &rest[at + 1..];
            }
        }
    }
    decoded.push_str(rest);
    without_dot_segments(&decoded)
}

fn without_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "." => {}
            ".." => {
                // The first segment is the text before the first slash, which is usually empty. It is never
                // removed.
                if kept.len() > 1 {
                    kept.pop();
                }
            }
            segment => kept.push(segment),
        }
    }
    kept.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub() -> HubUrl {
        HubUrl::parse("https://hub.example.com/.well-known/mercure").unwrap()
    }

    #[test]
    fn the_hubs_own_paths_are_reserved_in_every_spelling() {
        for topic in [
            "/.well-known/mercure",
            "/.well-known/mercure/subscriptions/exact/a/b",
            "https://hub.example.com/.well-known/mercure/x",
            "http://other.example/.well-known/mercure",
            "https://hub.example.com/.well-known/mercure?a=b#c",
            "/.well-known/%6Dercure/x",
            "/%2ewell-known/mercure",
            "/.well-known/mercure/../mercure/x",
            "/a/../.well-known/mercure/x",
            "/.well-known/%2e%2e/.well-known/mercure",
            "mercure",
            "./mercure/x",
            "//other/.well-known/mercure",
            "\\.well-known\\mercure",
            "foo://bar/.well-known/mercure/x",
            "foo:/.well-known/%6dercure",
            "/.well-known/mercure/",
        ] {
            assert!(hub().reserves(topic), "{topic}");
        }
    }

    #[test]
    fn all_other_topics_are_free_for_publishers() {
        for topic in [
            "https://example.com/books/1",
            "/.well-known/mercury",
            "/.well-known/mercures",
            "/.well-known",
            "/x/.well-known/mercure",
            "/.well-known/mercure%2Fx",
            "/.well-known/mercure/..",
            "urn:uuid:bb3de268-05b0-4c65-b44e-8f9acefc29d6",
            "http://[",
            "books",
            "/.Well-Known/mercure",
        ] {
            assert!(!hub().reserves(topic), "{topic}");
        }
    }

    #[test]
    fn an_invalid_hub_url_is_refused() {
        for text in [
            "",
            "/.well-known/mercure",
            "ftp://example.com/hub",
            "https://example.com",
            "https://example.com/hub/",
            "https://example.com/hub?x",
            "https://example.com/hub#x",
            "https://me@example.com/hub",
        ] {
            assert_eq!(HubUrl::parse(text), Err(InvalidHubUrl), "{text}");
        }
    }
}
