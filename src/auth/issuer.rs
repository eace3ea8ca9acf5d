//! Defines which issuers are trusted and where their keys are. Keys are in separate files, so that a config
//! that is shown or printed contains no key.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use thiserror::Error;

/// A trusted issuer of tokens and one of its key files, written `<issuer> <kind>:<path>`. The kind is
/// `secret`, `pem` or `jwks`. An issuer with several key files is listed once for each file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerConfig {
    /// The issuer's name, as in the claim `iss`.
    pub issuer: String,
    /// The key file.
    pub key: KeySource,
}

/// A key file: its format, and its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A secret that the issuer and the hub share, for HS256. Whitespace at the end of the file is not part
    /// of it.
    Secret(PathBuf),
    /// One public key in PEM form, for EdDSA, ES256 or RS256.
    Pem(PathBuf),
    /// A JSON Web Key Set (RFC 7517) with keys for EdDSA, ES256, RS256 or HS256. Keys for other algorithms
    /// are ignored.
    Jwks(PathBuf),
}

/// Error: the text does not have the form `<issuer> <kind>:<path>` of an [`IssuerConfig`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not an issuer with a key")]
pub struct InvalidIssuer;

impl KeySource {
    /// The path of the key file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Secret(path) | Self::Pem(path) | Self::Jwks(path) => path,
        }
    }
}

impl FromStr for IssuerConfig {
    type Err = InvalidIssuer;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (issuer, key) = text.split_once(' ').ok_or(InvalidIssuer)?;
        let (kind, path) = key.trim_start().split_once(':').ok_or(InvalidIssuer)?;
        if issuer.is_empty() || path.is_empty() || path.contains('\0') {
            return Err(InvalidIssuer);
        }
        let path = path.into();
        Ok(Self {
            issuer: issuer.to_owned(),
            key: match kind {
                "secret" => KeySource::Secret(path),
                "pem" => KeySource::Pem(path),
                "jwks" => KeySource::Jwks(path),
                _ => return Err(InvalidIssuer),
            },
        })
    }
}

impl fmt::Display for IssuerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.key {
            KeySource::Secret(_) => "secret",
            KeySource::Pem(_) => "pem",
            KeySource::Jwks(_) => "jwks",
        };
        write!(f, "{} {kind}:{}", self.issuer, self.key.path().display())
    }
}
