//! Stores a log's events in a redb file, so that they survive the process. Each batch is one transaction:
//! after a crash, the file has all of a batch or none of it.

mod acknowledged;
mod identity;
mod keys;
mod loss;
mod metadata;
mod revocations;
mod values;

use std::{
    fmt::Display,
    fs, io,
    ops::Range,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use redb::{
    Database, DatabaseError, Durability, ReadableDatabase as _, StorageError, backends::FileBackend,
};

use self::{
    identity::Identity,
    keys::{StoredKeys, corrupted},
    loss::Loss,
    metadata::{
        ABOUT, EPOCH, EVENTS, EVICTED_AT, FIRST, FORMAT, LOST_AT, NEXT, PRESENCE_FROM, TICKS,
        UNCERTAIN_BEFORE, UNSYNCED, number, optional_number,
    },
};
pub(super) use self::{
    keys::KeyBatch,
    metadata::FileMetadata,
    values::{StoredValues, ValueBatch},
};
use super::{
    error::{LogError, damaged},
    file::acknowledged::{Acknowledged, AcknowledgedFile, Unknown},
    record::Record,
    revocations::Revocations,
};

/// The version of the file format that this code reads and writes. A file with another version is refused,
/// and its events stay unchanged.
const OUR_FORMAT: u64 = 2;

/// Size of redb's page cache, in bytes. It is small, because events are read only when the file is opened.
const CACHE_BYTES: usize = 4 << 20;

/// The changes that one transaction makes to the file.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    /// The number of the first event in `records`. The others have the numbers that follow.
    pub(super) first: u64,
    pub(super) records: &'a [Record],
    /// Numbers of the events that the transaction removes, because they are no longer retained. Some may be
    /// removed already.
    pub(super) evicted: Range<u64>,
    /// Numbers of evicted presence events that the transaction also removes, in ascending order. All are
    /// after the range `evicted`.
    pub(super) evicted_presence: &'a [u64],
    pub(super) ticks: u64,
    pub(super) unsynced: bool,
    pub(super) keys: KeyBatch<'a>,
    pub(super) values: ValueBatch,
    /// When the newest of the events in `evicted` was appended, in milliseconds since 1970. `None`: unknown.
    pub(super) evicted_at: Option<u64>,
}

/// An open log file. It is locked, so no other server can open it.
#[derive(Debug)]
pub(super) struct FileStore {
    path: PathBuf,
    db: Database,
    /// Device, inode and length of the file at `path` when it was opened or after the last commit. If they
    /// differ before the next commit, another program has moved, replaced or truncated the file, and the
    /// commit fails.
    identity: Identity,
    epoch: u64,
    acknowledged: AcknowledgedFile,
    /// Which events were acknowledged, according to the `.acknowledged` file when the log was opened. For a
    /// new log: none. `Err`: the file was missing or damaged.
    acknowledged_at_open: Result<Acknowledged, Unknown>,
}

impl FileStore {
    /// Opens the file, or creates it if it does not exist. A new log gets the epoch `now`, in milliseconds
    /// since 1970. If an earlier log at this path left an intact `.acknowledged` file, the epoch is also
    /// larger than the epoch in that file. Does not create the folder. If it is missing, something else is
    /// wrong, for example an unmounted disk, and a new log would hide the problem.
    pub(super) fn open(path: &Path, now: u64) -> Result<Self, LogError> {
        let error = |reason| LogError::in_file(path, reason);
        match fs::metadata(path) {
            Ok(file) if !file.is_file() => Err(LogError::not_a_file(path)),
            Ok(file) if file.len() == 0 => Err(error(
                "is empty, so it was cut off: put a backup in its place, or remove it to start a new log"
                    .to_owned(),
            )),
            Ok(_) => Self::open_again(path),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Self::make(path, now),
            Err(err) => Err(error(format!("cannot be opened: {err}"))),
        }
    }

    /// Creates the log file. Only its owner can read and write it, because some events are private.
    fn make(path: &Path, now: u64) -> Result<Self, LogError> {
        let error =
            |err: &dyn Display| LogError::in_file(path, format!("cannot be created: {err}"));
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(path).map_err(|err| error(&err))?;
        let backend = FileBackend::new(file).map_err(|err| error(&err))?;
        let made = builder().create_with_backend(backend);
        let made = made.map_err(redb::Error::from).and_then(|db| {
            // An earlier log at this path may have left its `.acknowledged` file behind. The new log needs a
            // larger epoch than the earlier one.
            let acknowledged_at_open = Acknowledged::read(path)?;
            let acknowledged = AcknowledgedFile::open(path)?;
            if let Ok(Acknowledged { next, .. }) = acknowledged_at_open {
                log::warn!(
                    "the log in {} is missing, although {} says that event {} was acknowledged: a new log \
                     begins, and every subscriber that resumes receives a gap",
                    path.display(),
                    acknowledged::path(path).display(),
                    next - 1,
                );
            }
            let mut store = Self {
                path: path.to_owned(),
                db,
                identity: Identity::of(path)?,
                epoch: 0,
                acknowledged,
                acknowledged_at_open,
            };
            store.epoch = store.new_epoch(now);
            let is_replacement = store.acknowledged_at_open.is_ok_and(|last| last.epoch > 0);
            store.prepare(is_replacement.then_some(now))?;
            store.identity = Identity::of(path)?;
            // Forget what an `.acknowledged` file of an earlier log said. Otherwise `loss` would report that
            // acknowledged events may be missing from the new log.
            let (epoch, next) = (store.epoch, 1);
            store.acknowledged_at_open = Ok(Acknowledged { epoch, next });
            Ok(store)
        });
        made.map_err(|err| {
            // Remove the incomplete file, because the next start would refuse it.
            fs::remove_file(path).ok();
            error(&err)
        })
    }

    /// Opens an existing log file. Fails if it is damaged, in use, unreadable, or in another format, or if
    /// the `.acknowledged` file beside it cannot be opened.
    pub(super) fn open_again(path: &Path) -> Result<Self, LogError> {
        let error = |reason| LogError::in_file(path, reason);
        let db = builder().open(path);
        let db = db.map_err(|err| error(reason(&err)))?;
        let damaged = |err: redb::Error| LogError::damaged(path, &err);
        match number(&db, FORMAT).map_err(damaged)? {
            OUR_FORMAT => {}
            format => {
                return Err(error(format!(
                    "has format {format}, but this version supports only format {OUR_FORMAT}: use the \
                     version that wrote it"
                )));
            }
        }
        let beside = |err| error(cannot_open_beside(path, &err));
        Ok(Self {
            path: path.to_owned(),
            epoch: number(&db, EPOCH).map_err(damaged)?,
            identity: Identity::of(path)
                .map_err(|err| error(format!("cannot be opened: {err}")))?,
            db,
            acknowledged_at_open: Acknowledged::read(path).map_err(beside)?,
            acknowledged: AcknowledgedFile::open(path).map_err(beside)?,
        })
    }

    /// Creates the tables. `lost_at`: when an earlier log was found to be missing.
    fn prepare(&self, lost_at: Option<u64>) -> Result<(), redb::Error> {
        let txn = self.db.begin_write()?;
        {
            let mut about = txn.open_table(ABOUT)?;
            about.insert(FORMAT, OUR_FORMAT)?;
            about.insert(EPOCH, self.epoch)?;
            about.insert(NEXT, 1)?;
            about.insert(TICKS, 0)?;
            about.insert(UNSYNCED, 0)?;
            if let Some(lost_at) = lost_at {
                about.insert(LOST_AT, lost_at)?;
                about.insert(UNCERTAIN_BEFORE, 1)?;
            }
            txn.open_table(EVENTS)?;
        }
        txn.commit()?;
        self.record_acknowledged(1)
    }

    /// Records in the `.acknowledged` file that every event before the number `next` may have been
    /// acknowledged.
    fn record_acknowledged(&self, next: u64) -> Result<(), redb::Error> {
        let Self { epoch, .. } = *self;
        Ok(self.acknowledged.write(Acknowledged { epoch, next })?)
    }

    pub(super) fn about(&self) -> Result<FileMetadata, redb::Error> {
        metadata::read(&self.db, self.epoch)
    }

    /// Begins a new epoch, the first number of each event id. The events stay in the file with their numbers,
    /// and their ids now have the new epoch. `lost_at`: the time now, in milliseconds since 1970.
    pub(super) fn begin_epoch(&mut self, epoch: u64, lost_at: u64) -> Result<(), redb::Error> {
        let txn = self.db.begin_write()?;
        {
            let mut about = txn.open_table(ABOUT)?;
            about.insert(EPOCH, epoch)?;
            about.insert(UNSYNCED, 0)?;
            about.insert(LOST_AT, lost_at)?;
            about.insert(UNCERTAIN_BEFORE, number(&self.db, NEXT)?)?;
        }
        txn.commit()?;
        self.epoch = epoch;
        self.identity = Identity::of(&self.path)?;
        self.record_acknowledged(number(&self.db, NEXT)?)
    }

    /// Returns why acknowledged events may be missing from the file, or `None` if there is no sign of that.
    pub(super) fn loss(&self, path: &Path) -> Result<Option<Loss>, redb::Error> {
        let FileMetadata { next, unsynced, .. } = self.about()?;
        let beside = || acknowledged::path(path).display().to_string();
        Ok(match self.acknowledged_at_open {
            _ if unsynced => Some(Loss::Unsynced),
            Ok(last) if last.epoch == self.epoch && last.next <= next => None,
            Ok(_) => Some(Loss::Mismatch(beside())),
            Err(Unknown::Missing) => Some(Loss::Unrecorded(beside())),
            Err(Unknown::Damaged) => Some(Loss::Damaged(beside())),
        })
    }

    /// An epoch that is at least `now` and later than every epoch that this log is known to have had.
    pub(super) fn new_epoch(&self, now: u64) -> u64 {
        let known = self.acknowledged_at_open.map_or(0, |last| last.epoch);
        now.max(self.epoch.saturating_add(1))
            .max(known.saturating_add(1))
    }

    /// All events in the file, oldest first, with their numbers. Fails if any cannot be decoded, or if a
    /// number is missing. A missing number before the one in `PRESENCE_FROM` is taken for an evicted presence
    /// event.
    pub(super) fn events(&self) -> Result<Vec<(u64, Record)>, redb::Error> {
        let events = self.db.begin_read()?.open_table(EVENTS)?;
        let mut records = Vec::new();
        for row in events.range(0..)? {
            let (seq, bytes) = row?;
            let record = serde_json::from_slice(bytes.value());
            let seq = seq.value();
            let record = record.map_err(|err| corrupted(format!("event {seq}: {err}")))?;
            records.push((seq, record));
        }
        let FileMetadata { first, next, .. } = self.about()?;
        let presence_from = optional_number(&self.db, PRESENCE_FROM)?.unwrap_or(0);
        let mut numbers = records.iter().map(|(seq, _)| *seq).peekable();
        let is_there = |seq| numbers.next_if_eq(&seq).is_some() || seq < presence_from;
        if !(first..next).all(is_there) || numbers.next().is_some() {
            return Err(corrupted("some of its events are missing".to_owned()));
        }
        Ok(records)
    }

    /// The idempotency keys in the file.
    pub(super) fn keys(&self) -> Result<StoredKeys, redb::Error> {
        keys::read(&self.db, optional_number(&self.db, keys::NEXT_KEY_NUMBER)?)
    }

    /// The values of topics whose events were evicted.
    pub(super) fn values(&self) -> Result<StoredValues, redb::Error> {
        let txn = self.db.begin_read()?;
        values::read(&txn, self.about()?, |key| optional_number(&self.db, key))
    }

    /// The revoked tokens.
    pub(super) fn revocations(&self) -> Result<Revocations, redb::Error> {
        revocations::read(&self.db)
    }

    /// Changes the revoked tokens from `old` to `new`, on the disk too.
    pub(super) fn change_revocations(
        &mut self,
        old: &Revocations,
        new: &Revocations,
    ) -> Result<(), redb::Error> {
        self.identity.check(&self.path)?;
        revocations::write(&self.db, old, new)?;
        self.identity = Identity::of(&self.path)?;
        Ok(())
    }

    /// Appends the events of the batch and removes evicted ones, in one transaction: all of it or nothing. If
    /// `synced`, the changes are on disk on return, so a crash cannot undo them. After an error, the
    /// transaction may have been committed nevertheless.
    pub(super) fn commit(&mut self, batch: Batch<'_>, synced: bool) -> Result<(), redb::Error> {
        let Batch {
            first,
            records,
            evicted,
            evicted_presence,
            ticks,
            unsynced,
            keys,
            values,
            evicted_at,
        } = batch;
        self.identity.check(&self.path)?;
        let mut txn = self.db.begin_write()?;
        txn.set_durability(if synced {
            Durability::Immediate
        } else {
            Durability::None
        })?;
        {
            let mut events = txn.open_table(EVENTS)?;
            for (seq, record) in (first..).zip(records) {
                let bytes = serde_json::to_vec(record)
                    .map_err(|err| redb::Error::from(StorageError::Io(io::Error::other(err))))?;
                events.insert(seq, &*bytes)?;
            }
            for seq in evicted_presence {
                events.remove(seq)?;
            }
            let mut about = txn.open_table(ABOUT)?;
            values.write(&txn, &events, &mut about)?;
            if !evicted.is_empty() {
                about.insert(FIRST, evicted.end)?;
                if let Some(evicted_at) = evicted_at {
                    about.insert(EVICTED_AT, evicted_at)?;
                }
                // `retain_in` visits only rows that exist. A loop over all numbers of the range would be
                // slow, because most of them may belong to presence events that are already removed.
                events.retain_in(evicted, |_, _| false)?;
            }
            if let Some(newest) = evicted_presence.last() {
                about.insert(PRESENCE_FROM, newest + 1)?;
            }
            about.insert(NEXT, first + records.len() as u64)?;
            about.insert(TICKS, ticks)?;
            about.insert(UNSYNCED, u64::from(unsynced))?;
            keys.write(&txn, &mut about)?;
        }
        txn.commit()?;
        self.identity = Identity::of(&self.path)?;
        self.record_acknowledged(first + records.len() as u64)
    }
}

/// Settings with which redb checks the whole file when it opens it. Damage is then an error and cannot cause
/// a panic later.
fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder.set_check_integrity_on_open(true);
    builder
}

fn cannot_open_beside(path: &Path, err: &io::Error) -> String {
    format!(
        "cannot be used, because {} cannot be opened: {err}",
        acknowledged::path(path).display()
    )
}

fn reason(err: &DatabaseError) -> String {
    match err {
        DatabaseError::DatabaseAlreadyOpen => {
            "is in use by another process: give each process its own file".to_owned()
        }
        DatabaseError::Storage(StorageError::Io(err))
            if err.kind() == io::ErrorKind::InvalidData =>
        {
            damaged(&err.to_string())
        }
        DatabaseError::Storage(StorageError::Io(err)) => format!("cannot be opened: {err}"),
        DatabaseError::UpgradeRequired(_) => {
            "was written by another version of redb: use the version that wrote it".to_owned()
        }
        err => damaged(&err.to_string()),
    }
}
