//! The token that requests for `/revocations` must have (`server.admin_token_file`).

use std::{
    fmt,
    path::{Path, PathBuf},
};

use actix_web::http::header::{AUTHORIZATION, HeaderMap, ORIGIN};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use parking_lot::RwLock;
use thiserror::Error;

use crate::auth::read_secret;

/// The token of operators.
pub(crate) struct AdminToken {
    /// `None`: requests of operators need no token.
    file: Option<PathBuf>,
    token: RwLock<Vec<u8>>,
}

/// Error: the file with the token of operators cannot be used.
#[derive(Debug, Error)]
#[error("server.admin_token_file = \"{path}\": {reason}")]
pub struct AdminTokenError {
    path: String,
    reason: String,
}

/// Checks the file with the token of operators (`server.admin_token_file`). Fails if it cannot be read or has
/// less than 32 bytes, without whitespace at the end.
pub fn check_admin_token(file: &Path) -> Result<(), AdminTokenError> {
    read(file).map(drop)
}

fn read(file: &Path) -> Result<Vec<u8>, AdminTokenError> {
    read_secret(file).map_err(|reason| AdminTokenError {
        path: file.display().to_string(),
        reason,
    })
}

impl AdminToken {
    /// Call [`Self::load`] before requests arrive.
    pub(super) fn new(file: Option<PathBuf>) -> Self {
        Self {
            file,
            token: RwLock::default(),
        }
    }

    /// Reads the token from its file. If that fails, the token stays the same.
    pub(crate) fn load(&self) -> Result<(), AdminTokenError> {
        if let Some(file) = &self.file {
            *self.token.write() = read(file)?;
        }
        Ok(())
    }

    pub(crate) fn is_required(&self) -> bool {
        self.file.is_some()
    }

    /// Whether a request has the token, or none is required and it does not come from a page in a browser.
    pub(super) fn is_authorized(&self, headers: &HeaderMap) -> bool {
        if !self.is_required() {
            // Browsers send `Origin` with every request of a page that changes something. Without a token, no page
            // may do that: by DNS rebinding, any page can reach a loopback address.
            return !headers.contains_key(ORIGIN);
        }
        let token = self.token.read();
        let mut presented = headers.get_all(AUTHORIZATION);
        let (Some(presented), None) = (presented.next(), presented.next()) else {
            return false;
        };
        let Some((scheme, presented)) = presented.as_bytes().split_at_checked("Bearer ".len())
        else {
            return false;
        };
        let is_equal = verify_slices_are_equal(presented.trim_ascii(), &token).is_ok();
        scheme.eq_ignore_ascii_case(b"Bearer ") && !token.is_empty() && is_equal
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken")
    }
}
