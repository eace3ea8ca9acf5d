//! Where the config file is, and how it can be replaced.

use std::{fs, os::unix::fs::symlink, path::Path};

use tempfile::{TempDir, tempdir};

use super::{NO_COMMENTS, Reloading, TAKEN, read_until, replace, ticker};

#[test]
fn a_file_replaced_by_renaming_is_loaded() {
    let server = Reloading::start(&ticker("24h", "old"));
    let (mut stream, mut next) = (server.open(), 0);

    for name in ["first", "second", "third"] {
        replace(&server.path("config.toml"), &ticker("20ms", name));

        read_until(&mut stream, &mut next, name);
    }

    server.assert_log(&[TAKEN, TAKEN, TAKEN]);
}

/// A folder as Kubernetes mounts a `ConfigMap`, in its first version.
fn mounted(config: &str) -> TempDir {
    let folder = tempdir().unwrap();
    symlink("..data/config.toml", folder.path().join("config.toml")).unwrap();
    mount(folder.path(), "..2024_1", config);
    folder
}

/// Replaces the current version with another one atomically.
fn mount(folder: &Path, version: &str, config: &str) {
    fs::create_dir(folder.join(version)).unwrap();
    fs::write(folder.join(version).join("config.toml"), config).unwrap();
    symlink(version, folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
}

#[test]
fn a_configmap_that_kubernetes_replaces_is_loaded() {
    let folder = mounted(&ticker("24h", "old"));
    let path = folder.path().join("config.toml");
    let server = Reloading::run(
        folder,
        &["--config", path.to_str().unwrap()],
        &[NO_COMMENTS],
    );
    let (mut stream, mut next) = (server.open(), 0);

    for (version, gone) in [("..2024_2", "..2024_1"), ("..2024_3", "..2024_2")] {
        mount(server.folder.path(), version, &ticker("20ms", version));
        fs::remove_dir_all(server.path(gone)).unwrap();

        read_until(&mut stream, &mut next, version);
    }

    server.assert_log(&[TAKEN, TAKEN]);
}

#[test]
fn a_file_is_watched_through_symbolic_links() {
    let folder = mounted(&ticker("24h", "old"));
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("own")).unwrap();
    symlink("own", at("link")).unwrap();
    symlink("../config.toml", at("own/config.toml")).unwrap();
    let server = Reloading::run(folder, &["--config", "link/config.toml"], &[NO_COMMENTS]);
    let (mut stream, mut next) = (server.open(), 0);

    mount(server.folder.path(), "..2024_2", &ticker("20ms", "swapped"));
    read_until(&mut stream, &mut next, "swapped");
    let in_place = server.path("..2024_2/config.toml");
    fs::write(in_place, ticker("20ms", "written")).unwrap();
    read_until(&mut stream, &mut next, "written");
    fs::create_dir(server.path("other")).unwrap();
    fs::write(server.path("other/config.toml"), ticker("20ms", "other")).unwrap();
    symlink("other", server.path("link.new")).unwrap();
    fs::rename(server.path("link.new"), server.path("link")).unwrap();
    read_until(&mut stream, &mut next, "other");

    server.assert_log(&[TAKEN, TAKEN, TAKEN]);
}

#[test]
fn the_file_in_the_working_directory_is_watched_like_a_named_file() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("config/default.toml");
    fs::create_dir(folder.path().join("config")).unwrap();
    fs::write(&path, ticker("24h", "old")).unwrap();
    let server = Reloading::run(folder, &[], &[NO_COMMENTS]);
    let (mut stream, mut next) = (server.open(), 0);

    fs::write(&path, ticker("20ms", "written")).unwrap();
    read_until(&mut stream, &mut next, "written");
    replace(&path, &ticker("20ms", "replaced"));
    read_until(&mut stream, &mut next, "replaced");
    fs::remove_file(&path).unwrap();
    let gone = "the old one stays: config/default.toml: cannot read the config file: No such file";
    server.assert_log(&[TAKEN, TAKEN, gone]);
    read_until(&mut stream, &mut next, "replaced");
    fs::write(&path, ticker("20ms", "back")).unwrap();
    read_until(&mut stream, &mut next, "back");

    server.assert_log(&[TAKEN, TAKEN, gone, TAKEN]);
}

#[test]
fn a_file_created_later_in_the_working_directory_is_loaded() {
    let server = Reloading::run(tempdir().unwrap(), &["--interval", "20ms"], &[NO_COMMENTS]);
    let (mut stream, mut next) = (server.open(), 0);

    fs::create_dir(server.path("config")).unwrap();
    let path = server.path("config/default.toml");
    fs::write(path, ticker("24h", "there")).unwrap();
    read_until(&mut stream, &mut next, "there");

    server.assert_log(&["in effect now: ticker.message"]);
}

#[test]
fn a_deleted_file_keeps_its_config_in_effect_until_it_is_created_again() {
    let server = Reloading::start(&ticker("20ms", "old"));
    let (mut stream, mut next) = (server.open(), 0);
    read_until(&mut stream, &mut next, "old");
    let gone = "the old one stays: config.toml: cannot read the config file: No such file";

    fs::remove_file(server.path("config.toml")).unwrap();
    server.assert_log(&[gone]);
    read_until(&mut stream, &mut next, "old");
    server.save(&ticker("20ms", "back"));
    read_until(&mut stream, &mut next, "back");

    server.assert_log(&[gone, TAKEN]);
}

#[test]
fn a_file_in_a_recreated_folder_is_loaded() {
    let folder = tempdir().unwrap();
    let (home, path) = (folder.path().join("a"), folder.path().join("a/b.toml"));
    let make = |name| {
        fs::create_dir(&home).unwrap();
        fs::write(&path, ticker("20ms", name)).unwrap();
    };
    make("old");
    let server = Reloading::run(folder, &["--config", "a/b.toml"], &[NO_COMMENTS]);
    let (mut stream, mut next) = (server.open(), 0);

    fs::remove_dir_all(&home).unwrap();
    make("new");
    read_until(&mut stream, &mut next, "new");

    server.assert_log(&[TAKEN]);
}
