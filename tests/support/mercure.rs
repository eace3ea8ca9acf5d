//! A hub that trusts one issuer, tokens of this issuer, and the requests of publishers and subscribers.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use sse_broadcaster::{
    HubUrl,
    config::{Config, IssuerConfig, KeySource},
};
use tempfile::TempDir;

use super::{
    client::{Stream, connect, try_connect},
    process::{Process, command},
    server::{TestServer, quiet},
};

/// The public URL of the hub. Its path is [`PATH`].
pub const HUB: &str = "https://hub.example.com/.well-known/mercure";
pub const PATH: &str = "/.well-known/mercure";
/// The last parameter of every `WWW-Authenticate` challenge.
pub const METADATA: &str = "resource_metadata=\
     \"https://hub.example.com/.well-known/oauth-protected-resource/.well-known/mercure\"";

pub const COOKIE: &str = "__Secure-mercure_access_token";

const ISSUER: &str = "https://example.com";
const SECRET: &str = "a secret of the tests that nobody else may trust";

/// The topic of the marker event. A test publishes it last, to prove that a stream has no other event before
/// it.
pub const MARKER: &str = "urn:marker";

pub struct MercureHub {
    pub server: TestServer,
    /// Holds the secret's file, which the server may read again while it runs.
    _folder: TempDir,
}

impl MercureHub {
    pub fn start() -> Self {
        Self::with(|_| ())
    }

    pub fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        std::fs::write(&secret, SECRET).unwrap();
        let mut config = quiet();
        config.hub.url = Some(HubUrl::parse(HUB).unwrap());
        let keys = KeySource::SecretFile(secret);
        config.auth.issuers = vec![IssuerConfig::new(ISSUER.to_owned(), keys)];
        change(&mut config);
        Self {
            server: TestServer::start(config),
            _folder: folder,
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.server.addr
    }

    /// Returns a publisher that may publish on every topic.
    pub fn publisher(&self) -> Publisher {
        Publisher {
            client: Client::connect(self.addr()),
            token: token(json!([grant("publish", &["*"])])),
        }
    }

    /// Sends one request on a new connection.
    pub fn ask(&self, method: &str, target: &str, headers: &str, body: &str) -> Answer {
        let mut client = Client::connect(self.addr());
        client.send(&request(method, target, headers, body));
        client.answer()
    }

    /// Subscribes without a token.
    pub fn subscribe(&self, query: &str) -> Stream {
        self.open(query, "")
    }

    pub fn subscribe_with(&self, query: &str, token: &str) -> Stream {
        self.open(query, &bearer(token))
    }

    pub fn open(&self, query: &str, headers: &str) -> Stream {
        let stream = Stream::request(self.addr(), &format!("{PATH}?{query}"), headers.as_bytes());
        assert_eq!(stream.status(), 200, "{query}: {}", stream.head);
        stream
    }
}

pub fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// An authorization detail that allows `action` on exactly these topics.
pub fn grant(action: &str, topics: &[&str]) -> Value {
    let topics: Vec<_> = topics
        .iter()
        .map(|topic| json!({ "match": topic }))
        .collect();
    detail(&[action], json!(topics))
}

pub fn detail(actions: &[&str], topics: Value) -> Value {
    json!({
        "type": "https://mercure.rocks/authorization-detail",
        "actions": actions,
        "topics": topics,
    })
}

pub fn now() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs_f64()
}

/// A token with these authorization details, valid for an hour.
pub fn token(details: Value) -> String {
    token_until(now() as u64 + 3600, details)
}

pub fn token_until(exp: u64, details: Value) -> String {
    signed(HUB, exp, details)
}

/// Like [`token`], but for the hub with this URL, and valid for a day.
pub fn token_for(hub: &str, details: Value) -> String {
    signed(hub, now() as u64 + 24 * 3600, details)
}

fn signed(hub: &str, exp: u64, details: Value) -> String {
    let claims = json!({
        "iss": ISSUER,
        "aud": hub,
        "exp": exp,
        "authorization_details": details,
    });
    signed_as("at+jwt", &claims)
}

/// A token of this type (`typ` in its header) with these claims.
pub fn signed_as(typ: &str, claims: &Value) -> String {
    let mut header = Header::new(Algorithm::HS256);
    header.typ = Some(typ.to_owned());
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&header, claims, &key).unwrap()
}

/// A temporary folder with this config. The issuer's secret is beside it, in the file `secret`.
pub fn folder_with(config: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("config")).unwrap();
    std::fs::write(folder.path().join("secret"), SECRET).unwrap();
    std::fs::write(folder.path().join("config/default.toml"), config).unwrap();
    folder
}

/// Encodes fields as a form or a query.
pub fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish()
}

/// A request whose body is a form, unless `headers` has a `Content-Type`.
pub fn request(method: &str, target: &str, headers: &str, body: &str) -> Vec<u8> {
    let content_type = if headers.to_ascii_lowercase().contains("content-type:") {
        ""
    } else {
        "Content-Type: application/x-www-form-urlencoded\r\n"
    };
    format!(
        "{method} {target} HTTP/1.1\r\nHost: test\r\n{content_type}{headers}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Opens a stream with the `QUERY` method, which has its parameters in the body.
pub fn query(hub: &MercureHub, target: &str, headers: &str, body: &str) -> Stream {
    let stream = Stream::sent(hub.addr(), &request("QUERY", target, headers, body));
    assert_eq!(stream.status(), 200, "{target} {body}: {}", stream.head);
    stream
}

/// A response that is not a stream, as sent.
#[derive(Debug)]
pub struct Answer {
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .next()
    }

    /// Asserts that the response is an error with this status and a problem document.
    #[track_caller]
    pub fn assert_refuses(&self, status: u16, of_what: &str) {
        assert_eq!(self.status(), status, "{of_what}: {self:?}");
        let content_type = self.header("content-type");
        assert_eq!(content_type, Some("application/problem+json"), "{of_what}");
        let problem: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(problem["status"], status, "{of_what}");
    }
}

/// The broadcaster binary, running as a hub. Tests can sign tokens for it.
pub struct HubProcess {
    pub process: Process,
    _folder: TempDir,
}

impl HubProcess {
    /// Starts the hub without numbered messages. `more` is appended to its config, whose last section
    /// is `[auth]`.
    pub fn start(more: &str) -> Self {
        let config = format!(
            "[ticker]\nenabled = false\n\
             [auth]\nissuers = [{{ issuer = 'https://example.com', secret_file = 'secret' }}]\n{more}"
        );
        let folder = folder_with(&config);
        let mut command = command(folder.path(), &["--bind", "127.0.0.1:0"]);
        command.env("BROADCASTER__HUB__URL", HUB);
        let process = Process::spawn(command);
        process.addr();
        Self {
            process,
            _folder: folder,
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.process.addr()
    }
}

/// A connection that sends one request after another.
pub struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(addr: SocketAddr) -> Self {
        Self {
            reader: BufReader::new(connect(addr)),
        }
    }

    /// Like [`connect`](Self::connect), but returns an error if the server is down.
    pub fn try_connect(addr: SocketAddr) -> io::Result<Self> {
        let reader = BufReader::new(try_connect(addr)?);
        Ok(Self { reader })
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).unwrap();
    }

    /// Whether the first byte of a response has arrived.
    pub fn has_answer(&self) -> bool {
        let socket = self.reader.get_ref();
        socket.set_nonblocking(true).unwrap();
        let peeked = socket.peek(&mut [0]);
        socket.set_nonblocking(false).unwrap();
        peeked.is_ok_and(|read| read > 0)
    }

    /// Reads the next response, which must not be a stream.
    pub fn answer(&mut self) -> Answer {
        self.try_answer().unwrap()
    }

    /// Like [`answer`](Self::answer), but returns an error if the server dies.
    pub fn try_answer(&mut self) -> io::Result<Answer> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.reader.read_line(&mut head)? == 0 {
                let within = format!("the connection ended within the head: {head:?}");
                return Err(io::Error::other(within));
            }
        }
        let mut answer = Answer {
            head,
            body: String::new(),
        };
        let length = answer.header("content-length");
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.reader.read_exact(&mut body)?;
        answer.body = String::from_utf8(body).unwrap();
        Ok(answer)
    }

    /// Asserts that the server closes the connection without sending anything more.
    pub fn assert_closed(&mut self) {
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty(), "{rest:?}");
    }

    pub fn post(&mut self, headers: &str, body: &str) -> Answer {
        self.send(&request("POST", PATH, headers, body));
        self.answer()
    }

    /// Like [`post`](Self::post), but returns an error if the server dies.
    pub fn try_post(&mut self, headers: &str, body: &str) -> io::Result<Answer> {
        let request = request("POST", PATH, headers, body);
        self.reader.get_mut().write_all(&request)?;
        self.try_answer()
    }
}

pub struct Publisher {
    client: Client,
    token: String,
}

impl Publisher {
    /// Sends this form unchanged.
    pub fn post(&mut self, form: &str) -> Answer {
        self.client.post(&bearer(&self.token), form)
    }

    /// Sends this body with these headers in addition to the token.
    pub fn post_with(&mut self, headers: &str, body: &str) -> Answer {
        let headers = format!("{}{headers}", bearer(&self.token));
        self.client.post(&headers, body)
    }

    /// Publishes an event and returns its id.
    #[track_caller]
    pub fn publish(&mut self, form: &str) -> String {
        let answer = self.post(form);
        assert_eq!(answer.status(), 200, "{form}: {answer:?}");
        answer.body
    }

    /// Publishes on a topic, with the topic as data.
    #[track_caller]
    pub fn publish_on(&mut self, topic: &str) -> String {
        self.publish(&form(&[("topic", topic), ("data", topic)]))
    }

    /// Publishes the marker event, see [`MARKER`].
    pub fn mark(&mut self) {
        self.publish_on(MARKER);
    }
}

/// Returns the data of the events before the marker event. Panics on a gap.
pub fn until_marker(stream: &mut Stream) -> Vec<String> {
    let mut got = Vec::new();
    loop {
        let event = stream.event().expect("the stream continues");
        assert_ne!(event.name.as_deref(), Some("gap"), "{event:?}");
        if event.data == MARKER {
            return got;
        }
        got.push(event.data);
    }
}
