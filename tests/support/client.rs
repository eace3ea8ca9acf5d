//! An HTTP client and an event stream reader for the tests. They use none of the server's code, so that they
//! see the exact bytes on the wire.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use super::BOUND;

pub struct Response {
    /// The status line and the headers, in lower case.
    pub head: String,
    pub body: String,
}

impl Response {
    pub fn status(&self) -> u16 {
        code(&self.head)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

pub fn connect(addr: SocketAddr) -> TcpStream {
    try_connect(addr).unwrap()
}

/// Like [`connect`], but returns an error if the server is down.
pub fn try_connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&addr, BOUND)?;
    socket.set_read_timeout(Some(BOUND))?;
    socket.set_write_timeout(Some(BOUND))?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// Connects with a receive buffer of 4 KiB, so that the server's writes soon block if the test does not read.
pub fn connect_small(addr: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&addr.into()).unwrap();
    socket.set_read_timeout(Some(BOUND)).unwrap();
    socket.into()
}

/// Returns the document of `/status`.
pub fn status(addr: SocketAddr) -> Value {
    serde_json::from_str(&get(addr, "/status").body).unwrap()
}

/// Sends one request on a new connection, and reads until the server closes the connection.
pub fn request(addr: SocketAddr, method: &str, target: &str, headers: &str) -> Response {
    let mut socket = connect(addr);
    write!(
        socket,
        "{method} {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n"
    )
    .unwrap();
    let mut all = Vec::new();
    socket.read_to_end(&mut all).unwrap();
    let all = String::from_utf8(all).unwrap();
    let (head, body) = all.split_once("\r\n\r\n").expect("a complete head");
    Response {
        head: head.to_ascii_lowercase(),
        body: body.to_owned(),
    }
}

pub fn get(addr: SocketAddr, target: &str) -> Response {
    request(addr, "GET", target, "")
}

/// Posts a form on a new connection, with a bearer token if one is given.
pub fn post(addr: SocketAddr, target: &str, token: Option<&str>, form: &str) -> Response {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let headers = format!(
        "{}Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        authorization.unwrap_or_default(),
        form.len()
    );
    request(addr, "POST", target, &headers)
}

/// The fields of one event in a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SseEvent {
    pub id: Option<String>,
    pub name: Option<String>,
    pub data: String,
    /// The fields `topic`, which a subscriber receives that asks for them.
    pub topics: Vec<String>,
}

impl SseEvent {
    /// The index of this event in its epoch. The first event has index 0 and seq 1.
    pub fn index(&self) -> u64 {
        let id = self.id.as_deref().expect("an event with an id");
        let seq = id.rsplit_once('-').unwrap().1;
        seq.parse::<u64>().unwrap() - 1
    }

    fn is_checkpoint(&self) -> bool {
        self.name.as_deref() == Some("checkpoint")
    }

    /// Returns the data of a `gap` event. Panics if this is another event.
    pub fn gap(&self) -> Value {
        assert_eq!(self.name.as_deref(), Some("gap"), "{self:?}");
        serde_json::from_str(&self.data).unwrap()
    }
}

/// An open event stream.
pub struct Stream {
    pub head: String,
    reader: BufReader<TcpStream>,
    /// Bytes of the body that were read but not returned yet.
    pending: Vec<u8>,
}

impl Stream {
    pub fn open(addr: SocketAddr) -> Self {
        Self::resume(addr, None)
    }

    pub fn resume(addr: SocketAddr, last_event_id: Option<&str>) -> Self {
        let header = last_event_id.map(|id| format!("Last-Event-ID: {id}\r\n"));
        Self::request(addr, "/events/sse", header.unwrap_or_default().as_bytes())
    }

    pub fn request(addr: SocketAddr, target: &str, headers: &[u8]) -> Self {
        Self::request_on(connect(addr), target, headers)
    }

    pub fn request_on(mut socket: TcpStream, target: &str, headers: &[u8]) -> Self {
        let mut request = format!("GET {target} HTTP/1.1\r\nHost: test\r\n").into_bytes();
        request.extend_from_slice(headers);
        socket.write_all(&request).unwrap();
        Self::finish_request(socket)
    }

    /// Sends these bytes as the request, and reads the head of the response.
    pub fn sent(addr: SocketAddr, request: &[u8]) -> Self {
        let mut socket = connect(addr);
        socket.write_all(request).unwrap();
        Self::answer_on(socket)
    }

    /// Sends the empty line that ends a request head, and reads the head of the response.
    pub fn finish_request(mut socket: TcpStream) -> Self {
        socket.write_all(b"\r\n").unwrap();
        Self::answer_on(socket)
    }

    /// Resumes a stream. Returns an error if the server is down or dies.
    pub fn try_resume(addr: SocketAddr, target: &str, last_event_id: &str) -> io::Result<Self> {
        let mut socket = try_connect(addr)?;
        write!(
            socket,
            "GET {target} HTTP/1.1\r\nHost: test\r\nLast-Event-ID: {last_event_id}\r\n\r\n"
        )?;
        Self::try_answer_on(socket)
    }

    /// Reads the head of the response to a request that was already sent.
    pub fn answer_on(socket: TcpStream) -> Self {
        Self::try_answer_on(socket).unwrap()
    }

    fn try_answer_on(socket: TcpStream) -> io::Result<Self> {
        let mut reader = BufReader::new(socket);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                let within = format!("the connection ended within the head: {head:?}");
                return Err(io::Error::other(within));
            }
        }
        Ok(Self {
            head: head.to_ascii_lowercase(),
            reader,
            pending: Vec::new(),
        })
    }

    pub fn status(&self) -> u16 {
        code(&self.head)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    pub fn socket(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    /// Returns the next chunk of the body, or the whole body if the response has a `Content-Length`. `None`
    /// at the end of the body.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        self.try_chunk().unwrap()
    }

    fn try_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        if let Some(length) = self.header("content-length") {
            let mut body = vec![0; length.parse().unwrap()];
            self.reader.read_exact(&mut body)?;
            self.head = self.head.replace("content-length", "content-length-read");
            return Ok(Some(body));
        }
        if self.header("content-length-read").is_some() {
            return Ok(None);
        }
        let mut size = String::new();
        self.reader.read_line(&mut size)?;
        let size = usize::from_str_radix(size.trim_end(), 16)
            .map_err(|_| io::Error::other(format!("a chunk's size, not {size:?}")))?;
        let mut chunk = vec![0; size + 2];
        self.reader.read_exact(&mut chunk)?;
        assert_eq!(&chunk[size..], b"\r\n");
        chunk.truncate(size);
        Ok((size > 0).then_some(chunk))
    }

    /// Returns the next block of the stream, with its empty line. `None` if the server ended the stream.
    pub fn block(&mut self) -> Option<String> {
        self.try_block().unwrap()
    }

    fn try_block(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(end) = self.pending.windows(2).position(|pair| pair == b"\n\n") {
                let rest = self.pending.split_off(end + 2);
                let block = std::mem::replace(&mut self.pending, rest);
                return Ok(Some(String::from_utf8(block).unwrap()));
            }
            let Some(chunk) = self.try_chunk()? else {
                assert!(self.pending.is_empty(), "an unfinished block at the end");
                return Ok(None);
            };
            self.pending.extend(chunk);
        }
    }

    /// Returns the next event, and skips comments and checkpoints. `None` if the server ended the stream.
    pub fn event(&mut self) -> Option<SseEvent> {
        self.try_event().unwrap()
    }

    /// Like [`event`](Self::event), but returns an error if the server dies.
    pub fn try_event(&mut self) -> io::Result<Option<SseEvent>> {
        loop {
            let event = self.try_event_or_checkpoint()?;
            if event.as_ref().is_none_or(|event| !event.is_checkpoint()) {
                return Ok(event);
            }
        }
    }

    /// Returns the id of the next event, or `None` if it has no id. Panics if that event is not a checkpoint.
    pub fn checkpoint(&mut self) -> Option<String> {
        let event = self.try_event_or_checkpoint().unwrap();
        let event = event.expect("the stream continues");
        assert!(event.is_checkpoint() && event.data == "{}", "{event:?}");
        event.id
    }

    /// Returns the next event or checkpoint. Panics if the server ended the stream.
    pub fn event_or_checkpoint(&mut self) -> SseEvent {
        let event = self.try_event_or_checkpoint().unwrap();
        event.expect("the stream continues")
    }

    /// Returns the next event or checkpoint. Asserts that each block has data, because some clients deliver
    /// even blocks without data, which browsers ignore.
    fn try_event_or_checkpoint(&mut self) -> io::Result<Option<SseEvent>> {
        let Some(block) = self.try_block()? else {
            return Ok(None);
        };
        let mut event = SseEvent::default();
        let mut data: Vec<&str> = Vec::new();
        for line in block.lines() {
            match line.split_once(": ") {
                Some(("id", id)) => event.id = Some(id.to_owned()),
                Some(("topic", topic)) => event.topics.push(topic.to_owned()),
                Some(("event", name)) => event.name = Some(name.to_owned()),
                Some(("data", text)) => data.push(text),
                _ => {}
            }
        }
        assert!(!data.is_empty(), "a block without data: {block:?}");
        event.data = data.join("\n");
        Ok(Some(event))
    }

    /// Returns the [`index`](SseEvent::index) of each of the next `count` events. Panics on a gap.
    pub fn numbers(&mut self, count: usize) -> Vec<u64> {
        (0..count)
            .map(|_| {
                let event = self.event().expect("the stream continues");
                assert_eq!(event.name, None, "{event:?}");
                event.index()
            })
            .collect()
    }

    /// Asserts that the server ends the stream and closes the connection, without another event.
    pub fn assert_ends(mut self) {
        assert_eq!(self.event(), None);
        self.assert_closed();
    }

    /// Asserts that the server closes the connection after the last chunk.
    pub fn assert_closed(&mut self) {
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty(), "after the last chunk: {rest:?}");
    }
}

fn code(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}
