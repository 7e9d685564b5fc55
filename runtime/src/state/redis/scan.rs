//! Looking for keys by how they begin, without stopping a server.

use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::{Cmd, FromRedisValue, RedisResult, Value};

use super::error::meaning;
use super::link::Link;
use crate::state::StateError;

/// Keys that a server looks at for one answer.
const AT_ONCE: usize = 500;

/// A server of a cluster.
struct Node {
    host: String,
    port: u16,
}

impl Link {
    /// Every key that begins so, on every server, each once and in order.
    pub(super) async fn keys(&self, prefix: &str) -> Result<Vec<String>, StateError> {
        let found = self.scan_all(prefix).await;
        let mut keys = found.map_err(|error| meaning(error, prefix))?;
        // A scan may show a key twice.
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    async fn scan_all(&self, prefix: &str) -> RedisResult<Vec<String>> {
        if self.cluster().is_none() {
            return self.scan(prefix, None).await;
        }
        let mut keys = Vec::new();
        for node in masters(self.send(redis::cmd("CLUSTER").arg("SLOTS")).await?)? {
            keys.extend(self.scan(prefix, Some(&node)).await?);
        }
        Ok(keys)
    }

    async fn scan(&self, prefix: &str, node: Option<&Node>) -> RedisResult<Vec<String>> {
        let (mut cursor, mut keys) = (0_u64, Vec::new());
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{prefix}*")).arg("COUNT").arg(AT_ONCE);
            let answer = match node {
                None => self.send(&scan).await?,
                Some(node) => self.send_to(scan, node).await?,
            };
            let (next, page): (u64, Vec<String>) = FromRedisValue::from_redis_value(answer)?;
            keys.extend(page);
            cursor = next;
            if cursor == 0 {
                return Ok(keys);
            }
        }
    }

    async fn send_to(&self, command: Cmd, node: &Node) -> RedisResult<Value> {
        let Some(mut cluster) = self.cluster() else { return self.send(&command).await };
        let (host, port) = (node.host.clone(), node.port);
        let to = RoutingInfo::SingleNode(SingleNodeRoutingInfo::ByAddress { host, port });
        cluster.route_command(command, to).await
    }
}

/// The first server of each range of slots.
fn masters(slots: Value) -> RedisResult<Vec<Node>> {
    type Range = (u16, u16, (String, u16));
    let ranges: Vec<Vec<Value>> = FromRedisValue::from_redis_value(slots)?;
    let mut nodes: Vec<Node> = Vec::new();
    for mut range in ranges {
        range.truncate(3);
        if let Some(Value::Array(node)) = range.get_mut(2) {
            node.truncate(2);
        }
        let (_, _, (host, port)): Range = FromRedisValue::from_redis_value(Value::Array(range))?;
        if !nodes.iter().any(|known| known.host == host && known.port == port) {
            nodes.push(Node { host, port });
        }
    }
    Ok(nodes)
}
