//! Who a token is from and for.

/// Who a token is from and for: what a revocation can name, and when the token was issued.
#[derive(Debug, Default)]
pub(super) struct Identity {
    pub(super) issuer: String,
    pub(super) subject: Option<String>,
    pub(super) id: Option<String>,
    /// In seconds since 1970. `None`: the token does not say it.
    pub(super) issued_at: Option<f64>,
}
