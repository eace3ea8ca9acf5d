//! Runs the programs that create tokens for users, and reads a private event with each token.

use super::*;

const PAGE: &str = include_str!("../../docs/guide/tokens-from-your-backend.md");

/// Runs the example in one language, if its program is installed.
fn creates_a_token_for_a_user(file: &str, program: &[&str], version: &str) {
    if !is_installed(program[0], version) {
        return;
    }
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("hub.secret"), format!("{SECRET}\n")).unwrap();
    let (start, _) = PAGE.split_once(&format!("Save this as `{file}`")).unwrap();
    let line = PAGE[start.len()..].lines().next().unwrap();
    fs::write(folder.path().join(file), snippet(PAGE, line)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let hub = format!(
        "http://{}/.well-known/mercure",
        listener.local_addr().unwrap()
    );
    let server = server(folder.path(), &hub, Credentials::Secret);

    let mut program = program.to_vec();
    program.push(file);
    let mut creator = publisher(folder.path(), &program, &hub);
    creator.env("SECRET", SECRET);
    let created = finish(creator);
    assert_eq!(
        created.code,
        Some(0),
        "{}{}",
        created.stdout,
        created.stderr
    );

    let headers = format!("Authorization: Bearer {}\r\n", created.stdout.trim());
    let target = "/.well-known/mercure?match=*";
    let mut stream = Stream::request(server.addr(), target, headers.as_bytes());
    assert_eq!(stream.status(), 200, "{}", stream.head);
    for user in ["bob", "alice", "*"] {
        let topic = format!("https://example.org/users/{user}");
        let args = [
            "publish",
            "--url",
            &*hub,
            "--topic",
            &topic,
            "--private",
            "--data",
            user,
        ];
        let mut publish = configured(folder.path(), &args, &hub, Credentials::Secret);
        publish.env("HUB", &hub);
        let listener = listener.try_clone().unwrap();
        forward(listener, server.addr(), Vec::new());
        let published = finish(publish);
        assert_eq!(published.code, Some(0), "{}", published.stderr);
    }
    assert_eq!(stream.event().unwrap().data, "alice");
}

#[test]
fn python_creates_a_token_for_a_user() {
    creates_a_token_for_a_user("token_for.py", &["python3"], "--version");
}

#[test]
fn node_creates_a_token_for_a_user() {
    creates_a_token_for_a_user("token.mjs", &["node"], "--version");
}

#[test]
fn go_creates_a_token_for_a_user() {
    creates_a_token_for_a_user("token.go", &["go", "run"], "version");
}

#[test]
fn php_creates_a_token_for_a_user() {
    creates_a_token_for_a_user("token.php", &["php"], "--version");
}

#[test]
fn ruby_creates_a_token_for_a_user() {
    creates_a_token_for_a_user("token.rb", &["ruby"], "--version");
}
