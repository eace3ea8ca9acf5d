//! Tokens and cookies that were tampered with: the server must accept none of them.

use std::thread;

use serde_json::{Value, json};

use super::{Attack, assert_unharmed};
use crate::support::mercure::{
    Client, HUB, HubProcess, bearer, detail, form, grant, signed_as, token_for,
};

const ATTACKERS: u64 = 4;

/// The decoded parts of a token. `None` if a part is not valid Base64.
fn decoded(token: &str) -> Option<Vec<Vec<u8>>> {
    use base64_url::decode;
    token.split('.').map(decode).collect()
}

/// The Base64 encoding of tokens (RFC 4648, section 5). Unused bits of the last character may have any value.
mod base64_url {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let (mut bits, mut count) = (0_u32, 0);
        for char in text.bytes() {
            let value = ALPHABET.iter().position(|known| *known == char)?;
            bits = (bits << 6 | value as u32) & 0xffff;
            count += 6;
            if count >= 8 {
                count -= 8;
                bytes.push((bits >> count) as u8);
            }
        }
        Some(bytes)
    }

    pub(super) fn encode(bytes: &[u8]) -> String {
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let word = chunk
                .iter()
                .fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
            let word = word << (8 * (3 - chunk.len()));
            for at in 0..=chunk.len() {
                let index = word >> (18 - 6 * at) & 63;
                text.push(char::from(ALPHABET[index as usize]));
            }
        }
        text
    }
}

/// A token that resembles one of these tokens but is not equal to any of them.
fn tampered(tokens: &[String], random: &mut fastrand::Rng) -> String {
    let token = random.choice(tokens).unwrap();
    let other = random.choice(tokens).unwrap();
    let parts: Vec<_> = token.split('.').collect();
    let others: Vec<_> = other.split('.').collect();
    let header = |value: Value| base64_url::encode(value.to_string().as_bytes());
    match random.u8(0..9) {
        0 | 1 => {
            let mut bytes = token.clone().into_bytes();
            let at = random.usize(..bytes.len());
            bytes[at] = *random.choice(b"ABCabc012-_.~").unwrap();
            String::from_utf8(bytes).unwrap()
        }
        2 => token[..random.usize(..token.len())].to_owned(),
        3 => format!("{}.{}.{}", parts[0], parts[1], others[2]),
        4 => format!("{}.{}.{}", parts[0], others[1], parts[2]),
        5 => {
            let algorithm = random.choice(["none", "None", "", "HS384", "RS256", "ES256"]);
            let header = header(json!({ "alg": algorithm, "typ": "at+jwt" }));
            let signature = random.choice(["", parts[2]]).unwrap();
            format!("{header}.{}.{signature}", parts[1])
        }
        6 => {
            let mut claims = base64_url::decode(parts[1]).unwrap();
            let at = random.usize(..claims.len());
            claims[at] ^= 1 << random.u8(..8);
            format!("{}.{}.{}", parts[0], base64_url::encode(&claims), parts[2])
        }
        7 => format!(
            "{token}{}",
            random.choice([".", "=", "==", ".x", "A"]).unwrap()
        ),
        _ => {
            let raw: String = (0..random.usize(..200))
                .map(|_| random.alphanumeric())
                .collect();
            format!("{}.{raw}.{}", parts[0], parts[2])
        }
    }
}

/// Valid tokens that do not allow this request: they have expired, or are for something else.
fn useless() -> Vec<String> {
    let details = json!([grant("publish", &["*"])]);
    let claims = |change: Value| {
        let mut claims = json!({
            "iss": "https://example.com",
            "aud": HUB,
            "sub": "a",
            "exp": 4_000_000_000_u64,
            "authorization_details": details,
        });
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    };
    vec![
        signed_as("at+jwt", &claims(json!({ "exp": 1 }))),
        signed_as("at+jwt", &claims(json!({ "nbf": 3_999_999_999_u64 }))),
        signed_as("at+jwt", &claims(json!({ "aud": "https://other.example" }))),
        signed_as("at+jwt", &claims(json!({ "iss": "https://other.example" }))),
        signed_as("JWT", &claims(json!({}))),
        signed_as("at+jwt", &claims(json!({ "authorization_details": [] }))),
        token_for(HUB, json!([grant("subscribe", &["*"])])),
        token_for(
            HUB,
            json!([detail(&["publish"], json!([{ "match": "b" }]))]),
        ),
    ]
}

#[test]
fn no_token_or_cookie_that_was_tampered_with_is_accepted() {
    let attack = Attack::begin("tokens and cookies");
    let victim = HubProcess::start("");
    let addr = victim.addr();
    let good = token_for(HUB, json!([grant("publish", &["*"])]));
    let mut tokens = useless();
    for token in &tokens {
        let answer = Client::connect(addr).post(&bearer(token), "topic=a&data=x");
        assert!([401, 403].contains(&answer.status()), "{token}: {answer:?}");
    }
    tokens.push(good.clone());

    let tried: usize = thread::scope(|scope| {
        let attackers = (0..ATTACKERS).map(|attacker| {
            let (attack, tokens, good) = (&attack, &tokens, &good);
            scope.spawn(move || {
                let mut random = attack.random(attacker);
                let mut client: Option<Client> = None;
                let mut tried = 0;
                while !attack.is_over() {
                    let token = tampered(tokens, &mut random);
                    if decoded(&token) == decoded(good) {
                        continue;
                    }
                    let headers = match random.u8(0..5) {
                        0 => format!("Cookie: __Secure-mercure_access_token={token}\r\n"),
                        1 => format!("{}{}", bearer(&token), bearer(&token)),
                        2 => format!("Authorization: bearer  {token}\r\n"),
                        _ => bearer(&token),
                    };
                    let connection = match &mut client {
                        Some(client) => client,
                        None => client.insert(Client::connect(addr)),
                    };
                    let update = form(&[("topic", "a"), ("data", &token)]);
                    match connection.try_post(&headers, &update) {
                        Ok(answer) => {
                            let status = answer.status();
                            assert!((400..404).contains(&status), "{headers}: {answer:?}");
                            if answer.header("connection") == Some("close") {
                                client = None;
                            }
                        }
                        Err(_) => client = None,
                    }
                    tried += 1;
                }
                tried
            })
        });
        let attackers: Vec<_> = attackers.collect();
        attackers.into_iter().map(|it| it.join().unwrap()).sum()
    });

    println!("{tried} tokens and cookies were refused");
    assert!(tried > 50, "{tried}");
    // Nothing was published, so the first id still ends with 1, and a good token still works.
    let mut publisher = Client::connect(addr);
    let first = publisher.post(&bearer(&good), "topic=a&data=x");
    assert!(
        first.status() == 200 && first.body.ends_with("-1"),
        "{first:?}"
    );
    assert_unharmed(victim);
}
