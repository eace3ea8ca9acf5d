//! The error messages for wrong settings: one line of bounded length that says what to correct.

use std::{ffi::OsString, os::unix::ffi::OsStringExt as _};

use proptest::prelude::*;
use sse_broadcaster::config::{Config, Found, Sources};
use toml::Value;

use super::{VALUES, assert_says, every_key, from_file, from_variable, line, variable};

#[test]
fn a_value_that_is_too_long_is_refused_with_a_short_message() {
    let long = "9".repeat(1 << 20);
    for path in every_key() {
        let in_file = from_file(&line(&path, &format!("'{long}'"))).unwrap_err();
        let in_variable = from_variable(variable(&path), &long).unwrap_err();

        assert_says(&in_file, &["some.toml: ", &path, ", allowed is "]);
        assert_says(&in_variable, &[&variable(&path), ", allowed is "]);
    }
    let origins = "'https://example.org',".repeat(1001);
    let too_many = from_file(&line("cors.allowed_origins", &format!("[{origins}]")));
    assert_says(
        &too_many.unwrap_err(),
        &["found a list of 1001, allowed is a list of at most 1000 origins"],
    );
    let message = |length| line("ticker.message", &format!("'{}'", "x".repeat(length)));
    assert!(from_file(&message(65_536)).is_ok());
    assert!(from_file(&message(65_537)).is_err());
    assert_says(
        &from_file(&format!("[ticker]\n{long} = 1")).unwrap_err(),
        &[
            "there is no key ticker.999",
            "…; allowed is one of: ticker.enabled, ",
        ],
    );
    assert_says(
        &from_file(&format!("[{long}]")).unwrap_err(),
        &["there is no section 999", "…; allowed is one of: auth, "],
    );
    assert_says(
        &from_variable(format!("BROADCASTER__{long}__X"), "1").unwrap_err(),
        &["there is no section 999"],
    );
    assert_says(
        &from_file(&format!("[ticker]\nmessage = '{long}")).unwrap_err(),
        &["some.toml:2:", ": this is not TOML: "],
    );
}

#[test]
fn an_unknown_or_misplaced_key_is_refused_with_what_is_allowed() {
    for (text, message) in [
        (
            "[ticker]\nintervall = '1s'",
            "there is no key ticker.intervall; allowed is one of: ticker.enabled, \
             ticker.interval, ticker.message, ticker.topic",
        ),
        (
            "[tickr]\ninterval = '1s'",
            "there is no section tickr; allowed is one of: auth, cors, hub, limits, \
             log, logging, publish, server, stream, ticker",
        ),
        (
            "interval = '1s'",
            "interval is outside of a section; it belongs under one of: [ticker]",
        ),
        (
            "port = 80",
            "port is outside of a section; it belongs under one of: [auth], [cors], [hub], \
             [limits], [log], [logging], [publish], [server], [stream], [ticker]",
        ),
        (
            "ticker = '1s'",
            "ticker: found \"1s\", allowed is a section: [ticker]",
        ),
        (
            "[[ticker]]\ninterval = '1s'",
            "ticker: found [{ interval = \"1s\" }], allowed is a section: [ticker]",
        ),
        (
            "[ticker.interval]\nms = 5",
            "ticker.interval: found { ms = 5 }, allowed is a duration from 1ms to 24h, such as \
             \"250ms\" or \"1m 30s\"",
        ),
    ] {
        assert_eq!(
            from_file(text).unwrap_err().to_string(),
            format!("some.toml: {message}")
        );
    }
}

#[test]
fn variables_that_name_no_key_are_refused() {
    let example = "allowed is a section and a key, as in BROADCASTER__TICKER__INTERVAL";
    for name in [
        "BROADCASTER__",
        "BROADCASTER____",
        "BROADCASTER__TICKER",
        "BROADCASTER__TICKER__",
        "BROADCASTER____INTERVAL",
    ] {
        let err = from_variable(name, "1s").unwrap_err();

        assert_says(&err, &[&format!("environment variable {name}: "), example]);
    }
    assert_says(
        &from_variable("BROADCASTER__TICKER__INTERVAL__X", "1s").unwrap_err(),
        &["there is no key ticker.interval.x; allowed is one of: ticker.enabled, "],
    );
    let not_utf8 = OsString::from_vec(b"BROADCASTER__TICKER__\xff".to_vec());
    assert_says(
        &from_variable(not_utf8, "1s").unwrap_err(),
        &["BROADCASTER__TICKER__\u{fffd}: there is no key ticker.\u{fffd}"],
    );
    for another in ["BROADCASTER_PORT", "BROADCASTER", "XBROADCASTER__X__Y", ""] {
        assert_eq!(from_variable(another, "1s").unwrap(), Config::default());
    }
}

#[test]
fn a_variable_that_is_not_utf8_is_refused() {
    for path in every_key() {
        let value = OsString::from_vec(b"1s\xff\n".to_vec());

        let err = from_variable(variable(&path), value).unwrap_err();

        let found = format!("{path}: found \"1s\u{fffd}\\n\", allowed is text in UTF-8");
        assert_says(&err, &[&variable(&path), &found]);
    }
}

#[test]
fn a_wrong_value_is_refused_even_if_a_valid_one_overrides_it() {
    let sources = Sources {
        environment: vec![("BROADCASTER__TICKER__INTERVAL".into(), "2s".into())],
        ..Sources::default()
    };
    let file = Found::Text("some.toml".into(), "[ticker]\ninterval = 2".into());

    let err = sources.load(&file).unwrap_err();

    assert_says(&err, &["some.toml: ticker.interval: found 2, allowed is "]);
}

proptest! {
    #[test]
    fn any_value_is_accepted_or_refused_without_a_panic(text in any::<String>(), key in 0..VALUES.len()) {
        let path = VALUES[key].0;
        let quoted = Value::String(text.clone()).to_string();
        for loaded in [from_variable(variable(path), &text), from_file(&line(path, &quoted))] {
            match loaded {
                Ok(config) => prop_assert_eq!(from_file(&config.to_toml()).unwrap(), config),
                Err(err) => assert_says(&err, &[path]),
            }
        }
    }

    #[test]
    fn any_text_like_a_duration_is_accepted_or_refused_without_a_panic(text in "[0-9.]{1,22} ?[a-zµ]{0,3}( [0-9]{1,20}[a-z])?") {
        if let Err(err) = from_variable("BROADCASTER__TICKER__INTERVAL", &text) {
            assert_says(&err, &["a duration from 1ms to 24h"]);
        }
    }

    #[test]
    fn any_file_content_is_accepted_or_refused_without_a_panic(text in "(\\[?\\[?(ticker|x|\n)\\]?|interval|=|\"|'|[0-9]|\\.|\\PC|\\pC){0,20}") {
        if let Err(err) = from_file(&text) {
            assert_says(&err, &["some.toml:"]);
        }
    }
}

#[test]
fn the_error_for_an_issuer_names_the_table_and_the_key() {
    const GOOD: &str = "{ issuer = 'https://a.example', pem_file = 'a.pem' }";
    for (table, expected) in [
        ("{ pem_file = 'b' }", "table 2: the key issuer is missing"),
        (
            "{ issuer = 'b' }",
            "table 2 (\"b\"): the source of the keys is missing: secret_file, pem_file, jwks_file or jwks_url",
        ),
        (
            "{ issuer = 'b', pem_file = 'b', secret_file = 'c' }",
            "table 2 (\"b\"): there is more than one of secret_file, pem_file, jwks_file or jwks_url",
        ),
        (
            "{ issuer = 'b', pem = 'b' }",
            "table 2 (\"b\"): there is no key \"pem\"; allowed is one of: issuer, secret_file, ",
        ),
        (
            "{ issuer = 'b', pem_file = 5 }",
            "table 2 (\"b\"): pem_file: found 5, allowed is a text of 1 to 4096 bytes",
        ),
        (
            "{ issuer = '', pem_file = 'b' }",
            "table 2 (\"\"): issuer: found \"\", allowed is a text",
        ),
        (
            "{ issuer = 'b', pem_file = 'b', algorithms = ['ES256', 'none'] }",
            "table 2 (\"b\"): algorithms: found \"none\", allowed is EdDSA, ES256, ES384, RS256, ",
        ),
        (
            "{ issuer = 'b', pem_file = 'b', algorithms = [] }",
            "table 2 (\"b\"): algorithms: found [], allowed is a list of 1 to 100 items",
        ),
        (
            "{ issuer = 'b', pem_file = 'b', actions = ['read'] }",
            "table 2 (\"b\"): actions: found \"read\", allowed is \"publish\" or \"subscribe\"",
        ),
        (
            "{ issuer = 'b', pem_file = 'b', topics = ['/a'] }",
            "table 2 (\"b\"): topics: found \"/a\", allowed is a table with the key match",
        ),
        (
            "{ issuer = 'b', pem_file = 'b', topics = [{ match = '/(', match_type = 'urlpattern' }] }",
            "; not a URL Pattern, or one that is too complex",
        ),
        (
            "{ issuer = 'b', pem_file = 'b', topics = [{ match = '/a', match_type = 'regex' }] }",
            "table 2 (\"b\"): topics: found { match = \"/a\", match_type = \"regex\" }",
        ),
        (
            "{ issuer = 'b', pem_file = 'b', topics = [{ match = '/a', type = 'exact' }] }",
            "table 2 (\"b\"): topics: ",
        ),
        (
            "{ issuer = 'b', jwks_url = 'http://keys.example/jwks' }",
            "table 2 (\"b\"): jwks_url: found \"http://keys.example/jwks\", allowed is an https URL, or an http URL of \
             localhost",
        ),
        (
            "{ issuer = 'b', jwks_url = 'https://me:secret@keys.example/' }",
            "table 2 (\"b\"): jwks_url: ",
        ),
        (
            "{ issuer = 'b', jwks_url = 'http://127.0.0.1.example/' }",
            "jwks_url: ",
        ),
        (
            "{ issuer = 'b', jwks_url = 'file:///etc/passwd' }",
            "jwks_url: ",
        ),
        (
            "'https://b.example pem:b.pem'",
            "table 2: found \"https://b.example pem:b.pem\", the form of older versions; write a table \
             [[auth.issuers]] with issuer = \"https://b.example\" and pem_file = \"b.pem\"",
        ),
        (
            "'b'",
            "table 2: found \"b\", allowed is a table [[auth.issuers]] with the keys issuer and ",
        ),
    ] {
        let text = line("auth.issuers", &format!("[{GOOD}, {table}]"));
        let err = from_file(&text).unwrap_err();
        assert_says(&err, &["some.toml: auth.issuers: ", expected]);
    }
    for good in [
        "{ issuer = 'b', jwks_url = 'https://keys.example/jwks?tenant=1' }",
        "{ issuer = 'b', jwks_url = 'http://localhost:8080/jwks' }",
        "{ issuer = 'b', jwks_url = 'http://127.1.2.3/jwks' }",
        "{ issuer = 'b', jwks_url = 'http://[::1]:8080/jwks' }",
    ] {
        assert!(from_file(&line("auth.issuers", &format!("[{GOOD}, {good}]"))).is_ok());
    }
    let json = r#"[{"issuer":"a","pem_file":"a.pem"},{"issuer":"b","pem_file":5}]"#;
    let err = from_variable(variable("auth.issuers"), json).unwrap_err();
    assert_says(
        &err,
        &["BROADCASTER__AUTH__ISSUERS: auth.issuers: table 2 (\"b\"): pem_file: found 5, "],
    );
    let err = from_variable(variable("auth.issuers"), "https://a.example pem:a.pem").unwrap_err();
    assert_says(
        &err,
        &["issuer = \"https://a.example\" and pem_file = \"a.pem\""],
    );
    let many = format!("[{}]", vec![GOOD; 101].join(", "));
    let err = from_file(&line("auth.issuers", &many)).unwrap_err();
    assert_says(&err, &["allowed is at most 100 tables [[auth.issuers]]"]);
}
