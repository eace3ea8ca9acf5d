//! Notices what happens to a file, also when it is another file afterwards: editors rename a new one
//! over it, and Kubernetes a link over one of the links that lead to it.

use std::{
    collections::{BTreeSet, VecDeque},
    ffi::OsString,
    io,
    path::{Component, Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, ModifyKind},
};
use tokio::sync::Notify;

/// How many links may lead to a file, as for the system.
const LINKS: usize = 40;

/// A file, watched as long as this is kept.
pub(super) struct Watch {
    news: Arc<News>,
    _watcher: Option<RecommendedWatcher>,
}

#[derive(Default)]
struct News {
    arrived: Notify,
    /// Whether somebody wrote to the file and has not closed it.
    unfinished: AtomicBool,
}

impl Watch {
    /// Begins to watch the way to a file as it is now. If that is not possible there are no news,
    /// and the second value says why.
    pub(super) fn begin(file: &Path) -> (Self, Option<notify::Error>) {
        let news = Arc::new(News::default());
        let (watcher, err) = match watcher(file, news.clone()) {
            Ok(watcher) => (Some(watcher), None),
            Err(err) => (None, Some(err)),
        };
        let watch = Self {
            news,
            _watcher: watcher,
        };
        (watch, err)
    }

    /// Resolves when something happened since the last time. Cancel safe.
    pub(super) async fn news(&self) {
        self.news.arrived.notified().await;
    }

    /// Whether somebody has begun to write to the file and not ended. Not every system tells: then
    /// it may be so for ever, or never.
    pub(super) fn is_being_written(&self) -> bool {
        self.news.unfinished.load(Ordering::Relaxed)
    }
}

fn watcher(file: &Path, news: Arc<News>) -> notify::Result<RecommendedWatcher> {
    let trail = trail(file)?;
    let folders: BTreeSet<_> = trail.iter().filter_map(|entry| entry.parent()).collect();
    let mut watcher = notify::recommended_watcher({
        let trail = trail.clone();
        move |event: notify::Result<Event>| {
            // An error may hide a change.
            if event.is_err() || event.is_ok_and(|event| concerns(&event, &trail, &news)) {
                news.arrived.notify_one();
            }
        }
    })?;
    for folder in folders {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

/// Whether an event may have changed what the trail leads to.
fn concerns(event: &Event, trail: &BTreeSet<PathBuf>, news: &News) -> bool {
    // No path: events were lost.
    if !event.paths.is_empty() && !event.paths.iter().any(|path| trail.contains(path)) {
        return false;
    }
    let unfinished = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) => return false,
        EventKind::Modify(ModifyKind::Data(_)) => true,
        EventKind::Modify(ModifyKind::Metadata(_)) => return true,
        _ => false,
    };
    news.unfinished.store(unfinished, Ordering::Relaxed);
    true
}

/// Every entry of a folder by which a path leads to its file: the links on the way and the file
/// itself, each in a folder without links. What is not there is part of it, too.
fn trail(file: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let mut trail = BTreeSet::new();
    let mut here = PathBuf::new();
    let mut ahead = steps(&std::path::absolute(file)?);
    let mut links = 0;
    while let Some(step) = ahead.pop_front() {
        match Path::new(&step).components().next() {
            None | Some(Component::CurDir) => continue,
            Some(Component::ParentDir) => {
                here.pop();
                continue;
            }
            Some(Component::RootDir | Component::Prefix(_)) => {
                here = step.into();
                continue;
            }
            Some(Component::Normal(_)) => here.push(&step),
        }
        if links < LINKS
            && let Ok(target) = here.read_link()
        {
            links += 1;
            trail.insert(here.clone());
            here.pop();
            let mut target = steps(&target);
            target.append(&mut ahead);
            ahead = target;
        }
    }
    trail.insert(here);
    Ok(trail)
}

fn steps(path: &Path) -> VecDeque<OsString> {
    path.components()
        .map(|step| step.as_os_str().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _, os::unix::fs::symlink, time::Duration};

    use notify::event::DataChange;

    use super::*;

    /// The trail of a path, below a folder.
    fn below(folder: &Path, path: &str) -> Vec<String> {
        let root = folder.canonicalize().unwrap();
        let trail = trail(&folder.join(path)).unwrap();
        trail
            .into_iter()
            .filter_map(|entry| Some(entry.strip_prefix(&root).ok()?.display().to_string()))
            .collect()
    }

    #[test]
    fn a_plain_file_is_its_own_trail_there_or_not() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("a/file"), "").unwrap();

        assert_eq!(below(folder.path(), "a/file"), ["a/file"]);
        assert_eq!(below(folder.path(), "a/./../a//file"), ["a/file"]);
        assert_eq!(below(folder.path(), "no/such"), ["no/such"]);
    }

    #[test]
    fn every_link_on_the_way_belongs_to_the_trail() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir_all(at("mount/..2024_1")).unwrap();
        fs::write(at("mount/..2024_1/file"), "").unwrap();
        symlink("..2024_1", at("mount/..data")).unwrap();
        symlink("..data/file", at("mount/file")).unwrap();
        symlink("mount", at("folder")).unwrap();
        symlink(at("folder/file"), at("absolute")).unwrap();

        assert_eq!(
            below(folder.path(), "absolute"),
            [
                "absolute",
                "folder",
                "mount/..2024_1/file",
                "mount/..data",
                "mount/file"
            ]
        );
    }

    #[test]
    fn links_in_a_circle_come_to_an_end() {
        let folder = tempfile::tempdir().unwrap();
        symlink("b", folder.path().join("a")).unwrap();
        symlink("a", folder.path().join("b")).unwrap();

        assert_eq!(below(folder.path(), "a"), ["a", "b"]);
    }

    /// Waits for the news of a file that follow from what is done.
    fn hear(file: &Path, act: impl FnOnce()) -> Watch {
        let (watch, err) = Watch::begin(file);
        assert!(err.is_none(), "{err:?}");

        act();

        actix_rt::System::new().block_on(async {
            let news = tokio::time::timeout(Duration::from_secs(20), watch.news());
            news.await.expect("news in time");
        });
        watch
    }

    #[test]
    fn there_are_news_however_a_file_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        fs::create_dir(at("1")).unwrap();
        fs::create_dir(at("2")).unwrap();
        symlink("1", at("data")).unwrap();
        symlink("data/file", at("file")).unwrap();

        hear(&at("file"), || fs::write(at("1/file"), "new").unwrap());
        hear(&at("file"), || fs::write(at("1/file"), "written").unwrap());
        hear(&at("file"), || {
            fs::write(at("other"), "renamed").unwrap();
            fs::rename(at("other"), at("1/file")).unwrap();
        });
        hear(&at("file"), || fs::remove_file(at("1/file")).unwrap());
        hear(&at("file"), || {
            symlink("2", at("new")).unwrap();
            fs::rename(at("new"), at("data")).unwrap();
        });
    }

    #[test]
    fn a_file_is_being_written_until_it_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut file = fs::File::create(&path).unwrap();

        let watch = hear(&path, || file.write_all(b"half").unwrap());
        let within = watch.is_being_written();
        drop(file);
        actix_rt::System::new().block_on(watch.news());

        assert!(within);
        assert!(!watch.is_being_written());
    }

    #[test]
    fn what_happens_beside_a_file_is_no_news() {
        let trail = BTreeSet::from(["/a/file".into()]);
        let at = |path: &str| {
            let kind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
            concerns(
                &Event::new(kind).add_path(path.into()),
                &trail,
                &News::default(),
            )
        };

        assert!(at("/a/file"));
        assert!(!at("/a/file.log"));
        assert!(!at("/a"));
    }
}
