//! Invalid updates: each is refused completely, and no subscriber receives any part of it.

use serde_json::json;

use super::assert_refused;
use crate::support::mercure::{
    Client, MARKER, MercureHub, PATH, bearer, form, grant, request, token, until_marker,
};

#[test]
fn an_update_without_a_topic_is_refused() {
    let hub = MercureHub::start();

    assert_refused(
        &hub,
        400,
        [
            "",
            "&",
            "data=x",
            "topic=",
            "topic=&topic=a",
            "Topic=a",
            "topics=a",
            "match=a",
        ],
    );
}

#[test]
fn parameters_in_the_url_are_not_fields_of_the_update() {
    let hub = MercureHub::start();
    let token = token(json!([grant("publish", &["*"])]));

    let answer = hub.ask(
        "POST",
        &format!("{PATH}?topic=a"),
        &bearer(&token),
        "data=x",
    );

    answer.assert_refuses(400, "a topic in the query");
}

#[test]
fn topics_ids_and_types_cannot_contain_invisible_characters() {
    let hub = MercureHub::start();
    let invisible = [
        '\0',
        '\t',
        '\n',
        '\r',
        '\u{1f}',
        '\u{7f}',
        '\u{80}',
        '\u{85}',
        '\u{9f}',
        '\u{ad}',
        '\u{600}',
        '\u{605}',
        '\u{61c}',
        '\u{6dd}',
        '\u{70f}',
        '\u{890}',
        '\u{8e2}',
        '\u{180e}',
        '\u{200b}',
        '\u{200d}',
        '\u{200f}',
        '\u{202a}',
        '\u{202e}',
        '\u{2060}',
        '\u{2064}',
        '\u{2066}',
        '\u{206f}',
        '\u{feff}',
        '\u{fff9}',
        '\u{110bd}',
        '\u{13430}',
        '\u{1343f}',
        '\u{1bca0}',
        '\u{1d173}',
        '\u{e0001}',
        '\u{e0020}',
        '\u{e007f}',
    ];

    let forms = invisible.iter().flat_map(|c| {
        ["topic", "id", "type"].into_iter().flat_map(move |name| {
            [format!("{c}b"), format!("a{c}b"), format!("a{c}")].map(|text| match name {
                "topic" => form(&[("topic", "a"), ("topic", &text)]),
                name => form(&[("topic", "a"), (name, &text)]),
            })
        })
    });

    assert_refused(&hub, 400, forms);
}

#[test]
fn topics_ids_and_types_can_contain_visible_characters_and_spaces() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();

    for c in [
        ' ',
        '\u{a0}',
        '\u{a1}',
        '\u{34f}',
        '\u{115f}',
        '\u{2010}',
        '\u{2028}',
        '\u{2029}',
        '\u{2065}',
        '\u{3000}',
        '\u{fe0f}',
        '\u{fffd}',
        '\u{1f600}',
        '\u{10ffff}',
    ] {
        let text = format!("a{c}b");
        let fields = [("topic", &*text), ("id", &text), ("type", &text)];
        let id = publisher.publish(&form(&fields));
        let decoded = percent_encoding::percent_decode_str(&id);
        assert_eq!(decoded.decode_utf8().unwrap(), text);
    }
}

#[test]
fn text_that_is_not_utf8_is_refused_in_any_field() {
    let hub = MercureHub::start();
    let bad = [
        "%80",
        "%FF",
        "%C3",
        "%C0%80",
        "%ED%A0%80",
        "%F4%90%80%80",
        "a%E2%82b",
    ];

    let forms = bad.iter().flat_map(|bad| {
        [
            "topic=a&topic=",
            "topic=a&data=",
            "topic=a&id=",
            "topic=a&type=",
            "topic=a&foo=",
        ]
        .map(|form| format!("{form}{bad}"))
        .into_iter()
        .chain([format!("topic=a&{bad}=x")])
    });

    assert_refused(&hub, 400, forms);
}

#[test]
fn the_same_bytes_unescaped_are_refused_too() {
    let hub = MercureHub::start();
    let token = token(json!([grant("publish", &["*"])]));
    let mut client = Client::connect(hub.addr());

    let mut sent = request("POST", PATH, &bearer(&token), "topic=a??");
    let end = sent.len() - 2;
    sent[end..].copy_from_slice(b"\xc3(");
    client.send(&sent);

    client
        .answer()
        .assert_refuses(400, "a topic that is no UTF-8");
}

#[test]
fn reserved_ids_and_types_and_invalid_retries_are_refused() {
    let hub = MercureHub::start();

    let fields = [
        "id=%23",
        "id=%231",
        "id=%231600000000000-4",
        "id=1600000000000-4",
        "id=0-0",
        "id=007-1",
        "id=1-99999999999999999999",
        "id=earliest",
        "id=x%20",
        "id=+x",
        "type=mercure",
        "type=+mercure",
        "type=gap",
        "type=expiring",
        "type=a%0Aid:x",
        "id=a%0Adata:x",
        "retry=-1",
        "retry=1.5",
        "retry=1e3",
        "retry=%2B1",
        "retry=+1",
        "retry=1+",
        "retry=1%0A",
        "retry=%D9%A3",
        "retry=abc",
    ];

    assert_refused(&hub, 400, fields.map(|field| format!("topic=a&{field}")));
}

#[test]
fn a_single_valued_field_cannot_be_repeated() {
    let hub = MercureHub::start();

    let fields = [
        "data=a&data=b",
        "data=a&data=a",
        "data&data",
        "id=a&id=b",
        "id=&id=",
        "type=a&type=b",
        "retry=1&retry=2",
    ];

    assert_refused(&hub, 400, fields.map(|field| format!("topic=a&{field}")));
}

#[test]
fn the_body_must_be_a_form_with_its_content_type() {
    let hub = MercureHub::start();
    let token = token(json!([grant("publish", &["*"])]));
    let mut stream = hub.subscribe(&format!("match=a&match={MARKER}"));
    let post = |content_type: &str, body: &str| {
        let headers = format!("{}Content-Type: {content_type}\r\n", bearer(&token));
        hub.ask("POST", PATH, &headers, body)
    };

    for content_type in [
        "application/json",
        "multipart/form-data; boundary=x",
        "text/plain",
        "application/x-www-form-urlencodedx",
        "application/x-www-form-urlencoded, text/plain",
        "x",
        "",
    ] {
        post(content_type, "topic=a").assert_refuses(400, content_type);
    }
    let untyped = hub.ask(
        "POST",
        PATH,
        &format!("{}X-Content-Type: x\r\n", bearer(&token)),
        "topic=a",
    );
    untyped.assert_refuses(400, "without a type");
    for content_type in [
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded; charset=UTF-8",
        "application/x-www-form-urlencoded;charset=utf-8",
        "APPLICATION/X-WWW-Form-Urlencoded",
    ] {
        assert_eq!(post(content_type, "topic=a&data=x").status(), 200);
    }
    hub.publisher().mark();

    assert_eq!(until_marker(&mut stream), ["x"; 4]);
}

fn small() -> MercureHub {
    MercureHub::with(|config| {
        config.limits.body = 1024;
        config.limits.field = 256;
        config.limits.topics = 3;
    })
}

#[test]
fn an_update_above_a_limit_is_refused_as_too_large() {
    let hub = small();
    let long = "x".repeat(257);

    let body = format!("topic=a{}", "&x=y".repeat(300));
    let mut forms = vec![body, "topic=a&topic=b&topic=c&topic=d".to_owned()];
    // Each line break begins a new `data:` line, so it grows on the wire.
    let lines = "\n".repeat(37);
    forms.push(form(&[("topic", "a"), ("data", &lines)]));
    for name in ["topic", "data", "id", "type", "retry", "private", "foo"] {
        forms.push(form(&[("topic", "a"), (name, &long)]));
    }

    assert_refused(&hub, 413, forms);
}

#[test]
fn an_update_exactly_at_the_limits_is_accepted() {
    let hub = small();
    let mut publisher = hub.publisher();
    let text = "x".repeat(256);

    publisher.publish(&form(&[("topic", "a"), ("data", &text), ("foo", &text)]));
    for line_break in ["\n", "\r", "\r\n"] {
        let lines = format!("{}xxxx", line_break.repeat(36));
        publisher.publish(&form(&[("topic", "a"), ("data", &lines)]));
        publisher
            .post(&form(&[("topic", "a"), ("data", &format!("{lines}x"))]))
            .assert_refuses(413, "a byte more");
    }
    publisher.publish(&form(&[("topic", &text), ("topic", "b"), ("topic", "c")]));
    let body = format!("topic=a{}", "&".repeat(1024 - "topic=a".len()));
    assert_eq!(body.len(), 1024);
    publisher.publish(&body);
    publisher
        .post(&format!("{body}&"))
        .assert_refuses(413, "a byte more");
}

#[test]
fn topics_ids_and_types_have_separate_limits() {
    let hub = MercureHub::start();
    let mut publisher = hub.publisher();

    for (name, longest) in [("topic", 4096), ("id", 255), ("type", 256)] {
        let long = "x".repeat(longest);
        publisher.publish(&form(&[("topic", "a"), (name, &long)]));
        let longer = "x".repeat(longest + 1);
        publisher
            .post(&form(&[("topic", "a"), (name, &longer)]))
            .assert_refuses(413, name);
    }
}
