//! The bare writer, with which servers are compared: one thread makes one `write` for each subscriber and
//! message, and nothing else. It is not a real server, because every request opens the stream.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use super::Serve;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                      cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";

/// Serves until the process ends.
pub(crate) fn serve(serve: &Serve) -> anyhow::Result<()> {
    let interval = Duration::from_millis(serve.interval);
    let listener = listen(serve.addr)?;
    println!("listening on http://{}/", listener.local_addr()?);
    let (accepted, newcomers) = mpsc::channel();
    std::thread::spawn(move || accept(&listener, &accepted));
    let mut subscribers: Vec<TcpStream> = Vec::new();
    let mut due = Instant::now() + interval;
    for number in 0_u64.. {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due += interval;
        subscribers.extend(newcomers.try_iter());
        let event = format!("id: #1763856000000-{number}\ndata: Message number: {number}\n\n");
        let chunk = format!("{:X}\r\n{event}\r\n", event.len());
        // A subscriber whose socket is full loses the message. Keeping the message for later would require
        // more than one write.
        subscribers.retain_mut(|socket| match socket.write(chunk.as_bytes()) {
            Ok(_) => true,
            Err(err) => err.kind() == ErrorKind::WouldBlock,
        });
    }
    Ok(())
}

/// Like the standard library's `bind`, but with a longer accept queue.
fn listen(addr: SocketAddr) -> anyhow::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

fn accept(listener: &TcpListener, accepted: &mpsc::Sender<TcpStream>) -> anyhow::Result<()> {
    for socket in listener.incoming() {
        let mut socket = socket?;
        let mut request = [0; 4096];
        // The load sends its short request immediately, so one read is enough.
        if socket.read(&mut request)? == 0 {
            continue;
        }
        socket.write_all(HEAD)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        accepted.send(socket)?;
    }
    Ok(())
}
