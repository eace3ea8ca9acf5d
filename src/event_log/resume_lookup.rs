//! Finds where a new subscriber starts. Memory decides if there is no archive (the whole log in Redis). If
//! there is one, memory decides only for a subscriber that starts at the head, or that resumes after an event
//! id and needs only events in memory. Otherwise the archive decides.

use super::{
    archive::{Archive, Reached},
    error::LogUnavailable,
    memory::MemoryLog,
    resume_point::ResumePoint,
};
use crate::{event::ResumeFrom, matching::Selection};

/// Where a subscriber reads next: in memory, or in the archive, which is the whole log in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cursor {
    /// The position in memory of the event that the subscriber reads next.
    Memory(u64),
    /// The position in the archive after which the subscriber reads next. `None`: it starts at the oldest
    /// event.
    Archive(Option<Reached>),
}

/// The result of a lookup in memory: the resume point, or what is needed to ask the archive for it.
#[derive(Debug)]
pub(crate) enum ResumeLookup {
    Found(ResumePoint<u64>),
    InArchive {
        archive: Archive,
        wants_presence: bool,
    },
}

/// Looks up in memory where a subscriber starts. Does not wait for the archive: if only the archive can tell,
/// [`ResumeLookup::finish`] asks it.
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
    /// Returns where the subscriber starts. Asks the archive if memory could not tell, and fails if the
    /// archive cannot be read.
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
