//! The server reads a changed file only after it was written completely.

use std::{
    fs::{self, File},
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use sse_broadcaster::{
    Reloader,
    config::{Found, Sources},
};

use super::{Reloading, TAKEN, read_until, replace, ticker};
use crate::support::{
    client::Stream,
    server::{TestServer, quiet},
};

/// Repeats an action in the background until this is dropped.
struct Meanwhile(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl Meanwhile {
    fn repeat(mut act: impl FnMut() + Send + 'static) -> Self {
        let done = Arc::new(AtomicBool::new(false));
        let told = done.clone();
        let thread = thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                act();
            }
        });
        Self(done, Some(thread))
    }
}

impl Drop for Meanwhile {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        let ended = self.1.take().map(JoinHandle::join);
        assert!(ended.is_none_or(|ended| ended.is_ok()) || thread::panicking());
    }
}

/// A pause of the test's writer, not a wait for the server.
fn pause(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}

#[test]
fn a_file_that_is_truncated_and_written_later_is_not_loaded_as_empty() {
    let server = Reloading::start(&ticker("20ms", "old"));
    let (mut stream, mut next) = (server.open(), 0);
    let path = server.path("config.toml");

    for (name, ms) in [("first", 50), ("second", 150), ("third", 300)] {
        File::create(&path).unwrap();
        pause(ms);
        fs::write(&path, ticker("20ms", name)).unwrap();
        read_until(&mut stream, &mut next, name);
    }

    server.assert_log(&[TAKEN, TAKEN, TAKEN]);
}

#[test]
fn a_partly_written_file_is_not_loaded() {
    let server = Reloading::start(&ticker("20ms", "old"));
    let (mut stream, mut next) = (server.open(), 0);
    let mut file = File::create(server.path("config.toml")).unwrap();

    writeln!(file, "[ticker]\ninterval = '20ms'").unwrap();
    pause(300);
    writeln!(file, "message = 'whole {{n}}'").unwrap();
    drop(file);
    read_until(&mut stream, &mut next, "whole");

    server.assert_log(&["in effect now: ticker.message"]);
}

#[test]
fn a_file_that_stays_empty_means_the_defaults() {
    let server = Reloading::start(&ticker("20ms", "old"));
    let (mut stream, mut next) = (server.open(), 0);

    server.save("");
    read_until(&mut stream, &mut next, "Message number:");

    server.assert_log(&[TAKEN]);
}

#[test]
fn of_many_consecutive_writes_the_last_one_is_loaded() {
    let server = Reloading::start(&ticker("24h", "old"));
    let (mut stream, mut next) = (server.open(), 0);
    let path = server.path("config.toml");

    for n in 0..200 {
        let config = ticker("20ms", &format!("version{n}"));
        match n % 2 {
            0 => server.save(&config),
            _ => replace(&path, &config),
        }
    }
    read_until(&mut stream, &mut next, "version199");
    server.save(&ticker("20ms", "marker"));
    let after = (0..1000)
        .map(|_| stream.event().unwrap().data)
        .find(|data| !data.starts_with("version199"));

    assert!(after.unwrap().starts_with("marker"));
}

#[test]
fn a_file_that_never_stops_changing_is_loaded_all_the_same() {
    let server = Reloading::start(&ticker("24h", "old"));
    let mut stream = server.open();
    let path = server.path("config.toml");

    let mut version = 0;
    let _meanwhile = Meanwhile::repeat(move || {
        version += 1;
        replace(&path, &ticker("20ms", &format!("version{version}")));
        pause(10);
    });
    let numbers = stream.numbers(3);

    assert_eq!(numbers, [0, 1, 2]);
}

#[test]
fn writes_to_other_files_in_the_folder_do_not_delay_a_reload() {
    let server = Reloading::start(&ticker("20ms", "old"));
    let (mut stream, mut next) = (server.open(), 0);
    let mut other = File::create(server.path("other.log")).unwrap();

    let _meanwhile = Meanwhile::repeat(move || {
        other.write_all(b"busy\n").unwrap();
        pause(1);
    });
    server.save(&ticker("20ms", "new"));
    read_until(&mut stream, &mut next, "new");

    server.assert_log(&[TAKEN]);
}

#[test]
fn a_change_between_start_and_watch_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    let server = TestServer::start(quiet());
    let mut stream = Stream::open(server.addr);
    let sources = Sources {
        path: Some(path.clone()),
        ..Sources::default()
    };
    let before = Found::Text(path.clone(), "[ticker]\nenabled = false\n".to_owned());
    let config = sources.load(&before).unwrap();

    fs::write(path, ticker("20ms", "meanwhile")).unwrap();
    let target = server.reloadable.clone();
    thread::spawn(move || {
        actix_web::rt::System::new().block_on(async {
            let reloader = Reloader::new(sources, before, config, target).unwrap();
            reloader.run().await;
        });
    });

    assert_eq!(stream.event().unwrap().data, "meanwhile 0");
}
