//! Keys that the server fetches from the URL of an identity provider (`jwks_url`).

use std::{
    io::Write as _,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::{Value, json};
use sse_broadcaster::config::{Config, IssuerConfig, KeySource};

use crate::support::{
    client::{Stream, get},
    eventually,
    mercure::{Answer, HUB, MercureHub, PATH, bearer, detail, folder_with, now},
    process::{Process, command},
};

const ISSUER: &str = "https://login.example";

/// What the key server does with a request.
#[derive(Clone)]
enum Behaviour {
    /// Answers with this head and body.
    Answer(String, Vec<u8>),
    /// Accepts the request and never answers.
    Hang,
    /// Closes the connection at once.
    Close,
}

/// An identity provider's server of public keys.
struct KeyServer {
    addr: SocketAddr,
    behaviour: Arc<Mutex<Behaviour>>,
    requests: Arc<AtomicUsize>,
}

impl KeyServer {
    fn start(behaviour: Behaviour) -> Self {
        Self::serve(behaviour, |socket, answer| answer(&mut &socket))
    }

    /// Starts a server that speaks TLS, with a certificate for 127.0.0.1.
    fn start_with_tls(behaviour: Behaviour) -> Self {
        let file = |name: &str| std::fs::read(format!("{KEYS}/{name}")).unwrap();
        let certificate = CertificateDer::from_pem_slice(&file("redis.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_slice(&file("redis-key.pem")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let config = Arc::new(config);
        Self::serve(behaviour, move |socket, answer| {
            let connection = ServerConnection::new(config.clone()).unwrap();
            let mut stream = StreamOwned::new(connection, socket);
            answer(&mut stream);
            stream.conn.send_close_notify();
            stream.flush().ok();
        })
    }

    fn serve(
        behaviour: Behaviour,
        serve: impl Fn(TcpStream, &dyn Fn(&mut dyn ReadWrite)) + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let behaviour = Arc::new(Mutex::new(behaviour));
        let requests = Arc::<AtomicUsize>::default();
        let (shared, counter) = (behaviour.clone(), requests.clone());
        thread::spawn(move || {
            let mut silent = Vec::new();
            for socket in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::SeqCst);
                let behaviour = shared.lock().unwrap().clone();
                match behaviour {
                    Behaviour::Hang => silent.push(socket),
                    Behaviour::Close => drop(socket),
                    Behaviour::Answer(head, body) => serve(socket, &|stream| {
                        let mut request = [0; 4096];
                        let read = stream.read(&mut request).unwrap_or(0);
                        if read == 0 {
                            return;
                        }
                        assert!(request[..read].starts_with(b"GET /keys"), "another request");
                        let length = body.len();
                        let head = format!(
                            "{head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                        );
                        stream.write_all(head.as_bytes()).ok();
                        stream.write_all(&body).ok();
                    }),
                }
            }
        });
        Self {
            addr,
            behaviour,
            requests,
        }
    }

    fn now(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    fn url(&self) -> String {
        format!("http://{}/keys", self.addr)
    }

    /// A hub that trusts the keys of this server.
    fn hub(&self) -> MercureHub {
        self.hub_with(|_| ())
    }

    fn hub_with(&self, change: impl FnOnce(&mut Config)) -> MercureHub {
        let keys = KeySource::JwksUrl(self.url().parse().unwrap());
        MercureHub::with(|config| {
            config.auth.issuers = vec![IssuerConfig::new(ISSUER.to_owned(), keys)];
            change(config);
        })
    }
}

trait ReadWrite: std::io::Read + std::io::Write {}

impl<T: std::io::Read + std::io::Write> ReadWrite for T {}

const KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys");

fn signing_key(name: &str) -> EncodingKey {
    let file = std::fs::read(format!("{KEYS}/{name}.pem")).unwrap();
    let key = EncodingKey::from_ec_pem(&file);
    key.or_else(|_| EncodingKey::from_rsa_pem(&file)).unwrap()
}

/// A public key, with its name as its id.
fn jwk(name: &str) -> Value {
    let algorithm = match name {
        "rsa2048" => Algorithm::RS256,
        _ => Algorithm::ES256,
    };
    let jwk = Jwk::from_encoding_key(&signing_key(name), algorithm).unwrap();
    let mut jwk = serde_json::to_value(jwk).unwrap();
    jwk["kid"] = json!(name);
    jwk
}

/// Answers with a set of these keys, each with its name as its id.
fn set(keys: &[&str]) -> Behaviour {
    let keys: Vec<Value> = keys.iter().map(|name| jwk(name)).collect();
    ok(json!({ "keys": keys }).to_string().as_bytes())
}

fn ok(body: &[u8]) -> Behaviour {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: max-age=600";
    Behaviour::Answer(head.to_owned(), body.to_vec())
}

fn redirect(location: &str) -> Behaviour {
    Behaviour::Answer(
        format!("HTTP/1.1 302 Found\r\nLocation: {location}"),
        Vec::new(),
    )
}

/// A token that allows everything, signed with a key that has its name as its id.
fn token(key: &str) -> String {
    token_with_id(key, Some(key))
}

fn token_with_id(key: &str, id: Option<&str>) -> String {
    let claims = json!({
        "iss": ISSUER,
        "aud": HUB,
        "exp": now() as u64 + 3600,
        "authorization_details": [detail(&["publish", "subscribe"], json!([{ "match": "*" }]))],
    });
    let mut header = Header::new(Algorithm::ES256);
    header.typ = Some("at+jwt".to_owned());
    header.kid = id.map(str::to_owned);
    encode(&header, &claims, &signing_key(key)).unwrap()
}

fn publish(hub: &MercureHub, token: &str) -> Answer {
    hub.ask("POST", PATH, &bearer(token), "topic=a&data=x")
}

fn metric(hub: &MercureHub, name: &str) -> Option<f64> {
    let metrics = get(hub.addr(), "/metrics").body;
    let line = metrics.lines().find(|line| line.starts_with(name))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn a_rotated_key_is_trusted_at_its_first_token_and_the_old_one_is_not() {
    let server = KeyServer::start(set(&["p256"]));
    let hub = server.hub();
    assert_eq!(publish(&hub, &token("p256")).status(), 200);
    // Without an id, every key of the set is tried.
    assert_eq!(publish(&hub, &token_with_id("p256", None)).status(), 200);
    assert_eq!(
        publish(&hub, &token_with_id("p256-other", None)).status(),
        401
    );
    assert_eq!(server.requests(), 1);
    let mut stream = hub.subscribe_with("match=b", &token("p256"));
    let mut unaffected = hub.subscribe("match=b");

    server.now(set(&["p256-other"]));
    assert_eq!(publish(&hub, &token("p256-other")).status(), 200);

    assert_eq!(server.requests(), 2);
    assert_eq!(publish(&hub, &token("p256")).status(), 401);
    let rest = std::iter::from_fn(|| stream.try_event().ok().flatten());
    assert_eq!(rest.count(), 0, "the stream of the old key ends");
    hub.ask(
        "POST",
        PATH,
        &bearer(&token("p256-other")),
        "topic=b&data=x",
    );
    assert_eq!(unaffected.event().unwrap().data, "x");
    let url = format!("url=\"{}\"", server.url());
    let successes = format!("broadcaster_key_set_fetches_total{{{url},result=\"success\"}}");
    assert!(metric(&hub, &successes).unwrap() >= 2.0);
    let age = format!("broadcaster_key_set_age_seconds{{{url}}}");
    assert!(metric(&hub, &age).unwrap() < 60.0);
}

#[test]
fn unknown_keys_cause_few_requests() {
    let server = KeyServer::start(set(&["p256"]));
    let hub = server.hub();
    assert_eq!(publish(&hub, &token("p256")).status(), 200);
    let begin = Instant::now();

    let asking: Vec<_> = (0..20)
        .map(|n| {
            let (addr, token) = (
                hub.addr(),
                token_with_id("p256-other", Some(&format!("{n}"))),
            );
            thread::spawn(move || {
                let headers = bearer(&token);
                crate::support::client::request(addr, "POST", PATH, &headers).status()
            })
        })
        .collect();
    for asked in asking {
        assert_eq!(asked.join().unwrap(), 401);
    }

    assert!(begin.elapsed() < Duration::from_secs(10));
    assert!(server.requests() <= 3, "{}", server.requests());
    assert_eq!(publish(&hub, &token("p256")).status(), 200);
}

/// Checks that a bad answer to the second request leaves the keys of the first one trusted.
fn check_bad_answer(behaviour: Behaviour) {
    let server = KeyServer::start(set(&["p256"]));
    let hub = server.hub();
    assert_eq!(publish(&hub, &token("p256")).status(), 200);
    let failures = format!(
        "broadcaster_key_set_fetches_total{{url=\"{}\",result=\"failure\"}}",
        server.url()
    );

    server.now(behaviour);
    assert_eq!(publish(&hub, &token("p256-other")).status(), 401);
    eventually("a failed fetch", || {
        (metric(&hub, &failures)? >= 1.0).then_some(())
    });
    assert_eq!(publish(&hub, &token("p256")).status(), 200);
    server.now(set(&["p256-other"]));
    assert_eq!(publish(&hub, &token("p256-other")).status(), 200);
}

#[test]
fn the_last_good_keys_stay_whatever_the_server_answers() {
    let secret = json!({ "keys": [{ "kty": "oct", "k": "A".repeat(64), "kid": "p256-other" }] });
    let other = KeyServer::start(set(&["p256-other"]));
    let checks = [
        ok(b"<html>Sign in</html>"),
        ok(br#"{"keys":[]}"#),
        ok(br#"{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA","kid":"p256-other"}]}"#),
        ok(secret.to_string().as_bytes()),
        ok(&vec![b' '; 10 << 20]),
        Behaviour::Answer("HTTP/1.1 500 Oops".to_owned(), Vec::new()),
        Behaviour::Answer("HTTP/1.1 304 Not Modified".to_owned(), Vec::new()),
        Behaviour::Close,
        redirect(&other.url()),
        redirect("https://evil.example/keys"),
        redirect("/keys/again"),
        Behaviour::Answer("not HTTP".to_owned(), Vec::new()),
        Behaviour::Hang,
    ]
    .map(|behaviour| thread::spawn(|| check_bad_answer(behaviour)));
    for check in checks {
        check.join().unwrap();
    }
    assert_eq!(
        other.requests(),
        0,
        "a redirect to another origin was followed"
    );
}

#[test]
fn a_redirect_within_the_server_is_followed() {
    let server = KeyServer::start(redirect("/keys/there"));
    let hub = server.hub();
    eventually("a redirect", || (server.requests() >= 2).then_some(()));
    server.now(set(&["p256"]));

    eventually("keys", || {
        (publish(&hub, &token("p256")).status() == 200).then_some(())
    });
}

#[test]
fn until_the_first_keys_are_fetched_tokens_are_told_to_wait() {
    let server = KeyServer::start(Behaviour::Close);
    let hub = server.hub();
    let token = token("p256");

    let refused = publish(&hub, &token);
    refused.assert_refuses(503, "");
    assert_eq!(refused.header("retry-after"), Some("1"));
    let query = hub.ask("QUERY", PATH, &bearer(&token), "match=a");
    assert_eq!(query.status(), 503);
    // An `EventSource` would never reconnect after an error status.
    let mut stream = hub.subscribe_with("match=a", &token);
    assert!(stream.block().unwrap().starts_with("retry: "));
    assert_eq!(stream.event(), None);
    assert_eq!(publish(&hub, "a.b.c").status(), 401);
    let rejections = "broadcaster_rejections_total{reason=\"keys\"}";
    assert_eq!(metric(&hub, rejections), Some(1.0));

    server.now(set(&["p256"]));
    eventually("keys", || {
        (publish(&hub, &token).status() == 200).then_some(())
    });
}

#[test]
fn the_keys_are_fetched_over_https_and_an_untrusted_server_is_refused() {
    let server = KeyServer::start_with_tls(set(&["p256"]));
    let config = format!(
        "[ticker]\nenabled = false\n[[auth.issuers]]\nissuer = '{ISSUER}'\njwks_url = 'https://{}/keys'\n",
        server.addr
    );
    let start = |trusted: Option<&str>| {
        let folder = folder_with(&config);
        let mut command = command(folder.path(), &["--bind", "127.0.0.1:0"]);
        command.env("BROADCASTER__HUB__URL", HUB);
        if let Some(file) = trusted {
            command.env("SSL_CERT_FILE", format!("{KEYS}/{file}"));
        }
        (Process::spawn(command), folder)
    };
    let subscribe = |process: &Process| {
        let target = format!("{PATH}?match=a");
        let headers = bearer(&token("p256"));
        Stream::request(process.addr(), &target, headers.as_bytes())
    };

    let (trusting, _folder) = start(Some("redis-ca.pem"));
    trusting.wait_for_log("fetched keys from https://127.0.0.1");
    assert!(subscribe(&trusting).checkpoint().is_some());
    let (other, _folder) = start(None);
    other.wait_for_log("cannot be fetched: ");
    assert!(
        other
            .stderr()
            .contains("no token of their issuers can be verified until they can")
    );
}

#[test]
fn an_issuer_whose_last_key_leaves_a_shared_set_trusts_it_no_longer() {
    let server = KeyServer::start(set(&["p256", "rsa2048"]));
    let keys = || KeySource::JwksUrl(server.url().parse().unwrap());
    let hub = server.hub_with(|config| {
        let mut rsa = IssuerConfig::new("https://rsa.example".to_owned(), keys());
        rsa.algorithms = Some(vec![Algorithm::RS256]);
        let mut ec = IssuerConfig::new(ISSUER.to_owned(), keys());
        ec.algorithms = Some(vec![Algorithm::ES256]);
        config.auth.issuers = vec![rsa, ec];
    });
    let old = token("p256");
    assert_eq!(publish(&hub, &old).status(), 200);

    server.now(set(&["rsa2048"]));
    assert_eq!(publish(&hub, &token("p256-other")).status(), 401);

    assert_eq!(publish(&hub, &old).status(), 401);
}

#[test]
fn keys_that_cannot_be_read_are_skipped_and_their_number_is_limited() {
    let bad = json!({ "kty": "EC", "crv": "P-256", "kid": 5, "x5c": "text" });
    let good = jwk("p256");
    let some = json!({ "keys": [bad, "no object", { "kty": "of the future" }, good] });
    let server = KeyServer::start(ok(some.to_string().as_bytes()));
    let hub = server.hub();
    assert_eq!(publish(&hub, &token("p256")).status(), 200);

    let many = json!({ "keys": vec![jwk("p256-other"); 101] });
    server.now(ok(many.to_string().as_bytes()));
    assert_eq!(publish(&hub, &token("p256-other")).status(), 401);
    assert_eq!(publish(&hub, &token("p256")).status(), 200);
}

#[test]
fn keys_on_this_machine_are_never_fetched_through_a_proxy() {
    let server = KeyServer::start(set(&["p256"]));
    let proxy = KeyServer::start(Behaviour::Close);
    let config = format!(
        "[ticker]\nenabled = false\n[[auth.issuers]]\nissuer = '{ISSUER}'\njwks_url = '{}?key=c4n4ry'\n",
        server.url()
    );
    let folder = folder_with(&config);
    let mut command = command(folder.path(), &["--bind", "127.0.0.1:0"]);
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env(name, format!("http://{}", proxy.addr));
    }
    command.env_remove("NO_PROXY").env_remove("no_proxy");
    let process = Process::spawn(command);

    process.wait_for_log(&format!(
        "fetched keys from {}: 1 are trusted",
        server.url()
    ));

    assert_eq!(proxy.requests(), 0);
    assert!(!process.stderr().contains("c4n4ry"), "the query in the log");
}
