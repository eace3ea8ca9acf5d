//! What the tokens of an issuer can grant, limited by the config.

use serde_json::{Value, json};
use sse_broadcaster::config::Config;

use crate::support::{
    client::Stream,
    mercure::{HUB, MARKER, MercureHub, PATH, bearer, detail, form, now, signed_as, until_marker},
};

const BOOKS: &str = r#"{ match = "https://example.com/books/:id", match_type = "urlpattern" }"#;

/// A hub that trusts two issuers with the same secret. `limits` are further keys of the second one.
fn hub(limits: &str, subscribe: &str) -> MercureHub {
    MercureHub::with(|config| {
        let first = config.auth.issuers[0].keys.to_string();
        let text = format!(
            "[server]\nbind = '127.0.0.1:0'\nworkers = 1\n[ticker]\nenabled = false\n\
             [hub]\nurl = '{HUB}'\nsubscriptions = true\n[auth]\nsubscribe = '{subscribe}'\n\
             [[auth.issuers]]\nissuer = 'https://free.example'\nsecret_file = '{first}'\n\
             [[auth.issuers]]\nissuer = 'https://limited.example'\nsecret_file = '{first}'\n{limits}\n"
        );
        *config = config_of(&text);
    })
}

fn config_of(text: &str) -> Config {
    use sse_broadcaster::config::{Found, Sources};
    let found = Found::Text("some.toml".into(), text.to_owned());
    Sources::default().load(&found).unwrap()
}

fn token(issuer: &str, topics: &Value) -> String {
    let claims = json!({
        "iss": format!("https://{issuer}.example"),
        "aud": HUB,
        "exp": now() as u64 + 3600,
        "authorization_details": [detail(&["publish", "subscribe"], topics.clone())],
    });
    signed_as("at+jwt", &claims)
}

fn everything() -> Value {
    json!([{ "match": "*" }])
}

fn publish(hub: &MercureHub, token: &str, topic: &str) -> u16 {
    let body = form(&[("topic", topic), ("data", topic), ("private", "on")]);
    hub.ask("POST", PATH, &bearer(token), &body).status()
}

fn mark(hub: &MercureHub) {
    let body = form(&[("topic", MARKER), ("data", MARKER)]);
    let free = token("free", &everything());
    assert_eq!(hub.ask("POST", PATH, &bearer(&free), &body).status(), 200);
}

/// The data of the private events that a stream receives, before the public marker.
fn received(stream: &mut Stream) -> Vec<String> {
    until_marker(stream)
}

#[test]
fn a_limited_token_receives_nothing_outside_of_its_limit_live_or_replayed() {
    let inside = "https://example.com/books/1";
    let outside = "https://example.com/orders/1";
    let limits = format!("topics = [{BOOKS}]");
    for topics in [
        everything(),
        json!([{ "match": inside }, { "match": outside }]),
        json!([{ "match": "https://example.com/*", "match_type": "urlpattern" }]),
        json!([{ "match": "https://example.com/:kind/1", "match_type": "urlpattern" }]),
    ] {
        // Whoever subscribes first must not decide for the other.
        for order in [["free", "limited"], ["limited", "free"]] {
            let hub = hub(&limits, "anonymous");
            let free = token("free", &everything());
            let open = |issuer: &str, more: &str| {
                let token = token(issuer, &topics);
                let mut streams = Vec::new();
                for query in [
                    "match=*".to_owned(),
                    form(&[("match", inside), ("match", outside), ("match", MARKER)]),
                ] {
                    streams.push(hub.subscribe_with(&format!("{query}{more}"), &token));
                }
                streams
            };
            let live = order.map(|issuer| (issuer, open(issuer, "")));
            for topic in [inside, outside] {
                assert_eq!(publish(&hub, &free, topic), 200);
            }
            mark(&hub);
            let mut all = Vec::from(live);
            for more in ["&last_event_id=earliest", "&snapshot=1"] {
                all.extend(order.map(|issuer| (issuer, open(issuer, more))));
            }
            for (issuer, streams) in all {
                for mut stream in streams {
                    let expected = match issuer {
                        "free" => vec![inside, outside],
                        _ => vec![inside],
                    };
                    let data = received(&mut stream);
                    let data: Vec<_> = data
                        .iter()
                        .filter(|data| data.starts_with("https"))
                        .collect();
                    assert_eq!(data, expected, "{issuer} {topics} {order:?}");
                }
            }
        }
    }
}

#[test]
fn a_limited_token_publishes_nothing_outside_of_its_limit() {
    let hub = hub(
        &format!("topics = [{BOOKS}, {{ match = '/a' }}]"),
        "anonymous",
    );
    let limited = token("limited", &everything());

    for (topic, status) in [
        ("https://example.com/books/1", 200),
        ("/a", 200),
        ("https://example.com/books/1/2", 403),
        ("https://example.com/orders/1", 403),
        ("https://example.org/books/1", 403),
        ("/books/1", 403),
        ("/b", 403),
        ("*x", 403),
    ] {
        assert_eq!(publish(&hub, &limited, topic), status, "{topic}");
    }
    let two = form(&[("topic", "/a"), ("topic", "/b")]);
    assert_eq!(hub.ask("POST", PATH, &bearer(&limited), &two).status(), 403);
    assert_eq!(publish(&hub, &token("free", &everything()), "/b"), 200);
}

#[test]
fn a_limited_token_sees_active_subscriptions_only_within_its_limit() {
    let list = "/.well-known/mercure/subscriptions";
    let hub = hub("topics = [{ match = '/a' }]", "anonymous");
    let ask = |issuer: &str| {
        let headers = bearer(&token(issuer, &everything()));
        hub.ask("GET", list, &headers, "").status()
    };
    assert_eq!((ask("free"), ask("limited")), (200, 403));

    let mut streams = ["limited", "free"]
        .map(|issuer| hub.subscribe_with("match=*", &token(issuer, &everything())));
    let _other = hub.subscribe("match=/other");
    mark(&hub);
    let [limited, free] = &mut streams;
    assert!(received(limited).is_empty());
    assert!(received(free).iter().any(|data| data.contains("/other")));
}

#[test]
fn the_actions_of_an_issuer_limit_its_tokens() {
    let publisher = hub("actions = ['publish']", "token");
    let [free, limited] = ["free", "limited"].map(|issuer| token(issuer, &everything()));
    assert_eq!(publish(&publisher, &limited, "/a"), 200);
    let refused = publisher.ask("GET", &format!("{PATH}?match=/a"), &bearer(&limited), "");
    refused.assert_refuses(403, "a token that only publishes");
    assert!(
        refused.body.contains("actions in auth.issuers"),
        "{}",
        refused.body
    );
    assert_eq!(publisher.subscribe_with("match=/a", &free).status(), 200);

    // Where everyone may subscribe, such a token receives public events, as without a token.
    let open = hub("actions = ['publish']", "anonymous");
    let mut stream = open.subscribe_with("match=*", &limited);
    assert_eq!(publish(&open, &free, "/a"), 200);
    mark(&open);
    assert!(received(&mut stream).is_empty());

    let subscriber = hub("actions = ['subscribe']", "token");
    assert_eq!(publish(&subscriber, &limited, "/a"), 403);
    let mut stream = subscriber.subscribe_with("match=*", &limited);
    assert_eq!(publish(&subscriber, &free, "/a"), 200);
    // It also receives the event about its own subscription.
    while stream.event().unwrap().data != "/a" {}
}

#[test]
fn a_token_of_one_issuer_is_not_one_of_another() {
    let hub = hub("algorithms = ['HS384']", "anonymous");

    assert_eq!(publish(&hub, &token("free", &everything()), "/a"), 200);
    for issuer in ["limited", "unknown"] {
        assert_eq!(
            publish(&hub, &token(issuer, &everything()), "/a"),
            401,
            "{issuer}"
        );
    }
}

/// What a token is used for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Use {
    Publish,
    Live,
    Replay,
    Snapshot,
    SubscriptionList,
    SubscriptionEvents,
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    Allowed,
    /// 401.
    Invalid,
    /// 403, or a stream without what the token does not allow.
    Forbidden,
}

/// Uses a token. `free` is a token that allows everything.
fn use_token(hub: &MercureHub, token: &str, free: &str, what: Use) -> Outcome {
    let of_status = |status| match status {
        200 => Outcome::Allowed,
        401 => Outcome::Invalid,
        403 => Outcome::Forbidden,
        status => panic!("{status}"),
    };
    let query = match what {
        Use::Publish => return of_status(publish(hub, token, "/a")),
        Use::SubscriptionList => {
            let list = format!("{PATH}/subscriptions");
            return of_status(hub.ask("GET", &list, &bearer(token), "").status());
        }
        Use::Live | Use::SubscriptionEvents => "match=*",
        Use::Replay => "match=*&last_event_id=earliest",
        Use::Snapshot => "match=*&snapshot=1",
    };
    if what != Use::Live {
        assert_eq!(publish(hub, free, "/a"), 200);
    }
    let target = format!("{PATH}?{query}");
    let mut stream = Stream::request(hub.addr(), &target, bearer(token).as_bytes());
    if stream.status() != 200 {
        return of_status(stream.status());
    }
    if what == Use::Live {
        assert_eq!(publish(hub, free, "/a"), 200);
    }
    let _subscriber = hub.subscribe("match=/seen");
    mark(hub);
    let sign = match what {
        Use::SubscriptionEvents => "/seen",
        _ => "/a",
    };
    let received = received(&mut stream);
    match received.iter().any(|data| data.contains(sign)) {
        true => Outcome::Allowed,
        false => Outcome::Forbidden,
    }
}

#[test]
fn a_token_with_a_wrong_key_issuer_action_or_topic_is_of_no_use() {
    use Outcome::{Allowed, Forbidden, Invalid};

    let wrong_key = |token: String| {
        // Another character in the signature.
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let other = if signature.starts_with('A') { "B" } else { "A" };
        format!("{signed}.{other}{}", &signature[1..])
    };
    let subscribes = [
        Use::Live,
        Use::Replay,
        Use::Snapshot,
        Use::SubscriptionList,
        Use::SubscriptionEvents,
    ];
    for (limits, uses, expected) in [
        ("", &[Use::Publish][..], Allowed),
        ("", &subscribes, Allowed),
        ("actions = ['subscribe']", &[Use::Publish], Forbidden),
        ("actions = ['subscribe']", &subscribes, Allowed),
        ("actions = ['publish']", &[Use::Publish], Allowed),
        ("actions = ['publish']", &subscribes, Forbidden),
        ("topics = [{ match = '/b' }]", &[Use::Publish], Forbidden),
        ("topics = [{ match = '/b' }]", &subscribes, Forbidden),
        ("algorithms = ['HS384']", &[Use::Publish], Invalid),
        ("algorithms = ['HS384']", &subscribes, Invalid),
    ] {
        for what in uses {
            let free = token("free", &everything());
            // A marker of an earlier use would be a value in a snapshot.
            let outcome = |token: &str| use_token(&hub(limits, "anonymous"), token, &free, *what);
            let limited = token("limited", &everything());

            assert_eq!(outcome(&limited), expected, "{limits} {what:?}");
            assert_eq!(outcome(&free), Allowed, "{limits} {what:?}");
            assert_eq!(outcome(&wrong_key(free.clone())), Invalid, "{what:?}");
            assert_eq!(outcome(&wrong_key(limited)), Invalid, "{what:?}");
            let unknown = token("unknown", &everything());
            assert_eq!(outcome(&unknown), Invalid, "{what:?}");
        }
    }
}
