//! Laggards: subscribers that read too slowly or not at all. They are connected in addition to the
//! subscribers that are measured.

use std::{
    io::{ErrorKind, Read as _},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::anyhow;
use serde::{Deserialize, Serialize};

use super::{
    scan::Scan,
    subscriber::{Order, Request, check_head},
};

/// Size of a laggard's receive buffer, in bytes. With a larger buffer, the server would not notice for
/// minutes that the laggard does not read, because the kernel would accept the data.
const RECEIVE_BUFFER: usize = 4096;
/// Pause between two small reads of a slow subscriber.
const PAUSE: Duration = Duration::from_millis(50);

/// The number of laggards, and their speed.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Laggards {
    /// Additional subscribers that read nothing after the response head
    #[arg(long, default_value_t = 0)]
    pub(crate) stalled: usize,
    /// Additional subscribers that read slowly
    #[arg(long, default_value_t = 0)]
    pub(crate) slow: usize,
    /// Bytes per second that each slow subscriber reads
    #[arg(long, default_value_t = 2048)]
    pub(crate) slow_rate: usize,
}

/// The results of the slow subscribers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LaggardFigures {
    pub(crate) slow_deliveries: u64,
    pub(crate) slow_lost: u64,
    pub(crate) slow_duplicated: u64,
    /// Streams that the server ended.
    pub(crate) slow_closed: usize,
}

struct Slow {
    socket: TcpStream,
    answered: bool,
    scan: Scan,
    order: Order,
}

/// Connected laggards. Dropping this value closes their connections.
pub(super) struct PresentLaggards {
    leave: Arc<AtomicBool>,
    thread: Option<JoinHandle<anyhow::Result<LaggardFigures>>>,
}

impl Laggards {
    /// Connects all laggards. `before` is the number of connections that this process opened earlier.
    pub(super) fn connect(
        self,
        request: &Request,
        before: usize,
    ) -> anyhow::Result<PresentLaggards> {
        let connect = |n: usize| {
            let socket = request.send(before + n, Some(RECEIVE_BUFFER))?;
            anyhow::Ok(socket)
        };
        let stalled = (0..self.stalled)
            .map(connect)
            .collect::<Result<Vec<_>, _>>()?;
        let slow = (self.stalled..self.stalled + self.slow)
            .map(|n| {
                anyhow::Ok(Slow {
                    socket: connect(n)?,
                    answered: false,
                    scan: Scan::default(),
                    order: Order::default(),
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let leave = Arc::new(AtomicBool::new(false));
        let thread_leave = leave.clone();
        let rate = self.slow_rate;
        let thread = std::thread::spawn(move || {
            let figures = lag(slow, rate, &thread_leave);
            drop(stalled);
            figures
        });
        Ok(PresentLaggards {
            leave,
            thread: Some(thread),
        })
    }
}

fn lag(mut readers: Vec<Slow>, rate: usize, leave: &AtomicBool) -> anyhow::Result<LaggardFigures> {
    let mut figures = LaggardFigures::default();
    let mut buffer = vec![0; (rate as f64 * PAUSE.as_secs_f64()).ceil() as usize];
    while !leave.load(Relaxed) {
        for at in (0..readers.len()).rev() {
            if !readers[at].read(&mut buffer)? {
                figures.slow_closed += 1;
                figures.add(readers.swap_remove(at).order);
            }
        }
        std::thread::sleep(PAUSE);
    }
    for reader in readers {
        figures.add(reader.order);
    }
    Ok(figures)
}

impl LaggardFigures {
    fn add(&mut self, order: Order) {
        self.slow_deliveries += order.deliveries;
        self.slow_lost += order.lost;
        self.slow_duplicated += order.duplicated;
    }
}

impl Slow {
    /// Reads once. `Ok(false)` means that the server ended the stream.
    fn read(&mut self, buffer: &mut [u8]) -> anyhow::Result<bool> {
        let length = match self.socket.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(length) => length,
            Err(err) if err.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(err) if err.kind() == ErrorKind::ConnectionReset => return Ok(false),
            Err(err) => return Err(err.into()),
        };
        if !self.answered {
            check_head(&buffer[..length])?;
            self.answered = true;
        }
        let order = &mut self.order;
        self.scan.read(&buffer[..length], |number| {
            order.take(number);
        });
        Ok(true)
    }
}

impl PresentLaggards {
    pub(super) fn leave(mut self) -> anyhow::Result<LaggardFigures> {
        self.leave.store(true, Relaxed);
        let Some(thread) = self.thread.take() else {
            return Ok(LaggardFigures::default());
        };
        thread
            .join()
            .map_err(|_| anyhow!("the thread of the slow readers panicked"))?
    }
}

impl Drop for PresentLaggards {
    fn drop(&mut self) {
        self.leave.store(true, Relaxed);
    }
}
