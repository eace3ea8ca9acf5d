//! The files in `server.static_dir`: which are served, and with which headers.

use std::{
    fs,
    os::unix::{fs::symlink, net::UnixListener},
    path::Path,
    process::Command,
    thread,
};

use crate::support::{client::get, mercure::MercureHub};
use tempfile::tempdir;

fn serving(folder: &Path) -> MercureHub {
    MercureHub::with(|config| config.server.static_dir = folder.to_owned())
}

fn make_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn an_irregular_file_is_not_served_and_blocks_no_thread() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("page.html"), "a page").unwrap();
    make_fifo(&folder.path().join("fifo"));
    symlink("fifo", folder.path().join("link-to-fifo")).unwrap();
    fs::create_dir(folder.path().join("folder")).unwrap();
    make_fifo(&folder.path().join("folder/index.html"));
    let _socket = UnixListener::bind(folder.path().join("socket")).unwrap();
    let hub = serving(folder.path());
    let addr = hub.addr();

    // More requests than worker threads: each of these requests used to block one thread.
    let requests =
        (0..4).flat_map(|_| ["/fifo", "/link-to-fifo", "/folder/", "/folder", "/socket"]);
    let answers = requests.map(|target| thread::spawn(move || get(addr, target).status()));
    let answers: Vec<_> = answers.collect();

    assert_eq!(get(addr, "/page.html").status(), 200);
    for answer in answers {
        assert_eq!(answer.join().unwrap(), 404);
    }
}

#[test]
fn a_symbolic_link_is_followed_only_inside_the_folder() {
    let outside = tempdir().unwrap();
    fs::write(outside.path().join("secret"), "a secret").unwrap();
    fs::write(outside.path().join("index.html"), "a secret").unwrap();
    let releases = tempdir().unwrap();
    let folder = releases.path().join("1");
    fs::create_dir_all(folder.join("a")).unwrap();
    fs::create_dir_all(folder.join("b")).unwrap();
    fs::write(folder.join("a/page.html"), "a page").unwrap();
    // The folder itself may be a symbolic link, as in some deployments.
    symlink("1", releases.path().join("current")).unwrap();
    for (link, target) in [
        ("inside.html", Path::new("a/page.html")),
        ("b/up.html", Path::new("../a/page.html")),
        ("inside", Path::new("a")),
        ("secret", &outside.path().join("secret")),
        ("outside", outside.path()),
        (
            "climbing",
            Path::new("../../../../../../../../../../etc/passwd"),
        ),
        ("broken", Path::new("nowhere")),
        ("loop", Path::new("loop")),
        ("b/index.html", &outside.path().join("index.html")),
    ] {
        symlink(target, folder.join(link)).unwrap();
    }
    let hub = serving(&releases.path().join("current"));

    for (target, status) in [
        ("/a/page.html", 200),
        ("/inside.html", 200),
        ("/b/up.html", 200),
        ("/inside/page.html", 200),
        ("/secret", 404),
        ("/outside/secret", 404),
        ("/outside/", 404),
        ("/climbing", 404),
        ("/broken", 404),
        ("/loop", 404),
        ("/b/", 404),
        ("/a/", 404),
    ] {
        let answer = get(hub.addr(), target);
        assert_eq!(answer.status(), status, "{target}");
        assert!(!answer.body.contains("a secret"), "{target}");
    }
}

#[test]
fn the_content_security_policy_is_configurable() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("page.html"), "a page").unwrap();
    let policy = |csp: Option<&str>| {
        let hub = MercureHub::with(|config| {
            config.server.static_dir = folder.path().to_owned();
            config.server.static_csp = csp.map(str::to_owned);
        });
        let answer = get(hub.addr(), "/page.html");
        assert_eq!(answer.status(), 200);
        answer.header("content-security-policy").map(str::to_owned)
    };
    let own = "default-src 'self'; img-src *";
    let strict = get(serving(folder.path()).addr(), "/page.html");

    assert_eq!(policy(Some(own)).as_deref(), Some(own));
    assert_eq!(policy(None), None);
    let strict = strict.header("content-security-policy").unwrap();
    assert!(
        strict.starts_with("default-src 'none'; script-src 'self';"),
        "{strict}"
    );
}
