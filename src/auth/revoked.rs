//! Which tokens are revoked, and who uses a token: the streams and requests that must end when it is revoked.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use slab::Slab;
use tokio::sync::{oneshot, watch};

use super::{access::Access, identity::Identity, rules::NOT_BEFORE_LEEWAY};
use crate::event_log::Revocations;

/// Maximum length of an issuer, a subject or a token id that is revoked, in bytes.
const MAX_BYTES: usize = 4096;

/// The tokens that a revocation is about: those of a subject, or the one with an id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(crate) enum RevokedTokens {
    Subject {
        /// The claim `iss`.
        iss: String,
        /// The claim `sub`.
        sub: String,
    },
    Id {
        /// The claim `iss`.
        iss: String,
        /// The claim `jti`.
        jti: String,
    },
}

impl RevokedTokens {
    /// Whether no part is empty or too long.
    pub(crate) fn is_valid(&self) -> bool {
        let (Self::Subject { iss, sub: other } | Self::Id { iss, jti: other }) = self;
        let is_good = |text: &str| (1..=MAX_BYTES).contains(&text.len());
        is_good(iss) && is_good(other)
    }

    /// The text by which a log knows these tokens.
    pub(crate) fn name(&self) -> String {
        serde_json::to_string(self).expect("texts have a JSON form")
    }

    /// Reads the text by which a log knows tokens. `None`: another program wrote it.
    pub(crate) fn named(name: &str) -> Option<Self> {
        serde_json::from_str(name).ok()
    }
}

/// The revoked tokens, and the uses of tokens.
pub(super) struct Revoked {
    /// How long a revocation lasts.
    ttl: Duration,
    /// The revocations by issuer.
    issuers: RwLock<HashMap<String, OfIssuer>>,
    uses: Arc<Mutex<Slab<Use>>>,
    /// Locked while the list is applied.
    setting: Mutex<()>,
    /// The issuers about whose tokens a warning was logged.
    warned: Mutex<HashSet<String>>,
}

/// When tokens of an issuer were revoked, in seconds since 1970.
#[derive(Default)]
struct OfIssuer {
    subjects: HashMap<String, f64>,
    ids: HashMap<String, f64>,
}

/// A stream or a request that uses a token.
struct Use {
    access: Arc<Access>,
    /// Tells it that the token is revoked.
    end: Option<oneshot::Sender<()>>,
}

/// Resolves when a token is revoked. Dropping it unregisters the stream or request.
#[derive(Debug)]
pub(super) struct TokenUse {
    pub(super) revoked: oneshot::Receiver<()>,
    _guard: UseGuard,
}

struct UseGuard {
    uses: Arc<Mutex<Slab<Use>>>,
    key: usize,
}

impl Drop for UseGuard {
    fn drop(&mut self) {
        self.uses.lock().remove(self.key);
    }
}

impl fmt::Debug for UseGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UseGuard")
    }
}

impl Revoked {
    /// Nothing is revoked yet.
    pub(super) fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            issuers: RwLock::default(),
            uses: Arc::default(),
            setting: Mutex::default(),
            warned: Mutex::default(),
        }
    }

    /// Applies the newest list of revocations, and ends the uses of tokens that are revoked now.
    pub(super) fn set(&self, revocations: &watch::Receiver<Arc<Revocations>>) {
        // An older list must not replace a newer one.
        let _alone = self.setting.lock();
        let revocations = revocations.borrow().clone();
        let mut issuers: HashMap<String, OfIssuer> = HashMap::new();
        for (name, at) in &*revocations {
            let at = *at as f64 / 1000.0;
            match RevokedTokens::named(name) {
                Some(RevokedTokens::Subject { iss, sub }) => {
                    issuers.entry(iss).or_default().subjects.insert(sub, at);
                }
                Some(RevokedTokens::Id { iss, jti }) => {
                    issuers.entry(iss).or_default().ids.insert(jti, at);
                }
                None => {}
            }
        }
        *self.issuers.write() = issuers;
        for (_, using) in &mut *self.uses.lock() {
            self.end_if_revoked(using);
        }
    }

    /// Whether a token is revoked: its id is, or its subject was after it was issued. A token that does not say
    /// when it was issued, or says a time in the future, counts as issued before.
    pub(super) fn is_revoked(&self, token: &Identity) -> bool {
        let issuers = self.issuers.read();
        let Some(OfIssuer { subjects, ids }) = issuers.get(&token.issuer) else {
            return false;
        };
        let subject = token.subject.as_ref().and_then(|sub| subjects.get(sub));
        let id = token.id.as_ref().and_then(|jti| ids.get(jti));
        let now = now();
        let issued_at = token.issued_at.filter(|at| *at <= now + NOT_BEFORE_LEEWAY);
        let is_lasting = |at: &f64| *at >= now - self.ttl.as_secs_f64();
        let is_before = |at: &f64| issued_at.is_none_or(|issued_at| issued_at < *at);
        id.is_some_and(is_lasting) || subject.is_some_and(|at| is_lasting(at) && is_before(at))
    }

    /// Registers a use of a token.
    pub(super) fn begin_use(&self, access: &Arc<Access>) -> TokenUse {
        let (end, revoked) = oneshot::channel();
        let mut uses = self.uses.lock();
        let mut using = Use {
            access: access.clone(),
            end: Some(end),
        };
        // A revocation that came before this is not told to this use any more.
        self.end_if_revoked(&mut using);
        let key = uses.insert(using);
        drop(uses);
        let uses = self.uses.clone();
        TokenUse {
            revoked,
            _guard: UseGuard { uses, key },
        }
    }

    fn end_if_revoked(&self, using: &mut Use) {
        if using.end.is_some() && self.is_revoked(&using.access.identity) {
            // An error means that the use ends anyway.
            using.end.take().map(|end| end.send(()));
        }
    }

    /// Logs once for each issuer that its tokens can outlive their revocation, from the first revocation of any
    /// token on.
    pub(super) fn warn_if_it_outlives(&self, token: &Identity, expires_at: Option<u64>) {
        if self.issuers.read().is_empty() {
            return;
        }
        let lifetime = expires_at.zip(token.issued_at);
        let lifetime = lifetime.map(|(end, begin)| end as f64 - begin);
        if lifetime.is_some_and(|lifetime| lifetime <= self.ttl.as_secs_f64()) {
            return;
        }
        if self.warned.lock().insert(token.issuer.clone()) {
            log::warn!(
                "tokens of {} can outlive their revocation, because they are valid for longer than \
                 auth.revocation_ttl ({}), or have no iat or no exp",
                token.issuer,
                humantime::format_duration(self.ttl)
            );
        }
    }
}

/// The time in seconds since 1970.
fn now() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0.0, |now| now.as_secs_f64())
}
