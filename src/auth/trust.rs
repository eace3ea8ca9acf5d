//! The trusted issuers and their keys, as the config lists them, and as they change while the server runs.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use url::Url;

use super::{
    issuer::{IssuerConfig, KeySource},
    key_set::{KeySet, KeySetStatus, named},
    keys::{self, Issuer, Key, KeyError, Scope},
    revocation::Fingerprints,
};
use crate::matching::HubUrl;

/// Which issuers are trusted, with their keys.
pub(super) struct Trust {
    hub: HubUrl,
    tables: Mutex<Vec<Table>>,
    trusted: RwLock<Trusted>,
    fingerprints: watch::Sender<Fingerprints>,
}

/// The trusted issuers at one moment.
#[derive(Clone, Default)]
pub(super) struct Trusted {
    pub(super) issuers: Arc<Vec<Issuer>>,
    /// Incremented each time the issuers or their keys change. A cached token that was verified in an earlier
    /// generation is verified again.
    pub(super) generation: u64,
}

/// An issuer in the config, with the keys of its source.
struct Table {
    config: IssuerConfig,
    scope: Arc<Scope>,
    keys: Vec<Key>,
    /// `None`: the keys are in a file.
    key_set: Option<Arc<KeySet>>,
}

impl Table {
    /// Loads the keys of an issuer from its file. If its source is a URL, the keys must still be fetched.
    /// `number` is its number in the config, starting at 1.
    fn load(config: &IssuerConfig, hub: &HubUrl, number: usize) -> Result<Self, KeyError> {
        let scope = Scope::of(config, hub)
            .map_err(|err| KeyError::new(number, config, "topics".to_owned(), err.to_string()))?;
        Ok(Self {
            keys: keys::load(config, &scope, number)?,
            config: config.clone(),
            scope,
            key_set: None,
        })
    }
}

/// Checks the key files of these issuers by loading them, as the server of the hub does when it starts. Keys
/// behind a URL are not fetched.
///
/// Returns the [`KeyError`] of the first issuer whose file cannot be used: it cannot be read, is not a
/// regular file, is too long, contains no supported key of the configured kind, or contains a supported key
/// that cannot be used.
pub fn check_issuers(issuers: &[IssuerConfig], hub: &HubUrl) -> Result<(), KeyError> {
    let mut numbered = (1..).zip(issuers);
    numbered.try_for_each(|(number, config)| Table::load(config, hub, number).map(drop))
}

impl Trust {
    /// Trusts no issuer yet.
    pub(super) fn new(hub: HubUrl) -> Arc<Self> {
        Arc::new(Self {
            hub,
            tables: Mutex::default(),
            trusted: RwLock::default(),
            fingerprints: watch::Sender::default(),
        })
    }

    /// Loads the keys of these issuers, and from now on trusts only these issuers. Starts to fetch the keys
    /// behind URLs, unless they are fetched already. If any key file cannot be used, the trusted issuers and
    /// keys do not change.
    pub(super) fn trust(self: &Arc<Self>, issuers: &[IssuerConfig]) -> Result<(), KeyError> {
        let mut tables = self.tables.lock();
        let mut loaded: Vec<Table> = Vec::with_capacity(issuers.len());
        for (number, config) in (1..).zip(issuers) {
            let mut table = Table::load(config, &self.hub, number)?;
            if let KeySource::JwksUrl(url) = &config.keys {
                let mut known = tables.iter().chain(&loaded);
                let known = known.find_map(|table| {
                    let key_set = table.key_set.as_ref()?;
                    (key_set.url() == url).then(|| key_set.clone())
                });
                let failed =
                    |reason| KeyError::new(number, config, format!("jwks_url = \"{url}\""), reason);
                let key_set = match known {
                    Some(known) => known,
                    None => self.fetch(url.clone()).map_err(failed)?,
                };
                // A set from the network never prevents a reload. If it has no key for this issuer, the next one
                // may have one.
                let set = key_set.latest();
                let keys = set.map(|set| keys::of_set(&set, config, &table.scope));
                table.keys = keys.and_then(Result::ok).unwrap_or_default();
                table.key_set = Some(key_set);
            }
            loaded.push(table);
        }
        *tables = loaded;
        self.apply(&tables);
        Ok(())
    }

    /// From now on, trusts only this issuer, and only tokens that are signed with this secret.
    pub(super) fn trust_secret(&self, issuer: String, secret: &[u8]) -> Result<(), String> {
        let issuer = keys::of_secret(issuer, secret, &self.hub)?;
        let mut tables = self.tables.lock();
        tables.clear();
        self.replace(vec![issuer]);
        Ok(())
    }

    fn fetch(self: &Arc<Self>, url: Url) -> Result<Arc<KeySet>, String> {
        let (trust, of) = (Arc::downgrade(self), url.clone());
        let accept = move |set: &[u8]| {
            let trust = Weak::upgrade(&trust);
            trust.map_or(Ok(0), |trust| trust.accept_fetched(&of, set))
        };
        KeySet::start(url, Box::new(accept))
    }

    /// Trusts the keys of a set that was fetched, in place of the earlier ones. Returns their number. Fails, and
    /// changes nothing, if no issuer with this URL can use any of them.
    fn accept_fetched(&self, url: &Url, set: &[u8]) -> Result<usize, String> {
        let mut tables = self.tables.lock();
        let is_here = |table: &&mut Table| matches!(&table.config.keys, KeySource::JwksUrl(here) if here == url);
        let here = tables.iter_mut().filter(is_here);
        let found: Vec<_> = here
            .map(|table| {
                let keys = keys::of_set(set, &table.config, &table.scope);
                (table, keys)
            })
            .collect();
        if let Some((_, Err(reason))) = found.iter().find(|(_, keys)| keys.is_err())
            && found.iter().all(|(_, keys)| keys.is_err())
        {
            return Err(reason.clone());
        }
        let mut number = 0;
        for (table, keys) in found {
            // An issuer that can use none of these keys loses the keys that it had.
            table.keys = keys.unwrap_or_else(|reason| {
                log::warn!(
                    "{} has no key at {}: {reason}",
                    table.config.issuer,
                    named(url)
                );
                Vec::new()
            });
            number += table.keys.len();
        }
        self.apply(&tables);
        Ok(number)
    }

    /// Joins the keys of issuers that are listed several times, and trusts them.
    fn apply(&self, tables: &[Table]) {
        let mut issuers: Vec<Issuer> = Vec::new();
        for table in tables {
            let keys = table.keys.iter().cloned();
            let key_sets = table.key_set.iter().cloned();
            match issuers
                .iter_mut()
                .find(|issuer| issuer.name == table.config.issuer)
            {
                Some(issuer) => {
                    issuer.keys.extend(keys);
                    issuer.key_sets.extend(key_sets);
                }
                None => issuers.push(Issuer {
                    name: table.config.issuer.clone(),
                    keys: keys.collect(),
                    key_sets: key_sets.collect(),
                }),
            }
        }
        self.replace(issuers);
    }

    fn replace(&self, issuers: Vec<Issuer>) {
        let keys = issuers.iter().flat_map(|issuer| &issuer.keys);
        let fingerprints = keys.map(|key| key.fingerprint).collect();
        let mut trusted = self.trusted.write();
        trusted.issuers = Arc::new(issuers);
        trusted.generation += 1;
        self.fingerprints.send_replace(fingerprints);
    }

    pub(super) fn trusted(&self) -> Trusted {
        self.trusted.read().clone()
    }

    pub(super) fn fingerprints(&self) -> watch::Receiver<Fingerprints> {
        self.fingerprints.subscribe()
    }

    /// How fetching goes, for each URL of keys.
    pub(super) fn key_sets(&self) -> Vec<KeySetStatus> {
        let tables = self.tables.lock();
        let mut statuses: Vec<_> = tables
            .iter()
            .filter_map(|table| Some(table.key_set.as_ref()?.status()))
            .collect();
        statuses.sort_by(|one, other| one.url.cmp(&other.url));
        statuses.dedup_by(|one, other| one.url == other.url);
        statuses
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trust")
    }
}
