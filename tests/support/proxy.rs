//! A TCP proxy that simulates a network failure: data sent while it is cut is delayed, not lost, as with a
//! pulled cable.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

/// How often the copying threads check whether the proxy was dropped.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Listens on a free port and forwards each connection to a target.
pub struct Proxy {
    addr: SocketAddr,
    line: Arc<Line>,
}

struct Line {
    is_cut: Mutex<bool>,
    mended: Condvar,
    /// Delay before each piece (at most 64 KiB) is forwarded.
    delay: Mutex<Duration>,
    is_over: AtomicBool,
}

impl Line {
    /// Waits while the proxy is cut. Returns `false` if the proxy was dropped.
    fn is_open(&self) -> bool {
        let mut is_cut = self.is_cut.lock().unwrap();
        while *is_cut && !self.is_over.load(Relaxed) {
            is_cut = self.mended.wait_timeout(is_cut, POLL_INTERVAL).unwrap().0;
        }
        !self.is_over.load(Relaxed)
    }
}

impl Proxy {
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let line = Arc::new(Line {
            is_cut: Mutex::new(false),
            mended: Condvar::new(),
            delay: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        let accepting = line.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if accepting.is_over.load(Relaxed) {
                    return;
                }
                let line = accepting.clone();
                thread::spawn(move || connect(client, target, &line));
            }
        });
        Self { addr, line }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops forwarding in both directions. Connections stay open.
    pub fn cut(&self) {
        *self.line.is_cut.lock().unwrap() = true;
    }

    /// Forwards the delayed data, and continues.
    pub fn mend(&self) {
        *self.line.is_cut.lock().unwrap() = false;
        self.line.mended.notify_all();
    }

    /// Sets the delay of each piece that is forwarded from now on.
    pub fn delay(&self, delay: Duration) {
        *self.line.delay.lock().unwrap() = delay;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.line.is_over.store(true, Relaxed);
        // Connects to wake the accepting thread, so that it sees `is_over` and ends.
        TcpStream::connect(self.addr).ok();
    }
}

fn connect(client: TcpStream, target: SocketAddr, line: &Arc<Line>) {
    if !line.is_open() {
        return;
    }
    let Ok(server) = TcpStream::connect(target) else {
        return;
    };
    let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let other = line.clone();
    thread::spawn(move || copy(back.0, back.1, &other));
    copy(client, server, line);
}

fn copy(mut from: TcpStream, mut to: TcpStream, line: &Line) {
    from.set_read_timeout(Some(POLL_INTERVAL)).unwrap();
    to.set_nodelay(true).unwrap();
    let mut piece = vec![0; 64 * 1024];
    while line.is_open() {
        match from.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => {
                let delay = *line.delay.lock().unwrap();
                if !delay.is_zero() {
                    thread::sleep(delay);
                }
                if !line.is_open() || to.write_all(&piece[..read]).is_err() {
                    break;
                }
            }
            Err(err) if is_time_out(&err) => {}
            Err(_) => break,
        }
    }
    // If one direction ends, close both connections, so that the other direction ends too.
    from.shutdown(Shutdown::Both).ok();
    to.shutdown(Shutdown::Both).ok();
}

fn is_time_out(err: &io::Error) -> bool {
    matches!(
        err.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
