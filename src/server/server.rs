//! The server: builds it from a config, reports its addresses, runs it until shutdown, and drains it.

use std::{
    future::Future,
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, anyhow};
use socket2::{Domain, Protocol as Transport, Socket, Type};
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;

use super::{
    descriptors::{self, DescriptorBudget},
    host,
    listeners::{ADMIN_CONNECTIONS, admin_server, public_server},
};
use crate::{
    auth::{Action, Grant, Signer, TokenVerifier},
    broadcaster::{Gone, Hub, HubSettings},
    config::Config,
    http::Policy,
    matching::{HubUrl, MatcherText, MemoryBudget},
    transport::{ConnectionLimits, Shared},
};

/// Maximum number of new connections that wait to be accepted. The server requests this number from the
/// kernel. The kernel lowers this number to `net.core.somaxconn`, so operators can set the limit there.
const BACKLOG: i32 = 65_535;

/// The lowest `net.core.somaxconn` without a warning. With a lower value, a burst of new connections can
/// overflow the queue of the kernel, and clients wait a second or more until TCP retries.
const MIN_BACKLOG: u64 = 4096;

/// Maximum time to flush the log after the streams have ended. If `server.drain_timeout` is shorter, it
/// applies instead. After this time, the server exits. Events that are not acknowledged, or not synced to
/// disk, may then be lost.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// A server that is bound to its addresses but does not run yet.
pub struct Server {
    addr: SocketAddr,
    admin_addr: Option<SocketAddr>,
    hub: Hub,
    policy: Arc<Policy>,
    first_token: Option<String>,
    gone: Gone,
    running: actix_server::Server,
    admin: Option<actix_server::Server>,
    shared: Arc<Shared>,
    drain_timeout: Duration,
}

/// The parts of a running server that a changed config is applied to.
#[derive(Debug, Clone)]
pub struct Reloadable {
    pub(crate) hub: Hub,
    pub(crate) policy: Arc<Policy>,
}

impl Reloadable {
    /// The hub of the server.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }
}

impl Server {
    /// Binds the addresses and starts the Broadcaster. Requires a running actix `System`, and blocks like
    /// [`Hub::start_with_log`].
    ///
    /// Fails if an address cannot be bound, the limit on open files is too low, the keys of an issuer cannot
    /// be loaded ([`KeyError`](crate::KeyError)), or the log cannot be used ([`LogError`](crate::LogError)).
    pub fn build(config: &Config) -> anyhow::Result<Self> {
        let listener = bind(&config.server.bind, "server.bind")?;
        let addr = listener.local_addr()?;
        let admin_bind = config.server.admin_bind.as_deref();
        let admin_listener = admin_bind
            .map(|address| bind(address, "server.admin_bind"))
            .transpose()?;
        let admin_addr = admin_listener.as_ref().map(TcpListener::local_addr);
        let admin_addr = admin_addr.transpose()?;
        let workers = workers(config.server.workers);
        let admin_connections = admin_listener.as_ref().map_or(0, |_| ADMIN_CONNECTIONS);
        let descriptor_budget = descriptors::descriptor_budget(workers, admin_connections)?;
        let max_subscribers = max_subscribers(config.server.max_subscribers, descriptor_budget);
        let asked = config.server.max_subscribers;
        host::check((asked > 0).then_some(max_subscribers), MIN_BACKLOG);
        let url = config.hub_url_at(Some(addr.port()));
        let policy = Arc::new(Policy::new(config, url.clone()));
        let first_token = match config.auth.issuers.as_slice() {
            [] => Some(first_token(&policy.token_verifier, &url)?),
            issuers => {
                policy.token_verifier.trust(issuers)?;
                None
            }
        };
        policy.admin_token.load()?;
        let settings = hub_settings(config, max_subscribers, url);
        let (hub, gone) = Hub::start_with_log(settings, config.log_kind())?;
        policy.token_verifier.set_revocations(&hub.revocations());
        if policy.admin_token.is_required() && admin_addr.is_none() {
            log::warn!("server.admin_token_file has no effect without server.admin_bind");
        }
        if let Some(addr) = admin_addr.filter(|addr| !addr.ip().is_loopback())
            && !policy.admin_token.is_required()
        {
            log::warn!(
                "everyone who can connect to {addr} (server.admin_bind) can revoke tokens: set \
                 server.admin_token_file"
            );
        }
        let shared = Arc::new(Shared {
            limits: ConnectionLimits {
                request_timeout: config.server.request_timeout,
                write_timeout: config.server.write_timeout,
            },
            streams: TaskTracker::new(),
            unfinished: MemoryBudget::default(),
        });
        let running = public_server(
            config,
            workers,
            descriptor_budget,
            listener,
            &hub,
            &policy,
            &shared,
        )?;
        let admin = admin_listener
            .map(|listener| admin_server(config, listener, &hub, &policy, &shared))
            .transpose()?;
        Ok(Self {
            addr,
            admin_addr,
            hub,
            policy,
            first_token,
            gone,
            running,
            admin,
            shared,
            drain_timeout: config.server.drain_timeout,
        })
    }

    /// The address of the public listener.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address of the listener for operators, if `server.admin_bind` is set.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// The hub of the server, for publishing and for changing settings.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// A token that allows everything for a day, signed with a key that was generated at the start. `None` if
    /// the config has an issuer. The server accepts no other token until a reload adds an issuer, which
    /// revokes that key.
    pub fn first_token(&self) -> Option<&str> {
        self.first_token.as_deref()
    }

    /// The parts that a changed config is applied to.
    pub fn reloadable(&self) -> Reloadable {
        Reloadable {
            hub: self.hub.clone(),
            policy: self.policy.clone(),
        }
    }

    /// Serves until `shutdown` resolves. Then refuses new connections, ends the streams, waits for them for
    /// at most `server.drain_timeout`, and flushes the log. Fails if the server or the Broadcaster fails.
    pub async fn run_until(self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        let Self {
            hub,
            policy,
            mut gone,
            running,
            admin,
            shared,
            drain_timeout,
            ..
        } = self;
        let handle = running.handle();
        let mut following = JoinSet::new();
        following.spawn(follow_revocations(hub.clone(), policy));
        let mut serving = JoinSet::new();
        serving.spawn(running);
        // The listener for operators responds until the end, so that operators can see that the server
        // drains.
        if let Some(admin) = admin {
            serving.spawn(admin);
        }
        tokio::select! {
            () = shutdown => {}
            _ = &mut gone => return Err(broadcaster_died()),
            Some(ended) = serving.join_next() => return Err(match ended {
                Ok(Ok(())) => anyhow!("the HTTP server stopped by itself"),
                Ok(Err(err)) => anyhow!(err).context("the HTTP server failed"),
                Err(err) => anyhow!(err).context("the HTTP server died"),
            }),
        }
        // Close the public listener, so that new connections are refused instead of left waiting in the
        // backlog. Existing connections continue until the server is dropped.
        let _stopping = handle.stop(true);
        let streams = &shared.streams;
        log::info!(
            "shutting down: {} streams are being ended, within at most {}",
            streams.len(),
            humantime::format_duration(drain_timeout)
        );
        streams.close();
        // The last 10 % of the drain timeout, but at most 500 ms, are left for the exit itself.
        let streams_timeout = drain_timeout - (drain_timeout / 10).min(Duration::from_millis(500));
        tokio::select! {
            _ = tokio::time::timeout(streams_timeout, async {
                hub.drain().await?;
                streams.wait().await;
                anyhow::Ok(())
            }) => {}
            _ = &mut gone => return Err(broadcaster_died()),
        }
        if tokio::time::timeout(FLUSH_TIMEOUT.min(drain_timeout), hub.flush())
            .await
            .is_err()
        {
            log::warn!("the log does not respond; events that are not acknowledged may be lost");
        }
        match streams.len() {
            0 => log::info!("shut down: every stream was ended"),
            left => log::warn!("shut down: {left} streams were cut off, their readers stalled"),
        }
        Ok(())
    }
}

/// Applies the revocations that other servers make, and those that are lifted.
async fn follow_revocations(hub: Hub, policy: Arc<Policy>) {
    let mut revocations = hub.revocations();
    while revocations.changed().await.is_ok() {
        revocations.borrow_and_update();
        policy.token_verifier.set_revocations(&revocations);
    }
}

fn hub_settings(config: &Config, max_subscribers: usize, url: HubUrl) -> HubSettings {
    HubSettings {
        live: config.live_settings(),
        retention: config.retention(),
        publishing: config.publish_settings(),
        max_subscribers,
        max_with_token: config.limits.subscriptions,
        at_token_limit: config.limits.subscriptions_policy,
        retry: config.stream.retry,
        topic: config.ticker.topic.clone(),
        subscriptions: config.hub.subscriptions,
        matcher_bytes: config.limits.matcher_bytes,
        url,
    }
}

/// Generates a key that is lost when the process ends, trusts it, and returns a token that it has signed. The
/// token allows everything.
fn first_token(token_verifier: &TokenVerifier, hub: &HubUrl) -> anyhow::Result<String> {
    const LIFETIME: Duration = Duration::from_secs(24 * 3600);
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).context("the system provides no random bytes for a key")?;
    let issuer = hub.as_str().to_owned();
    let trusted = token_verifier.trust_secret(issuer.clone(), &secret);
    trusted.map_err(|reason| anyhow!(reason))?;
    let everything = Grant {
        actions: vec![Action::Publish, Action::Subscribe],
        topics: vec![MatcherText::wildcard()],
        payload: None,
    };
    let signer = Signer::with_secret(issuer, &secret);
    Ok(signer.sign(hub, &[everything], LIFETIME)?)
}

fn broadcaster_died() -> anyhow::Error {
    anyhow!(
        "the Broadcaster died, or the fan-out of a worker thread; without it, no event would be delivered \
         (its panic is logged above)"
    )
}

fn bind(address: &str, key: &str) -> anyhow::Result<TcpListener> {
    bind_to_first(address).with_context(|| format!("cannot listen on {address} ({key})"))
}

fn bind_to_first(address: &str) -> io::Result<TcpListener> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for addr in address.to_socket_addrs()? {
        match bind_to(addr) {
            Ok(listener) => return Ok(listener),
            Err(err) => failure = err,
        }
    }
    Err(failure)
}

fn bind_to(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(addr),
        Type::STREAM,
        Some(Transport::TCP),
    )?;
    // Allows a restart while connections of the old process are in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn max_subscribers(configured: usize, descriptor_budget: DescriptorBudget) -> usize {
    if configured > descriptor_budget.subscribers {
        log::warn!(
            "server.max_subscribers is {configured}, but the limit on open files allows {}; \
             raise it (ulimit -n, LimitNOFILE=)",
            descriptor_budget.subscribers
        );
    }
    match configured {
        0 => descriptor_budget.subscribers,
        configured => configured.min(descriptor_budget.subscribers),
    }
}

/// Maximum number of workers that actix-server allows.
const MAX_WORKERS: usize = 512;

fn workers(configured: usize) -> usize {
    match configured {
        0 => std::thread::available_parallelism()
            .map_or(1, NonZeroUsize::get)
            .min(MAX_WORKERS),
        workers => workers,
    }
}
