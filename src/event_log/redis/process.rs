//! Identifies the Redis process behind a connection, and decides whether the log can use it.

use std::collections::HashMap;

use redis::aio::ConnectionLike;

use super::error::{REPLICA, reason};

/// The response to `INFO`: properties of a Redis process.
#[derive(Debug)]
pub(super) struct Process(HashMap<String, String>);

/// Oldest supported major version of Redis. Older versions reject `INFO` with several sections.
const MIN_MAJOR_VERSION: u64 = 7;

impl Process {
    pub(super) async fn of(connection: &mut impl ConnectionLike) -> Result<Self, String> {
        let mut info = redis::cmd("INFO");
        info.arg("server").arg("replication").arg("memory");
        let info = info.query_async::<String>(connection).await;
        info.map(|text| Self::parse(&text))
            .map_err(|err| reason(&err))
    }

    fn parse(info: &str) -> Self {
        let pairs = info.lines().filter_map(|line| line.split_once(':'));
        Self(
            pairs
                .map(|(key, value)| (key.into(), value.trim().into()))
                .collect(),
        )
    }

    fn get(&self, key: &str) -> &str {
        self.0.get(key).map_or("", |value| value)
    }

    /// The `run_id`. It is constant while a Redis process runs. After a restart or a failover it is
    /// different, and acknowledged events may be lost.
    pub(super) fn identity(&self) -> String {
        self.get("run_id").to_owned()
    }

    /// Fails with the reason if this Redis cannot be used. Logs a warning if Redis may evict keys of the log.
    pub(super) fn check(&self) -> Result<(), String> {
        let version = self.get("redis_version");
        let major = version
            .split('.')
            .next()
            .and_then(|major| major.parse().ok());
        if major.is_none_or(|major: u64| major < MIN_MAJOR_VERSION) {
            return Err(format!(
                "it is version {version}, but {MIN_MAJOR_VERSION} or later is required"
            ));
        }
        if self.get("role") != "master" {
            return Err(REPLICA.to_owned());
        }
        let is_bounded = self.get("maxmemory") != "0";
        let policy = self.get("maxmemory_policy");
        if is_bounded && policy.starts_with("allkeys") {
            log::warn!(
                "Redis may evict the log when its memory is full: its maxmemory-policy is \
                 {policy}, and should be noeviction"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(version: &str, role: &str) -> Process {
        Process::parse(&format!(
            "# Server\r\nredis_version:{version}\r\nrun_id:abc\r\n\r\nrole:{role}\r\n\
             maxmemory:0\r\n"
        ))
    }

    #[test]
    fn only_a_master_of_a_supported_version_is_accepted() {
        assert_eq!(process("7.0.15", "master").check(), Ok(()));
        assert_eq!(process("8.2.1", "master").check(), Ok(()));
        assert_eq!(process("7.0.15", "master").identity(), "abc");
        let old = process("6.2.1", "master").check().unwrap_err();
        assert_eq!(old, "it is version 6.2.1, but 7 or later is required");
        assert!(process("7.0.0", "slave").check().is_err());
        assert!(Process::parse("").check().is_err());
    }
}
