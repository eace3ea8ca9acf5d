//! Random bytes and mixed requests against the parser.

use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
    thread,
    time::Duration,
};

use serde_json::json;

use super::{Attack, assert_unharmed};
use crate::support::{
    client::{Stream, try_connect},
    mercure::{Client, HUB, HubProcess, PATH, bearer, form, grant, token_for},
};

const ATTACKERS: u64 = 4;

/// Pieces that random requests consist of.
const PIECES: &[&[u8]] = &[
    b"GET ",
    b"POST ",
    b"QUERY ",
    b"HEAD ",
    b"OPTIONS ",
    b"CONNECT ",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"/",
    b"/events/sse",
    b"/.well-known/mercure",
    b"/.well-known/mercure?match=a",
    b"/healthz",
    b"/.well-known/mercure/subscriptions",
    b"/%2e%2e/%2e%2e/etc/passwd",
    b"http://[::1",
    b"*",
    b"//x",
    b"?last_event_id=",
    b"?lastEventID=%23",
    b"&match_urlpattern=/:",
    b"&match=*",
    b"?topic={+x}",
    b" HTTP/1.1\r\n",
    b" HTTP/1.0\r\n",
    b" HTTP/9.9\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\0",
    b"Host: x\r\n",
    b"Host: x\r\nHost: y\r\n",
    b"Content-Length: 7\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 18446744073709551616\r\n",
    b"Content-Length: -1\r\n",
    b"Content-Length: 7, 8\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: x\r\n",
    b"Content-Type: application/x-www-form-urlencoded\r\n",
    b"Connection: close\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
    b"Expect: 100-continue\r\n",
    b"Last-Event-ID: #1600000000000-4\r\n",
    b"Last-Event-ID: \xff\xfe\r\n",
    b"Accept: text/event-stream\r\n",
    b"Accept: application/json\r\n",
    b"Accept-Encoding: gzip;q=nan\r\n",
    b"Cookie: a=b; ;;=\r\n",
    b"Authorization: Bearer x\r\n",
    b"Authorization: Basic eA==\r\n",
    b"Origin: null\r\n",
    b"X: \xc3\x28\r\n",
    b" folded: x\r\n",
    b"X : y\r\n",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"5;a=b\r\nhello\r\n0\r\nT: x\r\n\r\n",
    b"FFFFFFFFFFFFFFFF\r\n",
    b"-1\r\n",
    b"topic=a",
    b"topic=a&data=x",
    b"&data=%",
    b"&data=%zz",
    b"&id=%23x",
    b"match=a",
    b"&private=on",
    b"match_urlpattern=%28%5ba-z%5d%7b300%7d%29",
    b"&type=gap",
    b"&retry=1e9",
];

/// Bytes that may look like requests.
fn bytes(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.usize(1..40) {
        match random.u8(0..12) {
            0 => {
                let raw = std::iter::repeat_with(|| random.u8(..));
                bytes.extend(raw.take(8).collect::<Vec<_>>());
            }
            1 => bytes.extend(vec![*random.choice(b"ax/%& \r\n").unwrap(); 1000]),
            _ => bytes.extend_from_slice(random.choice(PIECES).unwrap()),
        }
    }
    bytes
}

/// Sends random bytes in several parts, reads some of the response, and disconnects. Returns how many
/// responses began.
fn attack(addr: SocketAddr, random: &mut fastrand::Rng) -> usize {
    let Ok(mut socket) = try_connect(addr) else {
        return 0;
    };
    socket
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    let bytes = bytes(random);
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let (part, behind) = rest.split_at(random.usize(1..=rest.len()));
        if socket.write_all(part).is_err() {
            break;
        }
        rest = behind;
    }
    if random.bool() {
        socket.shutdown(std::net::Shutdown::Write).ok();
    }
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    while said.len() < 1 << 16 {
        match socket.read(&mut buffer) {
            Ok(read) if read > 0 => said.extend_from_slice(&buffer[..read]),
            _ => break,
        }
    }
    said.windows(9).filter(|part| part == b"HTTP/1.1 ").count()
}

#[test]
fn random_requests_never_stop_the_server_or_lose_acknowledged_events() {
    let attack_time = Attack::begin("raw and mixed requests");
    let victim =
        HubProcess::start("[server]\nrequest_timeout = '1s'\n[stream]\nhistory = 1000000\n");
    let addr = victim.addr();
    let token = token_for(HUB, json!([grant("publish", &["*"])]));
    let headers = bearer(&token);

    let (responses, ids) = thread::scope(|scope| {
        let attackers = (0..ATTACKERS).map(|attacker| {
            let mut random = attack_time.random(attacker);
            let time = &attack_time;
            scope.spawn(move || {
                let mut responses = 0;
                let mut connections = 0;
                while !time.is_over() {
                    responses += attack(addr, &mut random);
                    connections += 1;
                }
                (connections, responses)
            })
        });
        let attackers: Vec<_> = attackers.collect();
        // Meanwhile, a publisher and a subscriber work as usual.
        let mut stream = Stream::request(addr, &format!("{PATH}?match=mark"), b"");
        let mut publisher = Client::connect(addr);
        let mut ids = Vec::new();
        while !attack_time.is_over() {
            let update = form(&[("topic", "mark"), ("data", &ids.len().to_string())]);
            let answer = publisher.post(&headers, &update);
            assert_eq!(answer.status(), 200, "{answer:?}");
            let event = stream.event().unwrap();
            assert_eq!(event.data, ids.len().to_string());
            assert_eq!(event.id.as_ref(), Some(&answer.body));
            ids.push(answer.body);
        }
        let done = attackers
            .into_iter()
            .map(|attacker| attacker.join().unwrap());
        (done.collect::<Vec<_>>(), ids)
    });

    let connections: usize = responses.iter().map(|(connections, _)| connections).sum();
    let responses: usize = responses.iter().map(|(_, responses)| responses).sum();
    println!(
        "{connections} connections, {responses} responses, {} updates meanwhile",
        ids.len()
    );
    assert!(
        connections > 20 && responses > 10,
        "{connections} {responses}"
    );
    assert_unharmed(victim);
}
