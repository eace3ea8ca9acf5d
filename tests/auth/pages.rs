//! What pages of which origins may do, with a cookie and with a header.

use serde_json::json;

use crate::{
    cookie,
    support::mercure::{Answer, COOKIE, MercureHub, PATH, bearer, grant, token},
    wide,
};

/// Publishes with a cookie. `headers` are those that a browser sends about the page.
fn post_with_cookie(hub: &MercureHub, headers: &str) -> Answer {
    let token = token(json!([grant("publish", &["*"])]));
    let headers = format!("{}{headers}", cookie(COOKIE, &token));
    hub.ask("POST", PATH, &headers, "topic=a")
}

#[test]
fn only_pages_of_the_hubs_origin_or_of_a_listed_origin_can_publish_with_a_cookie() {
    let hub = MercureHub::with(|config| {
        config.cors.allowed_origins = vec!["https://app.example".to_owned()];
    });

    for headers in [
        "Origin: https://hub.example.com\r\n",
        "Origin: https://test\r\n",
        "Origin: https://app.example\r\n",
        "Referer: https://hub.example.com/a/page?x#y\r\n",
        "Referer: https://app.example\r\n",
        "Origin: https://app.example\r\nReferer: https://bad.example/\r\n",
    ] {
        assert_eq!(post_with_cookie(&hub, headers).status(), 200, "{headers}");
    }
    for headers in [
        "",
        "Origin: null\r\n",
        "Origin: \r\n",
        "Origin: https://bad.example\r\n",
        "Origin: http://hub.example.com\r\n",
        "Origin: https://hub.example.com:8443\r\n",
        "Origin: https://hub.example.com.bad.example\r\n",
        "Origin: https://app.example.bad.example\r\n",
        "Origin: http://app.example\r\n",
        "Origin: *\r\n",
        "Origin: https://caf\u{e9}.example\r\nReferer: https://app.example/\r\n",
        "Referer: https://bad.example/https://hub.example.com/\r\n",
        "Referer: https://hub.example.com@bad.example/\r\n",
        "Referer: /page\r\n",
        "Referer: about:blank\r\n",
        "Referer: \u{e9}\r\n",
        "Origin: https://bad.example\r\nReferer: https://hub.example.com/\r\n",
    ] {
        let answer = post_with_cookie(&hub, headers);
        answer.assert_refuses(403, headers);
        assert_eq!(answer.header("www-authenticate"), None, "{headers}");
    }
}

#[test]
fn the_origins_that_publish_can_differ_from_those_that_subscribe() {
    let hub = |publish_origins: &[&str]| {
        MercureHub::with(|config| {
            let origins = publish_origins.iter().map(ToString::to_string);
            config.auth.publish_origins = origins.collect();
            config.cors.allowed_origins = vec!["https://app.example".to_owned(), "null".to_owned()];
        })
    };
    let may = |hub: &MercureHub, origin: &str| {
        post_with_cookie(hub, &format!("Origin: {origin}\r\n")).status() == 200
    };
    let app = "https://app.example";
    let own = "https://hub.example.com";

    let only_own = hub(&[]);
    assert!(may(&only_own, own) && !may(&only_own, app));
    let other = hub(&["https://*.admin.example"]);
    assert!(may(&other, "https://a.b.admin.example") && !may(&other, app));
    assert!(!may(&other, "https://evil-admin.example"));
    let both = hub(&["cors", "https://admin.example"]);
    assert!(may(&both, app) && may(&both, "https://admin.example") && may(&both, own));
    assert!(!may(&both, "null") && !may(&both, "cors"));
}

#[test]
fn all_hosts_below_a_listed_origin_can_subscribe_with_a_cookie() {
    let hub = MercureHub::with(|config| {
        config.cors.allowed_origins = vec!["https://*.example.com".to_owned()];
    });
    let answer = |origin: &str| {
        let headers = format!("Origin: {origin}\r\nAccess-Control-Request-Method: GET\r\n");
        hub.ask("OPTIONS", PATH, &headers, "")
    };

    for origin in ["https://app.example.com", "https://a.b.example.com"] {
        let answer = answer(origin);
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
        assert_eq!(
            answer.header("access-control-allow-credentials"),
            Some("true")
        );
        assert!(
            answer
                .header("vary")
                .unwrap()
                .to_ascii_lowercase()
                .contains("origin")
        );
    }
    for origin in [
        "https://evilexample.com",
        "https://example.com",
        "http://app.example.com",
    ] {
        let answer = answer(origin);
        assert_eq!(
            answer.header("access-control-allow-origin"),
            None,
            "{origin}"
        );
    }
}

#[test]
fn with_a_wildcard_list_no_other_origin_can_publish_with_a_cookie() {
    let hub = MercureHub::start();

    for headers in ["Origin: https://bad.example\r\n", "Origin: null\r\n", ""] {
        post_with_cookie(&hub, headers).assert_refuses(403, headers);
    }
}

#[test]
fn pages_of_any_origin_can_publish_with_a_header() {
    let hub = MercureHub::start();
    let token = token(json!([grant("publish", &["*"])]));

    for headers in ["", "Origin: https://bad.example\r\n", "Origin: null\r\n"] {
        let alone = format!("{}{headers}", bearer(&token));
        let with_cookie = format!("{alone}{}", cookie(COOKIE, &token));
        for headers in [alone, with_cookie] {
            let answer = hub.ask("POST", PATH, &headers, "topic=a");
            assert_eq!(answer.status(), 200, "{headers}");
        }
    }
}

#[test]
fn only_pages_of_a_listed_origin_can_subscribe_with_a_cookie() {
    let hub = MercureHub::with(|config| {
        config.cors.allowed_origins = vec!["https://app.example".to_owned()];
    });
    let origins = |origin: &str| {
        let headers = format!("Origin: {origin}\r\n{}", cookie(COOKIE, &wide()));
        let stream = hub.open("match=a", &headers);
        let header = |name: &str| stream.header(name).map(str::to_owned);
        (
            header("access-control-allow-origin"),
            header("access-control-allow-credentials"),
            header("vary").unwrap_or_default().contains("origin"),
        )
    };

    let listed = origins("https://app.example");
    assert_eq!(listed.0.as_deref(), Some("https://app.example"));
    assert_eq!(listed.1.as_deref(), Some("true"));
    assert!(listed.2, "the response varies by origin");
    for origin in [
        "null",
        "http://app.example",
        "https://app.example.bad.example",
        "https://app.example:8443",
    ] {
        assert_eq!(origins(origin).0, None, "{origin}");
    }
}

#[test]
fn with_a_wildcard_list_no_other_origin_can_subscribe_with_a_cookie() {
    let hub = MercureHub::start();

    let stream = hub.open("match=a", "Origin: https://any.example\r\n");

    assert_eq!(stream.header("access-control-allow-origin"), Some("*"));
    assert_eq!(stream.header("access-control-allow-credentials"), None);
}

#[test]
fn a_page_of_a_listed_origin_can_send_a_token_and_read_the_response_headers() {
    let hub = MercureHub::with(|config| {
        config.cors.allowed_origins = vec!["https://app.example".to_owned()];
    });
    let origin = "Origin: https://app.example\r\n";

    for method in ["GET", "QUERY", "POST"] {
        let preflight = hub.ask(
            "OPTIONS",
            PATH,
            &format!(
                "{origin}Access-Control-Request-Method: {method}\r\n\
                 Access-Control-Request-Headers: authorization, content-type, last-event-id\r\n"
            ),
            "",
        );
        let allowed = preflight.header("access-control-allow-headers").unwrap();

        assert_eq!(preflight.status(), 200, "{method}");
        let methods = preflight.header("access-control-allow-methods").unwrap();
        assert!(methods.contains(method), "{methods}");
        for name in ["authorization", "content-type", "last-event-id"] {
            assert!(allowed.contains(name), "{allowed}");
        }
    }
    let stream = hub.open("match=a", origin);
    let exposed = stream.header("access-control-expose-headers").unwrap();
    for name in ["mercure-last-event-id", "link", "www-authenticate"] {
        assert!(exposed.contains(name), "{exposed}");
    }
    let refused = hub.ask("POST", PATH, origin, "topic=a");
    refused.assert_refuses(401, "no token");
    let allowed = refused.header("access-control-allow-origin");
    assert_eq!(
        allowed,
        Some("https://app.example"),
        "pages can read errors, too"
    );
}
