//! Tests logs whose files were damaged while no process used them. Such a log must refuse to open, begin a
//! new epoch, or have all its events.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use tempfile::{TempDir, tempdir};

use super::*;
use super::{
    kinds_tests::{append, append_numbers, close, file, listener, opened, sent, some_of_each},
    tests::{keeping, topic},
};
use crate::event::{Event, Frame};

/// How many times the test damages a file.
const ATTEMPTS: usize = 1000;

/// The files of a log at one moment, and the events that were acknowledged by then.
struct Image {
    name: &'static str,
    files: Vec<(PathBuf, Vec<u8>)>,
    epoch: u64,
    next: u64,
    frames: Vec<Frame>,
}

impl Image {
    fn of(name: &'static str, folder: &TempDir, log: &Opened) -> Self {
        let files = std::fs::read_dir(folder.path()).unwrap().map(|entry| {
            let path = entry.unwrap().path();
            let content = std::fs::read(&path).unwrap();
            (path.file_name().unwrap().into(), content)
        });
        Self {
            name,
            files: files.collect(),
            epoch: log.memory.epoch(),
            next: log.memory.next(),
            frames: sent(log, log.memory.extent().oldest),
        }
    }

    fn write(&self, folder: &Path) {
        for (name, content) in &self.files {
            std::fs::write(folder.join(name), content).unwrap();
        }
    }
}

/// The files of a log that has evicted some events, as a crash and as a clean shutdown leave them.
fn images() -> Vec<Image> {
    let folder = tempdir().unwrap();
    let kind = file(&folder, None);
    let log = opened(&kind, keeping(40));
    for event in some_of_each() {
        append(&log, event);
    }
    append_numbers(&log, 0..30);
    append(&log, Event::message("x".repeat(10_000)));
    append_numbers(&log, 30..50);
    let crashed = Image::of("crashed", &folder, &log);
    close(log);
    let log = opened(&kind, keeping(40));
    append_numbers(&log, 50..52);
    close(log);
    let log = opened(&kind, keeping(40));
    let mut closed = Image::of("closed", &folder, &log);
    close(log);
    for (name, content) in &mut closed.files {
        *content = std::fs::read(folder.path().join(name)).unwrap();
    }
    vec![crashed, closed]
}

/// Damages one file of the image in this folder. Returns a description of the damage.
fn damage(image: &Image, folder: &Path, random: &mut fastrand::Rng) -> String {
    const PAGE: usize = 4096;
    let (name, content) = &image.files[random.usize(..image.files.len())];
    let mut damaged = content.clone();
    let what = match random.u8(0..10) {
        // The start of the file says which of two commits is newer, so damage the start more often.
        0..=3 => flip(&mut damaged, random.usize(..content.len().min(512)), random),
        4..=6 => flip(&mut damaged, random.usize(..content.len()), random),
        7 => {
            let len = random.usize(..content.len());
            damaged.truncate(len);
            format!("cut to {len} bytes")
        }
        8 if content.len() > PAGE => {
            let pages = content.len() / PAGE;
            let [one, other] = [0; 2].map(|_| random.usize(..pages) * PAGE);
            damaged[one..one + PAGE].copy_from_slice(&content[other..other + PAGE]);
            damaged[other..other + PAGE].copy_from_slice(&content[one..one + PAGE]);
            format!("pages at {one} and {other} swapped")
        }
        _ if name.extension().is_some_and(|end| end != "redb") => {
            std::fs::remove_file(folder.join(name)).unwrap();
            return format!("{} removed", name.display());
        }
        _ => {
            let from = random.usize(..content.len());
            damaged[from..].fill(0);
            format!("zeros from {from} on")
        }
    };
    std::fs::write(folder.join(name), &damaged).unwrap();
    format!("{}: {what}", name.display())
}

fn flip(bytes: &mut [u8], at: usize, random: &mut fastrand::Rng) -> String {
    let bit = random.u8(..8);
    bytes[at] ^= 1 << bit;
    format!("bit {bit} of byte {at} flipped")
}

/// Opens the log in this folder. Returns which guarantee is broken, if any.
fn broken_guarantee(image: &Image, folder: &Path) -> Option<String> {
    let kind = LogKind::File {
        path: folder.join("events.redb"),
        sync_interval: None,
    };
    let listener = listener(&Arc::default());
    let opening = || {
        open(
            kind,
            keeping(40),
            topic("own"),
            PublishSettings::default(),
            listener,
        )
    };
    let log = match catch_unwind(AssertUnwindSafe(opening)) {
        Err(_) => return Some("it panicked".to_owned()),
        Ok(Err(_)) => return None,
        Ok(Ok(log)) => log,
    };
    let (epoch, next) = (log.memory.epoch(), log.memory.next());
    let frames = sent(&log, log.memory.extent().oldest);
    close(log);
    if epoch > image.epoch {
        return None;
    }
    if epoch < image.epoch {
        return Some(format!(
            "its epoch went back to {epoch} from {}",
            image.epoch
        ));
    }
    if next < image.next {
        return Some(format!(
            "it assigns number {next} again, but {} is next",
            image.next
        ));
    }
    (frames != image.frames).then(|| "its events differ".to_owned())
}

#[test]
fn a_damaged_file_is_refused_or_begins_a_new_epoch() {
    let seed = 14;
    let mut random = fastrand::Rng::with_seed(seed);
    let images = images();
    let folder = tempdir().unwrap();
    let mut broken = Vec::new();

    for attempt in 0..ATTEMPTS {
        let image = &images[attempt % images.len()];
        image.write(folder.path());
        let what = damage(image, folder.path(), &mut random);
        if let Some(how) = broken_guarantee(image, folder.path()) {
            broken.push(format!("{} {what}: {how}", image.name));
        }
    }

    assert!(
        broken.is_empty(),
        "{} of {ATTEMPTS}:\n{}",
        broken.len(),
        broken.join("\n")
    );
}

#[test]
fn an_undamaged_file_is_opened_in_its_epoch() {
    let folder = tempdir().unwrap();
    for image in images() {
        image.write(folder.path());
        let kind = file(&folder, None);

        let log = opened(&kind, keeping(40));

        assert_eq!(log.memory.epoch(), image.epoch, "{}", image.name);
        assert_eq!(log.memory.next(), image.next);
        assert_eq!(sent(&log, log.memory.extent().oldest), image.frames);
        close(log);
    }
}
