//! URL Patterns (WHATWG, urlpattern.spec.whatwg.org) of bounded cost. Any client can send a pattern, so the
//! regular expressions in it are compiled with bounded size and linear matching time.

use std::{fmt, panic::catch_unwind};

use thiserror::Error;
use url::{Url, quirks};
use urlpattern::{
    UrlPattern as Parsed, UrlPatternInit, UrlPatternOptions,
    matcher::{InnerMatcher, Matcher},
    regexp::RegExp,
};

use super::{bounded_regex::BoundedRegex, hub_url::HubUrl};

/// Maximum compiled size of the regular expression for one part of a pattern (such as the path), in bytes. A
/// pattern that needs more is refused.
const PART_BYTES: usize = 32 << 10;

/// A compiled pattern, with one matcher for each part of a URL.
pub(crate) struct UrlPattern {
    protocol: Matcher<Bounded>,
    username: Matcher<Bounded>,
    password: Matcher<Bounded>,
    hostname: Matcher<Bounded>,
    port: Matcher<Bounded>,
    pathname: Matcher<Bounded>,
    search: Matcher<Bounded>,
    hash: Matcher<Bounded>,
}

/// Error: the text is not a URL Pattern, or the pattern is too complex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a URL Pattern, or one that is too complex")]
pub(crate) struct InvalidUrlPattern;

impl UrlPattern {
    /// Compiles a pattern. A relative pattern is resolved against the URL of the hub. Matching is
    /// case-sensitive, except for scheme and host, which a URL has in lower case.
    pub(crate) fn parse(text: &str, hub: &HubUrl) -> Result<Self, InvalidUrlPattern> {
        // The text is untrusted. If the parser panics on it, the pattern is refused and the server continues.
        let parsed = catch_unwind(|| {
            let base = Some(hub.url().clone());
            let init = UrlPatternInit::parse_constructor_string::<Bounded>(text, base)?;
            Parsed::parse(init, UrlPatternOptions::default())
        });
        let Ok(Ok(parsed)) = parsed else {
            return Err(InvalidUrlPattern);
        };
        Ok(Self {
            protocol: parsed.protocol.matcher,
            username: parsed.username.matcher,
            password: parsed.password.matcher,
            hostname: parsed.hostname.matcher,
            port: parsed.port.matcher,
            pathname: parsed.pathname.matcher,
            search: parsed.search.matcher,
            hash: parsed.hash.matcher,
        })
    }

    /// Approximate maximum memory of the compiled pattern in bytes, counting full match caches. The text of
    /// the matcher is not included.
    pub(crate) fn bytes(&self) -> usize {
        let parts = [
            &self.protocol,
            &self.username,
            &self.password,
            &self.hostname,
            &self.port,
            &self.pathname,
            &self.search,
            &self.hash,
        ];
        size_of::<Self>() + parts.into_iter().map(bytes).sum::<usize>()
    }

    /// Whether this pattern may match a URL of the hub's own origin whose path begins with `path`. `false` is
    /// certain. `true` is not certain: the pattern may still match no such URL.
    pub(crate) fn may_match_path_below(&self, path: &str, hub: &HubUrl) -> bool {
        let url = hub.url();
        let literal = match &self.pathname.inner {
            InnerMatcher::Literal { literal } if self.pathname.prefix.is_empty() => literal,
            _ => &self.pathname.prefix,
        };
        may_begin_both(literal, path)
            && is_match(&self.hostname, url.host_str().unwrap_or_default())
            && is_match(&self.protocol, url.scheme())
            && is_match(&self.port, quirks::port(url))
    }

    /// Whether this pattern matches a URL. Replaces the method of the `urlpattern` crate, which would also
    /// collect the values of groups.
    pub(crate) fn matches(&self, url: &Url) -> bool {
        is_match(&self.pathname, url.path())
            && is_match(&self.hostname, url.host_str().unwrap_or_default())
            && is_match(&self.protocol, url.scheme())
            && is_match(&self.port, quirks::port(url))
            && is_match(&self.search, url.query().unwrap_or_default())
            && is_match(&self.hash, url.fragment().unwrap_or_default())
            && is_match(&self.username, url.username())
            && is_match(&self.password, url.password().unwrap_or_default())
    }
}

/// Approximate heap memory of the matcher for one part of a URL, in bytes.
fn bytes(matcher: &Matcher<Bounded>) -> usize {
    let inner = match &matcher.inner {
        InnerMatcher::Literal { literal } => literal.len(),
        InnerMatcher::RegExp { regexp: Ok(regexp) } => regexp.0.bytes(),
        InnerMatcher::SingleCapture { .. } | InnerMatcher::RegExp { regexp: Err(_) } => 0,
    };
    matcher.prefix.len() + matcher.suffix.len() + inner
}

fn is_match(matcher: &Matcher<Bounded>, part: &str) -> bool {
    let inner = part.strip_prefix(matcher.prefix.as_str());
    let Some(inner) = inner.and_then(|rest| rest.strip_suffix(matcher.suffix.as_str())) else {
        return false;
    };
    match &matcher.inner {
        InnerMatcher::Literal { literal } => inner == literal,
        InnerMatcher::SingleCapture {
            filter,
            allow_empty,
        } => (*allow_empty || !inner.is_empty()) && filter.is_none_or(|c| !inner.contains(c)),
        InnerMatcher::RegExp { regexp } => regexp.as_ref().is_ok_and(|it| it.0.is_match(inner)),
    }
}

impl fmt::Debug for UrlPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UrlPattern")
    }
}

/// Makes the `urlpattern` crate use [`BoundedRegex`] for the regular expressions in patterns.
#[derive(Debug)]
struct Bounded(BoundedRegex);

impl RegExp for Bounded {
    fn syntax() -> urlpattern::RegexSyntax {
        urlpattern::RegexSyntax::Rust
    }

    fn parse(pattern: &str, _flags: &str, _force_eval: bool) -> Result<Self, ()> {
        BoundedRegex::parse(pattern, PART_BYTES)
            .map(Self)
            .map_err(|_| ())
    }

    fn matches<'a>(&self, text: &'a str) -> Option<Vec<Option<&'a str>>> {
        self.0.is_match(text).then(Vec::new)
    }

    fn pattern_string(&self) -> &str {
        self.0.as_str()
    }
}

/// Whether some text can begin with both `one` and `other`: one of them must be a prefix of the other.
pub(crate) fn may_begin_both(one: &str, other: &str) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use urlpattern::UrlPatternMatchInput;

    use super::*;

    fn hub() -> HubUrl {
        HubUrl::parse("https://hub.example.com/.well-known/mercure").unwrap()
    }

    fn matches(pattern: &str, topic: &str) -> bool {
        let pattern = UrlPattern::parse(pattern, &hub()).unwrap();
        hub()
            .resolve(topic)
            .is_some_and(|topic| pattern.matches(&topic))
    }

    #[test]
    fn patterns_match_as_the_standard_says() {
        let books = "https://example.com/books/:id";
        assert!(matches(books, "https://example.com/books/1"));
        assert!(matches(books, "https://EXAMPLE.com/books/1"), "the host");
        assert!(matches(books, "https://example.com/books/1?q#f"));
        assert!(!matches(books, "https://example.com/books/"));
        assert!(!matches(books, "https://example.com/books/1/2"));
        assert!(!matches(books, "https://example.com/Books/1"), "the path");
        assert!(!matches(books, "http://example.com/books/1"));
        assert!(matches(
            "https://*.example.com/*",
            "https://a.example.com/b/c"
        ));
        assert!(matches(
            "/books/:id(\\d+)",
            "https://hub.example.com/books/12"
        ));
        assert!(!matches("/books/:id(\\d+)", "/books/x"));
        assert!(matches("/books/{:id/}?edit", "/books/edit"));
        assert!(matches(
            "/.well-known/mercure/subscriptions/exact/:topic/:subscriber",
            "/.well-known/mercure/subscriptions/exact/a%2Fb/urn%3Auuid%3A1"
        ));
    }

    #[test]
    fn too_expensive_patterns_are_refused() {
        // The `urlpattern` crate puts each group into an expression that itself has four levels of nesting.
        let nested = |groups| format!("/({}a{})", "(?:".repeat(groups), ")".repeat(groups));
        for pattern in ["/((?:a{10}){10})", &nested(20)] {
            assert!(UrlPattern::parse(pattern, &hub()).is_ok(), "{pattern}");
        }
        for pattern in [
            "/((?:a{1000}){1000})",
            "/(\\p{L})",
            "/((?i:books))",
            "/((?u:\\w))",
            &nested(21),
            "/(",
            "/{",
            "https://exa mple/",
            "/:id/:id",
        ] {
            let parsed = UrlPattern::parse(pattern, &hub());
            assert_eq!(parsed.err(), Some(InvalidUrlPattern), "{pattern}");
        }
    }

    #[test]
    fn character_classes_match_as_in_the_standard() {
        // As in the standard, classes such as `\w` match only ASCII characters. All other characters are
        // percent-encoded in a URL.
        assert!(matches("/(\\w+)", "/books_1"));
        assert!(!matches("/(\\w+)", "/b%C3%BCcher"));
        assert!(!matches("/(\\w+)", "/bücher"));
        assert!(matches("/([^x]+)", "/bücher"));
        assert!(matches("/(.*)", "/bücher"));
        assert!(matches("/bücher/:id", "/b%C3%BCcher/1"));
        assert!(!matches("/(books)", "/BOOKS"));
    }

    #[test]
    fn a_pattern_that_backtracks_exponentially_elsewhere_takes_linear_time() {
        let pattern = UrlPattern::parse("/((?:a+)+)b", &hub()).unwrap();
        let topic = hub().resolve(&format!("/{}", "a".repeat(4000))).unwrap();

        assert!(!pattern.matches(&topic));
    }

    proptest! {
        #[test]
        fn a_group_matches_one_segment_and_a_wildcard_any(
            host in "[a-z]{1,8}",
            segments in prop::collection::vec("[a-z0-9é~]{1,6}", 1..5),
            at: prop::sample::Index,
        ) {
            let at = at.index(segments.len());
            let url = |segments: &[String]| format!("https://{host}/{}", segments.join("/"));
            let mut with_group = segments.clone();
            with_group[at] = ":name".to_owned();
            let topic = url(&segments);

            prop_assert!(matches(&topic, &topic));
            prop_assert!(matches(&url(&with_group), &topic));
            let below = url(&segments[..at]) + if at == 0 { "*" } else { "/*" };
            prop_assert!(matches(&below, &topic));
            let (mut more, mut other) = (segments.clone(), segments.clone());
            more[at] += "/x";
            other[at] += "x";
            prop_assert!(!matches(&url(&with_group), &url(&more)));
            prop_assert!(!matches(&topic, &url(&other)));
        }

        #[test]
        fn a_valid_pattern_matches_what_the_librarys_own_test_matches(
            text in "[a-z:/*?+(){}\\[\\]\\\\|.^$#&é-]{0,40}",
        ) {
            let topic = hub().resolve("/books/1?a#b").unwrap();
            if let Ok(pattern) = UrlPattern::parse(&text, &hub()) {
                let base = Some(hub().url().clone());
                let init = UrlPatternInit::parse_constructor_string::<Bounded>(&text, base);
                let parsed = Parsed::<Bounded>::parse(init.unwrap(), UrlPatternOptions::default());
                let expected = parsed.unwrap().test(UrlPatternMatchInput::Url(topic.clone()));

                prop_assert_eq!(pattern.matches(&topic), expected.unwrap());
            }
        }
    }
}
