//! Tests what happens to tokens when the trusted keys change.

use super::*;

#[test]
fn a_cached_token_is_refused_when_its_key_is_no_longer_trusted() {
    let token_verifier = token_verifier();
    let one = signed(json!({}), "p256");
    let two = signed(json!({ "alg": "EdDSA" }), "ed25519");
    let verdicts =
        |token_verifier: &TokenVerifier| [&one, &two].map(|token| verdict(token_verifier, token));

    assert_eq!(verdicts(&token_verifier), ["good", "good"]);
    token_verifier.trust(&[pem(ISSUER, "ed25519")]).unwrap();
    assert_eq!(verdicts(&token_verifier), ["NoKey", "good"]);
    token_verifier
        .trust(&[pem(OTHER_ISSUER, "ed25519")])
        .unwrap();
    assert_eq!(verdicts(&token_verifier), ["Issuer", "Issuer"]);
    let both = [pem(ISSUER, "ed25519"), pem(ISSUER, "p256")];
    token_verifier.trust(&both).unwrap();
    assert_eq!(verdicts(&token_verifier), ["good", "good"]);
    let trusted = token_verifier.trust_secret(ISSUER.to_owned(), SECRET.as_bytes());
    trusted.unwrap();
    assert_eq!(verdicts(&token_verifier), ["NoKey", "NoKey"]);
}

#[test]
fn keys_that_cannot_be_read_change_nothing() {
    let token_verifier = token_verifier();
    let token = signed(json!({}), "p256");
    let (_folder, path) = file(CANARY.as_bytes());

    let refused = token_verifier.trust(&[
        pem(ISSUER, "ed25519"),
        issuer(OTHER_ISSUER, KeySource::PemFile(path)),
    ]);

    assert!(refused.is_err());
    assert_eq!(verdict(&token_verifier, &token), "good");
}
