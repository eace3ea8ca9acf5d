//! Who is subscribed, and who of them is live. Never waits for a client: whoever cannot take a
//! frame at once is taken off the live ones and catches up from the log. Pure: no clock, no I/O.

use std::time::{Duration, Instant};

use bytes::Bytes;
use slab::Slab;
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::event_log::Frame;

/// What travels through a client's channel.
#[derive(Debug, Clone)]
pub(crate) enum Delivery {
    /// The next event.
    Event(Frame),
    /// Bytes that move no cursor: a heartbeat.
    Comment(Bytes),
}

/// The receiving end of a live client's channel. It ends when the client has fallen behind or the
/// server drains; what is still in it counts.
pub(crate) type Inbox = mpsc::Receiver<Delivery>;

/// Names one subscription. The serial keeps a late `Leave` from removing whoever got the same slot
/// next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientId {
    slot: usize,
    serial: u64,
}

#[derive(Debug)]
struct Client {
    serial: u64,
    /// `None` while it catches up.
    live: Option<Live>,
}

#[derive(Debug)]
struct Live {
    channel: mpsc::Sender<Delivery>,
    /// When it last was handed something.
    served: Instant,
}

/// What became of one hand-over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct HandOver {
    /// Clients that took the frame.
    pub(crate) delivered: usize,
    /// Clients whose channel was full: they catch up from here on.
    pub(crate) fell_behind: usize,
}

/// Every subscription of this server.
#[derive(Debug)]
pub(crate) struct Registry {
    clients: Slab<Client>,
    live: usize,
    next_serial: u64,
    /// How many clients there may be; beyond, [`admit`](Self::admit) refuses.
    max_clients: usize,
    /// How many deliveries may wait in a client's channel.
    queue: usize,
}

impl Registry {
    pub(crate) fn new(max_clients: usize, queue: usize) -> Self {
        Self {
            clients: Slab::new(),
            live: 0,
            next_serial: 0,
            max_clients,
            queue,
        }
    }

    /// Takes a new client in, which is catching up at first. `None`: there is no room.
    pub(crate) fn admit(&mut self) -> Option<ClientId> {
        if self.clients.len() >= self.max_clients {
            return None;
        }
        let serial = self.next_serial;
        self.next_serial += 1;
        let slot = self.clients.insert(Client { serial, live: None });
        Some(ClientId { slot, serial })
    }

    /// How many frames a client may lack when it goes live: half a channel, so that the next event
    /// does not throw it back.
    pub(crate) fn prefill(&self) -> usize {
        self.queue / 2
    }

    /// Makes a client live and hands it the frames it lacks, at most [`prefill`](Self::prefill).
    /// `None`: there is no such client.
    pub(crate) fn go_live(
        &mut self,
        id: ClientId,
        missing: Vec<Frame>,
        now: Instant,
    ) -> Option<Inbox> {
        let queue = self.queue;
        let client = self.client(id)?;
        let (channel, inbox) = mpsc::channel(queue);
        for frame in missing {
            channel
                .try_send(Delivery::Event(frame))
                .expect("what a client lacks fits into its empty channel");
        }
        let was_live = client
            .live
            .replace(Live {
                channel,
                served: now,
            })
            .is_some();
        if !was_live {
            self.live += 1;
        }
        Some(inbox)
    }

    /// Forgets a client; does nothing if it is gone already.
    pub(crate) fn remove(&mut self, id: ClientId) {
        if self.client(id).is_some() && self.clients.remove(id.slot).live.is_some() {
            self.live -= 1;
        }
    }

    /// Hands a frame to every live client.
    pub(crate) fn deliver(&mut self, frame: &Frame, now: Instant) -> HandOver {
        self.hand_over(now, |_| true, || Delivery::Event(frame.clone()))
    }

    /// Hands a comment to every live client that got nothing for `idle`.
    pub(crate) fn keep_alive(&mut self, comment: &Bytes, idle: Duration, now: Instant) -> HandOver {
        self.hand_over(
            now,
            |live| now.saturating_duration_since(live.served) >= idle,
            || Delivery::Comment(comment.clone()),
        )
    }

    /// Ends every channel. The clients stay, and catch up.
    pub(crate) fn suspend_all(&mut self) {
        for (_, client) in &mut self.clients {
            client.live = None;
        }
        self.live = 0;
    }

    /// Clients that are live.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// Clients that catch up.
    pub(crate) fn catching_up(&self) -> usize {
        self.clients.len() - self.live
    }

    /// How many clients there may be.
    pub(crate) fn max_clients(&self) -> usize {
        self.max_clients
    }

    fn hand_over(
        &mut self,
        now: Instant,
        wanted: impl Fn(&Live) -> bool,
        delivery: impl Fn() -> Delivery,
    ) -> HandOver {
        let mut result = HandOver::default();
        for (_, client) in &mut self.clients {
            let Some(live) = client.live.as_mut().filter(|live| wanted(live)) else {
                continue;
            };
            match live.channel.try_send(delivery()) {
                Ok(()) => {
                    live.served = now;
                    result.delivered += 1;
                }
                Err(TrySendError::Full(_)) => {
                    client.live = None;
                    self.live -= 1;
                    result.fell_behind += 1;
                }
                // Its connection has ended; its `Leave` is on the way.
                Err(TrySendError::Closed(_)) => {
                    client.live = None;
                    self.live -= 1;
                }
            }
        }
        result
    }

    fn client(&mut self, id: ClientId) -> Option<&mut Client> {
        self.clients
            .get_mut(id.slot)
            .filter(|client| client.serial == id.serial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(seq: u64) -> Frame {
        Frame {
            seq,
            bytes: Bytes::from(seq.to_string()),
        }
    }

    fn received(inbox: &mut Inbox) -> Vec<String> {
        let mut got = Vec::new();
        while let Ok(delivery) = inbox.try_recv() {
            got.push(match delivery {
                Delivery::Event(frame) => format!("event {}", frame.seq),
                Delivery::Comment(_) => "comment".to_owned(),
            });
        }
        got
    }

    fn live_client(registry: &mut Registry, now: Instant) -> (ClientId, Inbox) {
        let id = registry.admit().unwrap();
        let inbox = registry.go_live(id, Vec::new(), now).unwrap();
        (id, inbox)
    }

    #[test]
    fn only_live_clients_get_frames() {
        let now = Instant::now();
        let mut registry = Registry::new(10, 4);
        let catching_up = registry.admit().unwrap();
        let (_, mut inbox) = live_client(&mut registry, now);

        let first = registry.deliver(&frame(0), now);
        let mut late = registry.go_live(catching_up, vec![frame(0)], now).unwrap();
        registry.deliver(&frame(1), now);

        assert_eq!(first.delivered, 1);
        assert_eq!(received(&mut inbox), ["event 0", "event 1"]);
        assert_eq!(received(&mut late), ["event 0", "event 1"]);
    }

    #[test]
    fn a_full_channel_ends_after_what_is_in_it_and_others_go_on() {
        let now = Instant::now();
        let mut registry = Registry::new(10, 2);
        let (_, mut stalled) = live_client(&mut registry, now);
        let (_, mut reader) = live_client(&mut registry, now);
        registry.deliver(&frame(0), now);
        registry.deliver(&frame(1), now);
        received(&mut reader);

        let hand_over = registry.deliver(&frame(2), now);

        assert_eq!(
            hand_over,
            HandOver {
                delivered: 1,
                fell_behind: 1
            }
        );
        assert_eq!((registry.live(), registry.catching_up()), (1, 1));
        assert_eq!(received(&mut stalled), ["event 0", "event 1"]);
        assert!(stalled.is_closed());
        assert_eq!(received(&mut reader), ["event 2"]);
    }

    #[test]
    fn only_the_idle_get_a_comment() {
        let start = Instant::now();
        let idle = Duration::from_secs(15);
        let mut registry = Registry::new(10, 4);
        let (_, mut early) = live_client(&mut registry, start);
        let (_, mut late) = live_client(&mut registry, start + idle / 2);

        registry.keep_alive(&Bytes::from_static(b":"), idle, start + idle);

        assert_eq!(received(&mut early), ["comment"]);
        assert!(received(&mut late).is_empty());
    }

    #[test]
    fn a_late_leave_does_not_remove_the_successor() {
        let now = Instant::now();
        let mut registry = Registry::new(10, 4);
        let (gone, _inbox) = live_client(&mut registry, now);
        registry.remove(gone);
        let (successor, _inbox) = live_client(&mut registry, now);

        registry.remove(gone);

        assert_eq!(gone.slot, successor.slot);
        assert_eq!(registry.live(), 1);
    }

    #[test]
    fn there_is_room_again_when_a_client_leaves() {
        let mut registry = Registry::new(1, 4);
        let only = registry.admit().unwrap();

        assert_eq!(registry.admit(), None);
        registry.remove(only);

        assert!(registry.admit().is_some());
    }

    #[test]
    fn counts_hold_through_every_change() {
        let now = Instant::now();
        let mut registry = Registry::new(10, 1);
        let (a, inbox) = live_client(&mut registry, now);
        let (b, _inbox) = live_client(&mut registry, now);
        drop(inbox);

        registry.deliver(&frame(0), now);
        assert_eq!((registry.live(), registry.catching_up()), (1, 1));

        registry.suspend_all();
        assert_eq!((registry.live(), registry.catching_up()), (0, 2));

        registry.remove(a);
        registry.remove(b);
        assert_eq!((registry.live(), registry.catching_up()), (0, 0));
    }
}
