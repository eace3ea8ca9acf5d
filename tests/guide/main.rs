//! Runs the publishers in `docs/guide` exactly as the pages print them, some of them on a connection that fails.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "a skipped test says why")]

#[path = "../support/mod.rs"]
mod support;

mod operators;
mod tokens;

use std::{
    fs,
    io::{self, BufReader, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    thread,
};

use serde_json::{Value, json};
use support::{
    client::{SseEvent, Stream, get},
    eventually,
    process::{Process, command, finish},
};
use tempfile::tempdir;

const GETTING_STARTED: &str = include_str!("../../docs/guide/getting-started.md");
const PUBLISHING: &str = include_str!("../../docs/guide/publishing.md");
const LANGUAGES: &str = include_str!("../../docs/guide/publishing-in-your-language.md");

const TOPIC: &str = "https://example.com/books/1";

/// The issuer in the examples.
const ISSUER: &str = "https://app.example.org";

/// A secret as `openssl rand -base64 32` prints it. The key is this text, not the bytes that it encodes.
const SECRET: &str = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=";

/// What the server's operator gives to a publisher.
#[derive(Clone, Copy)]
enum Credentials {
    /// The token that the server prints when no issuer is configured.
    PrintedToken,
    /// The secret of a configured issuer.
    Secret,
}

/// What happens to a connection to the server.
#[derive(Clone, Copy)]
enum Fault {
    /// It is cut after the first occurrence of this text in the response.
    CutAfter(&'static str),
    /// The response is 503 with `Retry-After`, as from a server that shuts down.
    Unavailable,
}

/// What a publisher did.
struct Outcome {
    stdout: String,
    /// The events that it published.
    events: Vec<SseEvent>,
    /// Number of updates that it repeated, and that were in the log already.
    replays: u64,
}

impl Outcome {
    fn data(&self) -> Vec<&str> {
        self.events.iter().map(|event| &*event.data).collect()
    }

    fn ids(&self) -> Vec<&str> {
        let ids = self.events.iter().map(|event| event.id.as_deref());
        ids.map(Option::unwrap).collect()
    }
}

/// The first code block after this line of a page.
fn snippet(page: &'static str, line: &str) -> &'static str {
    let (_, rest) = page.split_once(&format!("{line}\n")).expect(line);
    let (_, rest) = rest.split_once("```").unwrap();
    let (_, rest) = rest.split_once('\n').unwrap();
    let (code, _) = rest.split_once("```").unwrap();
    code
}

/// The only code block of a section of `publishing.md`.
fn section(heading: &str) -> &'static str {
    let (_, rest) = PUBLISHING
        .split_once(&format!("\n{heading}\n"))
        .expect(heading);
    let (section, _) = rest.split_once("\n## ").unwrap();
    assert_eq!(section.matches("```").count(), 2, "{heading}");
    snippet(PUBLISHING, heading)
}

/// Returns whether a program is installed. If not, prints that its test is skipped.
fn is_installed(program: &str, version: &str) -> bool {
    let is_installed = Command::new(program)
        .arg(version)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !is_installed {
        eprintln!("SKIPPED: {program} is not installed, so the guide's snippet is not run");
    }
    is_installed
}

/// Forwards connections to the server. The first ones have these faults.
fn forward(listener: TcpListener, server: SocketAddr, faults: Vec<Fault>) {
    let mut faults = faults.into_iter();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let fault = faults.next();
            thread::spawn(move || relay(client, server, fault));
        }
    });
}

fn relay(mut client: TcpStream, server: SocketAddr, fault: Option<Fault>) -> io::Result<()> {
    if let Some(Fault::Unavailable) = fault {
        // A client may ignore a response that arrives before it has sent something.
        client.read_exact(&mut [0])?;
        client.write_all(
            b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        )?;
        client.shutdown(Shutdown::Write)?;
        return io::copy(&mut client, &mut io::sink()).map(drop);
    }
    let mut server = TcpStream::connect(server)?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        io::copy(&mut from, &mut to).ok();
        // Fails if the other direction has ended, which is not an error.
        to.shutdown(Shutdown::Write).ok();
    });
    if let Some(Fault::CutAfter(text)) = fault {
        let mut response = Vec::new();
        for byte in BufReader::new(&server).bytes() {
            response.push(byte?);
            if response.ends_with(text.as_bytes()) {
                break;
            }
        }
        client.write_all(&response)?;
    } else {
        io::copy(&mut server, &mut client)?;
    }
    client.shutdown(Shutdown::Both)?;
    server.shutdown(Shutdown::Both)
}

/// Saves files into a folder, runs a program there, and returns what it did. The program must succeed. Its
/// first connections to the server have these faults.
fn run(
    files: &[(&str, &str)],
    program: &[&str],
    credentials: Credentials,
    faults: &[Fault],
) -> Outcome {
    let folder = tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    fs::write(folder.path().join("hub.secret"), format!("{SECRET}\n")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let hub = format!("http://{addr}/.well-known/mercure");
    let server = server(folder.path(), &hub, credentials);
    let target = format!("/.well-known/mercure?match={TOPIC}");
    let mut stream = Stream::request(server.addr(), &target, b"");
    forward(listener, server.addr(), faults.to_vec());

    let mut publisher = publisher(folder.path(), program, &hub);
    match credentials {
        Credentials::PrintedToken => publisher.env("BROADCASTER_TOKEN", printed_token(&server)),
        Credentials::Secret => publisher.env("SECRET", SECRET),
    };
    let finished = finish(publisher);
    let (stdout, stderr) = (finished.stdout, finished.stderr);
    assert_eq!(finished.code, Some(0), "{stdout}{stderr}");

    let marker = [
        "publish", "--url", &*hub, "--topic", TOPIC, "--data", "marker",
    ];
    let mut marker = configured(folder.path(), &marker, &hub, credentials);
    if let Credentials::PrintedToken = credentials {
        marker.env("BROADCASTER_TOKEN", printed_token(&server));
    }
    assert_eq!(finish(marker).code, Some(0));
    let events = std::iter::from_fn(|| stream.event());
    let events = events.take_while(|event| event.data != "marker").collect();
    let metrics = get(server.addr(), "/metrics").body;
    let replays = metrics
        .lines()
        .find_map(|line| line.strip_prefix("broadcaster_publish_replays_total "));
    Outcome {
        stdout,
        events,
        replays: replays.unwrap().parse().unwrap(),
    }
}

/// A command of the binary for the hub at this URL. If publishers have a secret, it knows their issuer.
fn configured(folder: &Path, args: &[&str], hub: &str, credentials: Credentials) -> Command {
    let mut command = command(folder, args);
    command
        .env("BROADCASTER__HUB__URL", hub)
        .env_remove("BROADCASTER_TOKEN");
    if let Credentials::Secret = credentials {
        let issuers = json!([{ "issuer": ISSUER, "secret_file": "hub.secret" }]);
        command.env("BROADCASTER__AUTH__ISSUERS", issuers.to_string());
    }
    command
}

/// Starts the server.
fn server(folder: &Path, hub: &str, credentials: Credentials) -> Process {
    let args = ["--bind", "127.0.0.1:0"];
    Process::spawn(configured(folder, &args, hub, credentials))
}

/// The program of a publisher.
fn publisher(folder: &Path, program: &[&str], hub: &str) -> Command {
    let (program, args) = program.split_first().unwrap();
    let binary = env!("CARGO_BIN_EXE_broadcaster");
    let binaries = binary.rsplit_once('/').unwrap().0;
    let path = format!("{binaries}:{}", std::env::var("PATH").unwrap());
    let mut publisher = Command::new(program);
    publisher
        .args(args)
        .current_dir(folder)
        .env_remove("BROADCASTER_TOKEN")
        .env_remove("SECRET")
        .env("PATH", path)
        // Go must not download another toolchain.
        .env("GOTOOLCHAIN", "local")
        .env("HUB", hub);
    publisher
}

/// Runs a snippet in Bash.
fn run_script(code: &str, credentials: Credentials, faults: &[Fault]) -> Outcome {
    let files = [("publish.sh", code)];
    run(&files, &["bash", "publish.sh"], credentials, faults)
}

/// Asserts that a publisher published these events and printed their ids.
fn assert_publishes(outcome: &Outcome, events: &[&str]) {
    assert_eq!(outcome.data(), events);
    // curl prints no line break after an id.
    let printed: Vec<_> = outcome.stdout.split_whitespace().collect();
    assert_eq!(printed, outcome.ids());
}

fn printed_token(server: &Process) -> String {
    eventually("the token on standard output", || {
        let stdout = server.stdout();
        let (_, rest) = stdout.split_once("publish token: ")?;
        Some(rest.split_once('\n')?.0.to_owned())
    })
}

/// Runs the examples in one language, if its program is installed. Their first connection is cut, and their second
/// receives 503.
fn publishes_once(extension: &str, program: &[&str], version: &str) {
    if !is_installed(program[0], version) {
        return;
    }
    let [hub, publish, bulk] = ["hub", "publish", "bulk"].map(|name| format!("{name}.{extension}"));
    let run_beside_hub = |file: &str, cut_after| {
        let files = [&*hub, file].map(|file| {
            let line = format!("Save this as `{file}`:");
            (file, snippet(LANGUAGES, &line))
        });
        let mut program = program.to_vec();
        program.push(file);
        let faults = [Fault::CutAfter(cut_after), Fault::Unavailable];
        run(&files, &program, Credentials::Secret, &faults)
    };

    let one = run_beside_hub(&publish, "{\"id\"");
    assert_publishes(&one, &["{\"price\":12}"]);
    assert_eq!(one.replays, 1, "the update was sent twice");

    // After the first answer.
    let many = run_beside_hub(&bulk, "\"}\n");
    let events = [10, 11, 12, 13, 14].map(|price| format!("{{\"price\":{price}}}"));
    assert_publishes(&many, &events.each_ref().map(String::as_str));
}

#[test]
fn curl_publishes_with_the_printed_token() {
    if is_installed("curl", "--version") {
        let line = "Publish with curl; the response is the event id:";
        let code = snippet(GETTING_STARTED, line);
        let outcome = run_script(code, Credentials::PrintedToken, &[]);
        assert_publishes(&outcome, &["hello"]);
    }
}

#[test]
fn curl_publishes_json() {
    if is_installed("curl", "--version") {
        let code = section("## JSON");
        let outcome = run_script(code, Credentials::PrintedToken, &[]);
        assert_eq!(outcome.data(), ["{\"price\":12}"]);
        let printed: Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!(printed, json!({ "id": outcome.ids()[0] }));
    }
}

#[test]
fn curl_repeats_a_request_and_publishes_once() {
    if is_installed("curl", "--version") {
        let code = section("## Retry a request safely");
        let faults = [Fault::CutAfter("HTTP/1.1 200"), Fault::Unavailable];
        let outcome = run_script(code, Credentials::PrintedToken, &faults);
        assert_publishes(&outcome, &["{\"price\":12}"]);
        assert_eq!(outcome.replays, 1, "the update was sent twice");
    }
}

#[test]
fn curl_publishes_many_updates_in_one_request() {
    if is_installed("curl", "--version") {
        let file = snippet(PUBLISHING, "\n## Many updates in one request");
        let pipe = snippet(PUBLISHING, "curl then sends each line when it arrives:");
        let code = format!("{file}{pipe}");
        let outcome = run_script(&code, Credentials::PrintedToken, &[]);
        assert_eq!(outcome.data(), ["{\"price\":12}", "{\"price\":14}"]);
        let printed = outcome.stdout.lines();
        let printed: Vec<Value> = printed
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let [first, second] = outcome.ids()[..] else {
            panic!("two events");
        };
        let replayed = |id| json!({ "id": id, "replayed": true });
        assert_eq!(printed.len(), 6, "{printed:?}");
        assert_eq!(printed[0], json!({ "id": first }));
        assert_eq!(printed[1]["error"]["status"], 400);
        assert_eq!(printed[2], json!({ "id": second }));
        // The pipe sends the same lines again.
        assert_eq!(printed[3], replayed(first));
        assert_eq!(printed[4], printed[1]);
        assert_eq!(printed[5], replayed(second));
    }
}

#[test]
fn the_binary_publishes_with_the_printed_token() {
    let code = section("## broadcaster publish");
    let outcome = run_script(code, Credentials::PrintedToken, &[]);
    assert_publishes(&outcome, &["hello", "one", "two"]);
}

#[test]
fn curl_mints_a_token_and_publishes() {
    if is_installed("curl", "--version") && is_installed("openssl", "version") {
        let outcome = run_script(section("## curl"), Credentials::Secret, &[]);
        assert_publishes(&outcome, &["hello"]);
    }
}

#[test]
fn python_publishes_once_when_requests_fail() {
    publishes_once("py", &["python3"], "--version");
}

#[test]
fn node_publishes_once_when_requests_fail() {
    publishes_once("mjs", &["node"], "--version");
}

#[test]
fn php_publishes_once_when_requests_fail() {
    publishes_once("php", &["php"], "--version");
}

#[test]
fn go_publishes_once_when_requests_fail() {
    publishes_once("go", &["go", "run", "hub.go"], "version");
}

#[test]
fn ruby_publishes_once_when_requests_fail() {
    publishes_once("rb", &["ruby"], "--version");
}
