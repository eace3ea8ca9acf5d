//! Runs the commands of `docs/guide/revoking-access.md` as the page prints them.

use super::*;

const PAGE: &str = include_str!("../../docs/guide/revoking-access.md");

#[test]
fn an_operator_revokes_and_lifts_with_curl() {
    if !is_installed("curl", "--version") || !is_installed("openssl", "version") {
        return;
    }
    let folder = tempdir().unwrap();
    fs::write(
        folder.path().join("admin.secret"),
        "a secret of at least 32 bytes here\n",
    )
    .unwrap();
    let mut server = command(
        folder.path(),
        &["--bind", "127.0.0.1:0", "--admin-bind", "127.0.0.1:0"],
    );
    server.env("BROADCASTER__SERVER__ADMIN_TOKEN_FILE", "admin.secret");
    let server = Process::spawn(server);
    let admin = eventually("the address for operators", || {
        let log = server.stderr();
        let (_, rest) = log.split_once("metrics and status on http://")?;
        Some(rest.lines().next()?.trim_end_matches('/').to_owned())
    });
    let revoke = snippet(PAGE, "## Revoke");
    let lift = snippet(PAGE, "## List and lift");
    let script = format!("set -eu\n{revoke}\n{lift}");
    let script = script.replace("127.0.0.1:9090", &admin);
    fs::write(folder.path().join("script.sh"), script).unwrap();

    let mut bash = Command::new("bash");
    bash.arg("script.sh").current_dir(folder.path());
    let finished = finish(bash);

    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    let answers = serde_json::Deserializer::from_str(&finished.stdout).into_iter::<Value>();
    let answers: Vec<Value> = answers.map(Result::unwrap).collect();
    let [revoked, list] = &answers[..] else {
        panic!("{}", finished.stdout);
    };
    assert_eq!(
        (&revoked["iss"], &revoked["sub"]),
        (&json!("https://app.example.org"), &json!("alice"))
    );
    assert_eq!(list["revocations"], json!([revoked]));
    server.wait_for_log("lifted the revocation of the tokens");
}
