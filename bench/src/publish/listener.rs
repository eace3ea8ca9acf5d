//! One subscriber that receives the events on all topics, and checks the order on each topic.

use std::{
    io::{self, Read as _},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{anyhow, ensure};

use super::publishers::MAX_EVENTS_PER_TOPIC;
use crate::load::{Order, Request, Scan, check_head};

const BUFFER: usize = 256 * 1024;

/// Time limit of a read. After each read, the thread checks whether it must end.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

pub(super) struct Listener {
    topics: usize,
    shared: Arc<Shared>,
    thread: JoinHandle<anyhow::Result<Vec<Order>>>,
}

#[derive(Debug, Default)]
struct Shared {
    deliveries: AtomicU64,
    leave: AtomicBool,
}

impl Listener {
    /// Subscribes, and reads the stream on a separate thread.
    pub(super) fn start(request: &Request, topics: usize) -> anyhow::Result<Self> {
        let mut socket = request.send(0, None)?;
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut first = [0; 4096];
        let length = socket.read(&mut first)?;
        check_head(&first[..length])?;
        socket.set_read_timeout(Some(POLL_INTERVAL))?;
        let shared = Arc::new(Shared::default());
        let thread_shared = shared.clone();
        let thread = std::thread::spawn(move || read(&socket, &thread_shared, topics));
        Ok(Self {
            topics,
            shared,
            thread,
        })
    }

    pub(super) fn deliveries(&self) -> u64 {
        self.shared.deliveries.load(Relaxed)
    }

    /// Waits until `on_each` events have arrived on each topic, and disconnects. Returns how many events were
    /// lost and how many were duplicated.
    pub(super) fn leave(self, on_each: u64, timeout: Duration) -> anyhow::Result<(u64, u64)> {
        let all = on_each * self.topics as u64;
        let until = Instant::now() + timeout;
        while self.deliveries() < all && Instant::now() < until && !self.thread.is_finished() {
            std::thread::sleep(POLL_INTERVAL);
        }
        self.shared.leave.store(true, Relaxed);
        let orders = self.thread.join();
        let orders = orders.map_err(|_| anyhow!("the listener panicked"))??;
        let lost = |order: &Order| order.lost + on_each.saturating_sub(order.next.unwrap_or(0));
        Ok((
            orders.iter().map(lost).sum(),
            orders.iter().map(|order| order.duplicated).sum(),
        ))
    }
}

fn read(mut socket: &TcpStream, shared: &Shared, topics: usize) -> anyhow::Result<Vec<Order>> {
    let mut buffer = vec![0; BUFFER];
    let mut scan = Scan::default();
    let first = Order {
        next: Some(0),
        ..Order::default()
    };
    let mut orders = vec![first; topics];
    let mut deliveries = 0;
    while !shared.leave.load(Relaxed) {
        let length = match socket.read(&mut buffer) {
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => continue,
            length => length?,
        };
        ensure!(length > 0, "the stream ended");
        scan.read(&buffer[..length], |number| {
            if let Some(order) = orders.get_mut((number / MAX_EVENTS_PER_TOPIC) as usize) {
                deliveries += u64::from(order.take(number % MAX_EVENTS_PER_TOPIC));
            }
        });
        shared.deliveries.store(deliveries, Relaxed);
    }
    Ok(orders)
}
