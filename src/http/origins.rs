//! Lists of origins whose pages may use the server.

/// Origins of pages, as the config lists them: an origin as browsers send it, or one whose host begins with
/// `*.`, which stands for one or more labels. An entry `*` is not a pattern here and matches no origin.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origins(Vec<String>);

impl Origins {
    pub(crate) fn new<'a>(listed: impl IntoIterator<Item = &'a String>) -> Self {
        Self(listed.into_iter().cloned().collect())
    }

    /// Whether the list has this origin. The origin `null` only if it is listed.
    pub(crate) fn contains(&self, origin: &str) -> bool {
        self.0.iter().any(|listed| match listed.split_once("//*") {
            None => listed == origin,
            // The domain begins with a dot.
            Some((scheme, domain)) => {
                let rest = origin.strip_prefix(scheme);
                let rest = rest.and_then(|rest| rest.strip_prefix("//"));
                let labels = rest.and_then(|rest| rest.strip_suffix(domain));
                labels.is_some_and(|labels| labels.split('.').all(is_label))
            }
        })
    }
}

fn is_label(text: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !text.is_empty() && text.bytes().all(is_good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_with_a_wildcard_stands_for_one_or_more_labels() {
        let listed = [
            "https://*.example.com",
            "http://*.local:8080",
            "https://a.org",
        ];
        let origins = Origins::new(&listed.map(str::to_owned));

        for origin in [
            "https://www.example.com",
            "https://a.b-c.example.com",
            "https://xn--bcher-kva.example.com",
            "http://x.local:8080",
            "https://a.org",
        ] {
            assert!(origins.contains(origin), "{origin}");
        }
        for origin in [
            "https://example.com",
            "https://evilexample.com",
            "https://.example.com",
            "https://a..example.com",
            "https://.a.example.com",
            "https://a.example.com.",
            "https://a.example.com.evil.org",
            "https://a.example.com:8443",
            "http://a.example.com",
            "https://evil.org/.example.com",
            "https://evil.org:1.example.com",
            "https://evil.org@a.example.com",
            "https://evil.org#.example.com",
            "https://evil.org?.example.com",
            "https://[::1].example.com",
            "https://caf\u{e9}.example.com",
            "x://https://a.example.com",
            "http://x.local",
            "https://b.a.org",
            "https://*.example.com",
            "null",
            "*",
            "",
        ] {
            assert!(!origins.contains(origin), "{origin}");
        }
    }
}
