//! Active subscriptions: the presence events about them, and the API that lists them (Mercure, chapter Active
//! Subscriptions).

use crate::support::{
    client::Stream,
    eventually,
    mercure::{Answer, HUB, METADATA, MercureHub, bearer, detail, grant, token},
};
use serde_json::{Value, json};

const LIST: &str = "/.well-known/mercure/subscriptions";

fn hub() -> MercureHub {
    MercureHub::with(|config| config.hub.subscriptions = true)
}

/// A token that allows reading all active subscriptions and presence events.
fn watcher() -> String {
    let below = format!("{LIST}/:type/:match/:subscriber");
    let topics = json!([
        { "match": LIST },
        { "match": format!("{LIST}/:type/:match"), "match_type": "urlpattern" },
        { "match": below, "match_type": "urlpattern" },
    ]);
    token(json!([detail(&["subscribe"], topics)]))
}

fn get(hub: &MercureHub, path: &str, token: &str) -> Answer {
    hub.ask("GET", path, &bearer(token), "")
}

/// The subscriptions that are listed at this path.
fn listed(hub: &MercureHub, path: &str) -> Vec<Value> {
    let answer = get(hub, path, &watcher());
    assert_eq!(answer.status(), 200, "{answer:?}");
    let document: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(document["id"], path);
    assert_eq!(document["type"], "subscriptions");
    document["subscriptions"].as_array().unwrap().clone()
}

/// A stream of all presence events from now on.
fn watch(hub: &MercureHub, more: &str) -> Stream {
    let pattern = format!("{LIST}/:type/:match/:subscriber");
    hub.subscribe_with(&format!("match_urlpattern={pattern}{more}"), &watcher())
}

/// The document in the next presence event.
fn announced(stream: &mut Stream) -> Value {
    let event = stream.event().unwrap();
    assert_eq!(event.name.as_deref(), Some("mercure"), "{event:?}");
    serde_json::from_str(&event.data).unwrap()
}

#[test]
fn presence_events_do_not_evict_other_events_from_the_history() {
    let hub = MercureHub::with(|config| {
        config.hub.subscriptions = true;
        config.stream.history = 1000;
        config.stream.presence_history = 100;
    });
    let mut publisher = hub.publisher();
    let before = publisher.publish_on("a");
    let missed = publisher.publish_on("a");
    let asked: Vec<_> = (0..100).map(|n| format!("match=urn:{n}")).collect();

    for _ in 0..12 {
        drop(hub.subscribe(&asked.join("&")));
    }
    let last = eventually("all subscribers to have left", || {
        listed(&hub, LIST)
            .is_empty()
            .then(|| publisher.publish_on("a"))
    });

    // Subscribers that did not ask for presence events miss nothing.
    let resumed = |query: &str, token: &str| {
        let id = before.replace('#', "%23");
        hub.subscribe_with(&format!("{query}&last_event_id={id}"), token)
    };
    for token in [&watcher(), &token(json!([grant("subscribe", &["*"])]))] {
        let mut stream = resumed("match=a", token);
        for id in [&missed, &last] {
            let event = stream.event().unwrap();
            assert_eq!((event.name, event.id.as_ref()), (None, Some(id)));
        }
    }
    // A subscriber that asked for them receives a gap, and then the events that are left, in order.
    let mut stream = resumed("match=*", &watcher());
    let gap = stream.event().unwrap().gap();
    assert_eq!(
        (&gap["reason"], &gap["missed"]),
        (&"evicted".into(), &Value::Null)
    );
    assert_eq!(stream.event().unwrap().id.as_ref(), Some(&missed));
    let mut kept = 0;
    loop {
        let event = stream.event().unwrap();
        if event.id.as_ref() == Some(&last) {
            break;
        }
        assert_eq!(event.name.as_deref(), Some("mercure"));
        kept += 1;
    }
    // The hundred newest presence events also include those of the streams that were opened since.
    assert!((90..=100).contains(&kept), "{kept}");
}

#[test]
fn a_subscription_is_announced_and_listed_until_it_ends() {
    let hub = hub();
    let mut watching = watch(&hub, "");
    assert_eq!(
        announced(&mut watching)["match_type"],
        "urlpattern",
        "its own"
    );

    let stream = hub.subscribe("match=https://example.com/books/1");
    let begun = announced(&mut watching);

    let id = begun["id"].as_str().unwrap();
    let subscriber = begun["subscriber"].as_str().unwrap();
    assert!(subscriber.starts_with("urn:uuid:"), "{subscriber}");
    assert_eq!(
        begun,
        json!({
            "id": format!(
                "{LIST}/exact/https%3A%2F%2Fexample.com%2Fbooks%2F1/{}",
                subscriber.replace(':', "%3A")
            ),
            "type": "subscription",
            "match_type": "exact",
            "match": "https://example.com/books/1",
            "subscriber": subscriber,
            "active": true,
        })
    );
    assert_eq!(listed(&hub, LIST).len(), 2);
    let of_topic = format!("{LIST}/exact/https%3A%2F%2Fexample.com%2Fbooks%2F1");
    assert_eq!(listed(&hub, &of_topic), std::slice::from_ref(&begun));
    let one = get(&hub, id, &watcher());
    assert_eq!(serde_json::from_str::<Value>(&one.body).unwrap(), begun);

    drop(stream);
    let ended = announced(&mut watching);
    assert_eq!(ended["id"], id);
    assert_eq!(ended["active"], false);
    assert_eq!(get(&hub, id, &watcher()).status(), 404);
    assert_eq!(listed(&hub, &of_topic), [Value::Null; 0]);
}

#[test]
fn each_subscriber_has_a_unique_id_and_is_announced_for_each_matcher() {
    let hub = hub();
    let mut watching = watch(&hub, "");
    announced(&mut watching);

    let _one = hub.subscribe("match=a&match_urlpattern=/b/:id&match=a");
    let first_two = [announced(&mut watching), announced(&mut watching)];
    let _other = hub.subscribe("match=a");
    let other = announced(&mut watching);

    let mut matches = first_two
        .each_ref()
        .map(|told| told["match"].as_str().unwrap());
    matches.sort_unstable();
    assert_eq!(matches, ["/b/:id", "a"]);
    assert_eq!(first_two[0]["subscriber"], first_two[1]["subscriber"]);
    assert_ne!(first_two[0]["subscriber"], other["subscriber"]);
    assert_eq!(listed(&hub, &format!("{LIST}/exact/a")).len(), 2);
}

#[test]
fn a_list_names_the_position_after_which_changes_are_announced() {
    let hub = hub();
    let _there = hub.subscribe("match=a");

    let answer = get(&hub, LIST, &watcher());

    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("must-revalidate"));
    let link = answer.header("link").unwrap();
    let (link, last) = link.split_once("; last-event-id=\"").unwrap();
    assert_eq!(link, format!("<{HUB}>; rel=\"mercure\""));
    let (last, rest) = last.split_once('"').unwrap();
    assert_eq!(
        rest,
        "; type=\"mercure\"; content-type=\"application/json\""
    );
    assert_eq!(answer.header("etag"), Some(&*format!("\"{last}\"")));
    let late = hub.subscribe("match=b");
    let mut watching = watch(
        &hub,
        &format!("&last_event_id={}", last.replace('#', "%23")),
    );
    assert_eq!(announced(&mut watching)["match"], "b");
    drop(late);
}

#[test]
fn subscriptions_are_listed_and_announced_only_with_a_sufficient_token() {
    let hub = hub();
    let _there = hub.subscribe("match=a");
    let narrow = token(json!([grant("subscribe", &[&format!("{LIST}/exact/b")])]));

    let [one, other] = ["a", "b"].map(|topic| format!("{LIST}/exact/{topic}"));
    let respelled = format!("{LIST}/%65xact/%62");
    let no_type = format!("{LIST}/regex/b");
    let nobody = format!("{LIST}/exact/a/nobody");
    let no_token = format!("Bearer {METADATA}");
    let invalid = format!("Bearer error=\"invalid_token\", {METADATA}");
    let insufficient = format!("Bearer error=\"insufficient_scope\", {METADATA}");

    for (path, headers, expected, challenge) in [
        (LIST, String::new(), 401, Some(&*no_token)),
        (LIST, bearer("x"), 401, Some(&*invalid)),
        (LIST, bearer(&narrow), 403, Some(&*insufficient)),
        (&*one, bearer(&narrow), 403, Some(&*insufficient)),
        (&*other, bearer(&narrow), 200, None),
        (&*respelled, bearer(&narrow), 200, None),
        (&*no_type, bearer(&watcher()), 404, None),
        (&*nobody, bearer(&watcher()), 404, None),
    ] {
        let answer = hub.ask("GET", path, &headers, "");
        assert_eq!(answer.status(), expected, "{path} {headers} {answer:?}");
        let header = answer.header("www-authenticate");
        assert_eq!(header, challenge, "{path} {headers}");
    }
    // This token does not allow the presence event of the topic `c`, so the next event on this stream is `x`.
    let mut deaf = hub.subscribe_with("match=*", &narrow);
    let _another = hub.subscribe("match=c");
    hub.publisher().publish_on("x");
    assert_eq!(deaf.event().unwrap().data, "x");
}

#[test]
fn a_path_can_be_percent_encoded_in_several_ways() {
    let hub = hub();
    let _there = hub.subscribe("match_urlpattern=%2Fbooks%2F*");
    let told = format!("{LIST}/urlpattern/%2Fbooks%2F%2A");

    // Encoded as by `encodeURIComponent`, with lower-case digits, and with an encoded letter.
    for path in ["%2Fbooks%2F*", "%2fbooks%2f%2a", "%2Fb%6Foks%2F%2A"] {
        let list = get(&hub, &format!("{LIST}/urlpattern/{path}"), &watcher());
        let list: Value = serde_json::from_str(&list.body).unwrap();

        assert_eq!(list["id"], told);
        let one = list["subscriptions"][0]["id"].as_str().unwrap();
        assert!(one.starts_with(&told), "{one}");
    }
    for path in ["%2Fbooks", "%FF", "%2Fbooks/*"] {
        let list = get(&hub, &format!("{LIST}/urlpattern/{path}"), &watcher());
        assert!(!list.body.contains("urn"), "{path}: {}", list.body);
    }
}

#[test]
fn publishers_cannot_publish_presence_events() {
    let hub = hub();
    let answer = hub
        .publisher()
        .post(&format!("topic={LIST}/exact/a/b&data=x"));

    answer.assert_refuses(400, "a topic of the hub's own");
}

#[test]
fn the_payload_of_the_token_is_in_the_presence_event() {
    let hub = hub();
    let payload = json!({ "name": "Ada", "more": [1, null] });
    let mut reads_a = grant("subscribe", &["a"]);
    reads_a["payload"] = payload.clone();
    let _there = hub.subscribe_with("match=a&match=b", &token(json!([reads_a])));

    assert_eq!(
        listed(&hub, &format!("{LIST}/exact/a"))[0]["payload"],
        payload
    );
    let b = &listed(&hub, &format!("{LIST}/exact/b"))[0];
    assert_eq!(b.get("payload"), None, "{b}");
}

#[test]
fn without_the_setting_subscriptions_are_neither_listed_nor_announced() {
    let hub = MercureHub::start();
    let mut watching = watch(&hub, "&match=x");
    let _there = hub.subscribe("match=a");

    assert_eq!(get(&hub, LIST, &watcher()).status(), 404);
    hub.publisher().publish_on("x");
    assert_eq!(watching.event().unwrap().data, "x");
    let metadata = "/.well-known/oauth-protected-resource/.well-known/mercure";
    let metadata = hub.ask("GET", metadata, "", "");
    assert_eq!(metadata.status(), 200);
    assert!(!metadata.body.contains("mercure_subscriptions"));
}
