//! Finds where a new subscriber starts. The answer is in memory if memory has every event that the subscriber
//! needs, and otherwise in the archive.

use super::{
    archive::{Archive, Reached},
    memory::MemoryLog,
    resume_point::ResumePoint,
    waiting::LogUnavailable,
};
use crate::{event::ResumeFrom, matching::Selection};

/// Where a subscriber reads next, in memory or in the archive (the whole log, in Redis).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cursor {
    /// The subscriber reads the event at this position in memory next.
    Memory(u64),
    /// The subscriber reads the event after this position in the archive next. `None`: the oldest event.
    Archive(Option<Reached>),
}

/// The result of a lookup in memory: the resume point, or what is needed to find it in the archive.
#[derive(Debug)]
pub(crate) enum ResumeLookup {
    Found(ResumePoint<u64>),
    InArchive {
        archive: Archive,
        wants_presence: bool,
    },
}

/// Looks for a resume point in memory, without waiting for the archive.
pub(crate) fn look_up(
    memory: &MemoryLog,
    archive: Option<&Archive>,
    from: &ResumeFrom,
    selection: &Selection,
) -> ResumeLookup {
    match archive {
        None => ResumeLookup::Found(memory.resume(from, selection)),
        Some(archive) => match memory.find(from, selection) {
            Some(point) => ResumeLookup::Found(point),
            None => ResumeLookup::InArchive {
                archive: archive.clone(),
                wants_presence: selection.may_select_presence(),
            },
        },
    }
}

impl ResumeLookup {
    /// Returns the resume point. Finds it in the archive if memory did not have it.
    pub(crate) async fn finish(
        self,
        from: &ResumeFrom,
    ) -> Result<ResumePoint<Cursor>, LogUnavailable> {
        match self {
            Self::Found(point) => Ok(point.map(Cursor::Memory)),
            Self::InArchive {
                archive,
                wants_presence,
            } => {
                let point = archive.resume(from, wants_presence).await?;
                Ok(point.map(Cursor::Archive))
            }
        }
    }

    /// Whether the resume point was found in memory and has no gap.
    pub(crate) fn is_found_without_gap(&self) -> bool {
        matches!(self, Self::Found(point) if point.gap.is_none())
    }
}
