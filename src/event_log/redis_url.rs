//! Parses the URL of Redis and creates the client for it. Refuses some URLs that the `redis` crate accepts,
//! for example those that turn off the certificate checks of TLS.

use std::{fmt, str::FromStr};

use percent_encoding::percent_decode_str;
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisError, TlsMode,
    sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType},
};
use thiserror::Error;

/// The default port of a Sentinel.
const SENTINEL_PORT: u16 = 26379;

/// The URL of a Redis server, or of Sentinels that know the current master:
/// `redis://[user:password@]host[:port][/database]`, `rediss://` with TLS, or
/// `redis+sentinel://[user:password@]host[:port],...[/database]/master` (`rediss+sentinel://` with TLS),
/// where the hosts are the Sentinels. User and password are sent to Redis only, not to the Sentinels.
/// `Display` and `Debug` hide the password.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl(String);

/// Error: the text is not a valid [`RedisUrl`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "not a Redis URL: expected redis://host:port/database or rediss://, or \
     redis+sentinel://host:port,host:port/database/master"
)]
pub struct InvalidRedisUrl;

/// How to find the Redis server to connect to.
pub(super) enum Finder {
    At(Client),
    /// Asks the Sentinels before each connection, because another server may have become the master.
    BySentinels(SentinelClient),
}

impl RedisUrl {
    /// Parses a URL. Refuses a URL of more than 4,096 bytes. Does not resolve hosts or connect to them.
    pub fn parse(text: &str) -> Result<Self, InvalidRedisUrl> {
        let url = Self(text.to_owned());
        match text.len() {
            0..=4096 => url.finder().map(|_| url).map_err(|_| InvalidRedisUrl),
            _ => Err(InvalidRedisUrl),
        }
    }

    pub(super) fn finder(&self) -> Result<Finder, RedisError> {
        match sentinels(&self.0) {
            Some(sentinels) => sentinels?.client().map(Finder::BySentinels),
            None => {
                let info = info(&self.0)?;
                Client::open(info).map(Finder::At)
            }
        }
    }

    /// The URL including the password.
    #[cfg(test)]
    fn secret(&self) -> &str {
        &self.0
    }
}

/// Parses the URL of a single Redis server. Refuses URLs that the redis crate would also accept: Unix
/// sockets, TLS without certificate checks, and another version of the protocol, whose responses have a
/// different format. The last two are set after a `#` or `?`, so every URL with one of these characters is
/// refused. In a password, they must be percent-encoded.
fn info(text: &str) -> Result<ConnectionInfo, RedisError> {
    let is_known = text.starts_with("redis://") || text.starts_with("rediss://");
    if !is_known || text.contains(['#', '?']) {
        return Err(invalid("not a redis:// or rediss:// URL"));
    }
    text.into_connection_info()
}

fn invalid(what: &'static str) -> RedisError {
    (redis::ErrorKind::InvalidClientConfig, what).into()
}

struct Sentinels {
    addresses: Vec<ConnectionAddr>,
    master: String,
    tls: bool,
    user: Option<String>,
    password: Option<String>,
    database: i64,
}

/// Parses a URL of Sentinels. `None` if the scheme is not that of Sentinels.
fn sentinels(text: &str) -> Option<Result<Sentinels, RedisError>> {
    let (scheme, rest) = text.split_once("://")?;
    let tls = match scheme {
        "redis+sentinel" => false,
        "rediss+sentinel" => true,
        _ => return None,
    };
    Some(Sentinels::parse(rest, tls).ok_or_else(|| invalid("not a valid URL of Sentinels")))
}

impl Sentinels {
    fn parse(rest: &str, tls: bool) -> Option<Self> {
        if rest.contains(['#', '?']) {
            return None;
        }
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => (Some(credentials), rest),
            None => (None, rest),
        };
        let (hosts, path) = rest.split_once('/')?;
        let (database, master) = match path.split_once('/') {
            Some((database, master)) => (database.parse().ok()?, master),
            None => (0, path),
        };
        let decode = |text: &str| {
            let decoded = percent_decode_str(text).decode_utf8().ok()?;
            Some(decoded.into_owned())
        };
        let (user, password) = match credentials.map(|it| it.split_once(':').unwrap_or((it, ""))) {
            Some((user, password)) => (Some(decode(user)?), Some(decode(password)?)),
            None => (None, None),
        };
        let non_empty = |text: Option<String>| text.filter(|text| !text.is_empty());
        let addresses = hosts.split(',').map(|host| address(host, tls));
        Some(Self {
            addresses: addresses.collect::<Option<_>>()?,
            master: non_empty(decode(master))?,
            tls,
            user: non_empty(user),
            password: non_empty(password),
            database: Some(database).filter(|database| *database >= 0)?,
        })
    }

    fn client(self) -> Result<SentinelClient, RedisError> {
        let kind = SentinelServerType::Master;
        let builder = SentinelClientBuilder::new(self.addresses, &self.master, kind)?;
        let mut builder = builder.set_client_to_redis_db(self.database);
        if self.tls {
            builder = builder
                .set_client_to_redis_tls_mode(TlsMode::Secure)
                .set_client_to_sentinel_tls_mode(TlsMode::Secure);
        }
        if let Some(user) = self.user {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = self.password {
            builder = builder.set_client_to_redis_password(password);
        }
        builder.build()
    }
}

fn address(host: &str, tls: bool) -> Option<ConnectionAddr> {
    let is_v6_alone = host.ends_with(']');
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if !is_v6_alone => (host, port.parse().ok()?),
        _ => (host, SENTINEL_PORT),
    };
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    if host.is_empty() {
        return None;
    }
    Some(if tls {
        ConnectionAddr::TcpTls {
            host,
            port,
            insecure: false,
            tls_params: None,
        }
    } else {
        ConnectionAddr::Tcp(host, port)
    })
}

impl FromStr for RedisUrl {
    type Err = InvalidRedisUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// If the URL has a user or password, shows `***` in place of the password.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or_default();
        match rest.rsplit_once('@') {
            Some((credentials, hosts)) => {
                let user = credentials.split(':').next().unwrap_or_default();
                write!(f, "{scheme}://{user}:***@{hosts}")
            }
            None => write!(f, "{scheme}://{rest}"),
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_used_and_not_shown() {
        for (text, shown) in [
            ("redis://localhost", "redis://localhost"),
            ("rediss://r.example:6380/2", "rediss://r.example:6380/2"),
            ("redis://u:s%40crt@h/1", "redis://u:***@h/1"),
            ("redis://:p@ss@h:1", "redis://:***@h:1"),
            (
                "redis+sentinel://:secret@a,b:1,[::1]:2/3/main",
                "redis+sentinel://:***@a,b:1,[::1]:2/3/main",
            ),
        ] {
            let url = RedisUrl::parse(text).unwrap();

            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("RedisUrl({shown})"));
            assert_eq!(url.secret(), text);
        }
    }

    #[test]
    fn a_url_of_sentinels_is_parsed_with_its_master() {
        let read = |text| sentinels(text).unwrap().ok();
        let found = read("rediss+sentinel://me:a%3Ab@s1,s2:1,[::1]:2,[::2]/7/main%20one").unwrap();

        let addresses: Vec<_> = found.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["s1:26379", "s2:1", "::1:2", "::2:26379"]);
        assert_eq!(
            (found.database, &*found.master, found.tls),
            (7, "main one", true)
        );
        assert_eq!(
            (found.user.as_deref(), found.password.as_deref()),
            (Some("me"), Some("a:b"))
        );
        let short = read("redis+sentinel://s1/main").unwrap();
        assert_eq!(
            (short.database, short.user, short.password),
            (0, None, None)
        );
    }

    #[test]
    fn invalid_urls_are_refused() {
        for text in [
            "",
            "localhost",
            "http://localhost",
            "redis://",
            "redis://localhost/x",
            "redis://localhost:99999",
            "rediss://localhost#insecure",
            "redis://localhost?protocol=3",
            "unix:///tmp/redis.sock",
            "redis+sentinel://",
            "redis+sentinel://:secret#1@host/main",
            "redis+sentinel://:secret?1@host/main",
            "redis+sentinel://host",
            "redis+sentinel://host/",
            "redis+sentinel:///main",
            "redis+sentinel://a,,b/main",
            "redis+sentinel://a:x/main",
            "redis+sentinel://a/-1/main",
        ] {
            assert_eq!(RedisUrl::parse(text), Err(InvalidRedisUrl), "{text:?}");
        }
        assert!(RedisUrl::parse(&format!("redis://{}", "a".repeat(5000))).is_err());
    }
}
