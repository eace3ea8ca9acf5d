//! The options of `broadcaster token`: keys, algorithms, actions and payloads.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use jsonwebtoken::{dangerous::insecure_decode_claims, decode_header};

use super::*;

/// The header and the claims of a token.
fn parts(token: &str) -> (jsonwebtoken::Header, Value) {
    let header = decode_header(token).unwrap();
    (header, insecure_decode_claims(token).unwrap())
}

fn made(folder: &Path, more: &[&str]) -> Finished {
    let args = [
        &[
            "token",
            "--publish",
            TOPIC,
            "--issuer",
            "https://other.example",
        ],
        more,
    ]
    .concat();
    run(folder, &args)
}

#[test]
fn a_token_is_signed_with_each_algorithm_that_its_key_allows_and_the_hub_accepts_it() {
    for (key, algorithms) in [
        ("ed25519", &["EdDSA"][..]),
        ("p256", &["ES256"]),
        ("p384", &["ES384"]),
        (
            "rsa2048",
            &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
        ),
    ] {
        let folder = folder(&format!(
            "{{ issuer = 'https://other.example', pem_file = '{KEYS}/{key}.pub.pem' }}"
        ));
        let (_server, hub) = server(folder.path());
        let private = format!("{KEYS}/{key}.pem");
        let default = made(folder.path(), &["--key", &private]);
        assert_eq!(format!("{:?}", parts(line(&default)).0.alg), algorithms[0]);
        for algorithm in algorithms {
            let args = [
                "token",
                "--publish",
                TOPIC,
                "--issuer",
                "https://other.example",
                "--key",
                &private,
                "--algorithm",
                algorithm,
            ];
            let mut make = command(folder.path(), &args);
            make.env("BROADCASTER__HUB__URL", &hub);
            let token = line(&finish(make)).to_owned();
            assert_eq!(format!("{:?}", parts(&token).0.alg), *algorithm);
            let args = ["publish", "--url", &hub, "--topic", TOPIC];
            line(&finish(with_token(command(folder.path(), &args), &token)));
        }
        let other = made(folder.path(), &["--key", &private, "--algorithm", "HS256"]);
        assert_fails(
            &other,
            2,
            &format!(
                "the key cannot sign with HS256; it can sign with {}",
                algorithms.join(", ")
            ),
        );
    }
    let folder = with_secret();
    assert_fails(
        &made(
            folder.path(),
            &["--key", "hub.secret", "--algorithm", "HS512"],
        ),
        2,
        "it can sign with HS256",
    );
    assert_fails(
        &made(
            folder.path(),
            &["--key", "hub.secret", "--algorithm", "none"],
        ),
        2,
        "allowed is EdDSA",
    );
}

#[test]
fn the_algorithms_of_the_issuer_in_the_config_apply() {
    let folder = folder("{ issuer = 'a', secret_file = 'long', algorithms = ['HS512'] }");
    fs::write(folder.path().join("long"), "s".repeat(64)).unwrap();

    let made = run(folder.path(), &["token", "--publish", TOPIC]);

    assert_eq!(format!("{:?}", parts(line(&made)).0.alg), "HS512");
}

#[test]
fn the_key_can_come_from_standard_input() {
    let folder = with_secret();
    let from = |text: &[u8]| {
        let args = [
            "token",
            "--publish",
            TOPIC,
            "--issuer",
            "https://example.com",
            "--key",
            "-",
        ];
        let mut command: Command = command(folder.path(), &args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(text).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Finished {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    };

    let secret = fs::read(folder.path().join("hub.secret")).unwrap();
    let (header, claims) = parts(line(&from(&secret)));
    assert_eq!(
        (format!("{:?}", header.alg).as_str(), &claims["iss"]),
        ("HS256", &json!("https://example.com"))
    );
    let pem = fs::read(format!("{KEYS}/p384.pem")).unwrap();
    assert_eq!(format!("{:?}", parts(line(&from(&pem))).0.alg), "ES384");
    let short = from(b"c4n4ry");
    assert_fails(&short, 2, "contains neither a private key in PEM form");
    assert!(!short.stderr.contains("c4n4ry"));
    assert_fails(&from(b""), 2, "the given text contains neither");
}

#[test]
fn actions_and_a_payload_become_authorization_details() {
    let folder = with_secret();
    let details = |args: &[&str]| {
        let made = run(folder.path(), &[&["token"], args].concat());
        parts(line(&made)).1["authorization_details"].clone()
    };
    let detail = |actions: &[&str], topic: &str, kind: &str, payload: Option<Value>| {
        let mut detail = json!({
            "type": "https://mercure.rocks/authorization-detail",
            "actions": actions,
            "topics": [{ "match": topic, "match_type": kind }],
        });
        if let Some(payload) = payload {
            detail["payload"] = payload;
        }
        detail
    };

    assert_eq!(
        details(&["--topic", "/a"]),
        json!([detail(&["publish", "subscribe"], "/a", "exact", None)])
    );
    let payload = r#"{"name":"Alice"}"#;
    let shown = || Some(json!({ "name": "Alice" }));
    assert_eq!(
        details(&[
            "--topic-pattern",
            "/:a",
            "--actions",
            "subscribe",
            "--publish",
            "/b",
            "--payload",
            payload
        ]),
        json!([
            detail(&["publish"], "/b", "exact", None),
            detail(&["subscribe"], "/:a", "urlpattern", shown()),
        ])
    );
    assert_eq!(
        details(&["--subscribe", "/c", "--payload", payload]),
        json!([detail(&["subscribe"], "/c", "exact", shown())])
    );
    for (args, message) in [
        (
            &["--topic", "/a", "--actions", "read"][..],
            "allowed is publish or subscribe",
        ),
        (
            &["--topic", "/a", "--payload", "[1]"],
            "the payload must be a JSON object",
        ),
        (
            &["--publish", "/a", "--payload", "{}"],
            "must allow subscribing",
        ),
    ] {
        assert_fails(
            &run(folder.path(), &[&["token"], args].concat()),
            2,
            message,
        );
    }
}
