//! `broadcaster publish`, with one event and with many.

use super::*;

#[test]
fn an_event_is_published_with_all_fields_given_as_flags() {
    let folder = with_secret();
    let (server, hub) = server(folder.path());
    let mut stream = subscribe(&server, &format!("match={TOPIC}&match=b"), "");

    // `publish` makes its token with the secret from the config.
    let published = run(
        folder.path(),
        &[
            "publish", "--url", &hub, "--topic", TOPIC, "--topic", "b", "--data", "-1", "--id",
            "urn:1", "--type", "added", "--retry", "700",
        ],
    );

    assert_eq!(line(&published), "urn:1");
    stream.checkpoint();
    assert_eq!(
        stream.block().unwrap(),
        "id: urn:1\nevent: added\nretry: 700\ndata: -1\n\n"
    );
}

#[test]
fn each_line_of_standard_input_is_an_event() {
    let folder = with_secret();
    let (server, hub) = server(folder.path());
    let mut stream = subscribe(&server, "match=a", "");
    let args = ["publish", "--url", &hub, "--topic", "a", "--data", "-"];
    let mut publish = command(folder.path(), &args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = publish.stdin.take().unwrap();

    // Each line is published as soon as it is read, before the next line exists.
    lines.write_all(b"one\n").unwrap();
    assert_eq!(stream.event().unwrap().data, "one");
    lines.write_all("\nz\u{fc}rich".as_bytes()).unwrap();
    drop(lines);
    let ended = publish.wait_with_output().unwrap();

    assert_eq!(stream.event().unwrap().data, "");
    assert_eq!(stream.event().unwrap().data, "z\u{fc}rich");
    assert!(ended.status.success());
    assert_eq!(String::from_utf8(ended.stdout).unwrap().lines().count(), 3);
}

#[test]
fn each_line_of_a_file_is_an_update_and_a_bad_line_does_not_stop_the_others() {
    let folder = with_secret();
    let (server, hub) = server(folder.path());
    let mut stream = subscribe(&server, "match=a&match=b", "");
    let many: String = (0..5_000)
        .map(|n| format!("{{\"topic\":\"a\",\"data\":{n}}}\n"))
        .collect();
    let lines = "{\"topic\":\"a\",\"data\":\"x\",\"id\":\"urn:1\"}\nno object\n\n{\"topic\":\"*\"}\n\
                 {\"topic\":[\"b\"],\"idempotency_key\":\"k\",\"data\":{\"y\":1}}\n";
    fs::write(folder.path().join("updates"), format!("{lines}{many}")).unwrap();

    let publish = || {
        run(
            folder.path(),
            &["publish", "--url", &hub, "--ndjson", "updates"],
        )
    };
    let finished = publish();

    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    for reason in [
        "line 2: the line is not a JSON object",
        "line 4: The field `topic`",
        "2 of 5005 lines",
    ] {
        assert!(finished.stderr.contains(reason), "{}", finished.stderr);
    }
    assert_eq!(finished.stdout.lines().count(), 5_002);
    assert_eq!(finished.stdout.lines().next(), Some("urn:1"));
    let received: Vec<_> = (0..5_002).map(|_| stream.event().unwrap().data).collect();
    assert_eq!(received[..2], ["x", "{\"y\":1}"]);
    assert!(
        (0..5_000)
            .map(|n| n.to_string())
            .eq(received[2..].iter().cloned())
    );
    // The lines with an id or a key are not published again.
    publish();
    assert_eq!(stream.event().unwrap().data, "0");
}

#[test]
fn the_lines_before_an_unreadable_one_are_published() {
    let folder = with_secret();
    let (server, hub) = server(folder.path());
    let mut stream = subscribe(&server, "match=a", "");
    let lines = b"{\"topic\":\"a\",\"data\":1}\n{\"topic\":\"a\",\"data\":2}\n\xff\n";
    fs::write(folder.path().join("updates"), lines).unwrap();

    let arguments = ["publish", "--url", &hub, "--ndjson", "updates"];
    let finished = run(folder.path(), &arguments);

    assert_eq!(finished.code, Some(1));
    let reason = "cannot read the input after line 2";
    assert!(finished.stderr.contains(reason), "{}", finished.stderr);
    assert_eq!(finished.stdout.lines().count(), 2);
    assert_eq!(stream.event().unwrap().data, "1");
    assert_eq!(stream.event().unwrap().data, "2");
}

#[test]
fn the_lines_of_standard_input_cannot_have_one_id() {
    let folder = with_secret();

    let arguments = ["publish", "--topic", "a", "--data", "-", "--id", "urn:1"];
    let finished = run(folder.path(), &arguments);

    assert_eq!(finished.code, Some(2), "{}", finished.stderr);
    assert!(finished.stderr.contains("--id"), "{}", finished.stderr);
}

#[test]
fn a_request_is_repeated_until_the_hub_can_be_reached() {
    let folder = with_secret();
    let port = free_port();
    let hub = format!("http://127.0.0.1:{port}/.well-known/mercure");
    let publish = |args: &[&str]| {
        let args = [&["publish", "--url", &hub, "--topic", "a"], args].concat();
        command(folder.path(), &args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let mut single = publish(&["--data", "x"]);
    let mut many = publish(&["--data", "-"]);
    many.stdin.take().unwrap().write_all(b"1\n2\n").unwrap();
    // Both have tried before the server starts.
    for process in [&mut single, &mut many] {
        let mut complaint = String::new();
        let mut errors = BufReader::new(process.stderr.take().unwrap());
        errors.read_line(&mut complaint).unwrap();
        assert!(complaint.contains("trying again in"), "{complaint}");
    }

    let bind = format!("127.0.0.1:{port}");
    let server = Process::spawn(command(folder.path(), &["--bind", &bind]));
    let mut stream = subscribe(&server, "match=a&last_event_id=earliest", "");
    let ended = [single, many].map(|process| process.wait_with_output().unwrap());

    for output in &ended {
        assert!(output.status.success(), "{output:?}");
    }
    let mut received: Vec<_> = (0..3).map(|_| stream.event().unwrap().data).collect();
    received.sort();
    assert_eq!(received, ["1", "2", "x"]);
}
