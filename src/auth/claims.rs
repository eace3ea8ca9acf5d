//! The claims of tokens that the server reads.

use serde::Deserialize;
use serde_json::Value;

/// The claims that are read after the signature is verified. The library also checks `iss` and `aud`. Any
/// other claim is ignored.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    pub(super) exp: Option<f64>,
    #[serde(default)]
    pub(super) sub: Option<Value>,
    /// When the token was issued. It is only used if it is a number.
    #[serde(default)]
    pub(super) iat: Option<Value>,
    /// The id of the token. It is only used if it is a text.
    #[serde(default)]
    pub(super) jti: Option<Value>,
    /// The time before which the token is not valid, in seconds since 1970. 0 if the token does not have this
    /// claim.
    #[serde(default)]
    pub(super) nbf: f64,
    #[serde(default)]
    pub(super) authorization_details: Option<Value>,
    #[serde(default)]
    pub(super) mercure: Option<Value>,
    /// The claim `mercure` under the name that older versions of the protocol prefer. If a token has both,
    /// this one is used.
    #[serde(default, rename = "https://mercure.rocks/")]
    pub(super) namespaced: Option<Value>,
}

impl Claims {
    pub(super) fn subject(&self) -> Option<&str> {
        self.sub.as_ref().and_then(Value::as_str)
    }
}

/// The claims that are read before the signature is verified. They only select the issuer and the rules for
/// the verification.
#[derive(Debug, Deserialize)]
pub(super) struct UnverifiedClaims {
    pub(super) iss: Option<String>,
    pub(super) aud: Option<Value>,
    pub(super) authorization_details: Option<Value>,
    pub(super) mercure: Option<Value>,
    #[serde(rename = "https://mercure.rocks/")]
    pub(super) namespaced: Option<Value>,
}

impl UnverifiedClaims {
    /// Whether the token has the claim `mercure` or `https://mercure.rocks/` of an older protocol version,
    /// and no authorization details. An empty list of details counts as none.
    pub(super) fn is_legacy(&self) -> bool {
        let details = self.authorization_details.as_ref();
        let is_empty = |details: &Value| details.as_array().is_some_and(Vec::is_empty);
        (self.mercure.is_some() || self.namespaced.is_some()) && details.is_none_or(is_empty)
    }
}
