//! The store of a service, for commands of its operator.

use std::path::Path;

use anyhow::{Result, anyhow};
use belljar_store::{Store, StoreConfig};

use crate::args::OperatorArgs;
use crate::exit::WithHint;

/// The store of a service, for its operator.
pub(crate) async fn connect(args: &OperatorArgs) -> Result<Store> {
    let url = match &args.redis {
        Some(url) => url.clone(),
        None => private_redis(&args.data.dir()?)?,
    };
    let prefix = args.redis_prefix.clone();
    Ok(Store::connect(StoreConfig { prefix, tls: args.tls.files(), ..StoreConfig::new(url) })
        .await?)
}

/// The server of a `belljar up` with this data directory.
fn private_redis(data: &Path) -> Result<String> {
    let socket = std::path::absolute(data)?.join("redis.sock");
    if !socket.exists() {
        return Err(anyhow!("no service has its data in `{}`", data.display()))
            .hint("`belljar up` starts one, --data DIR or --redis URL names another");
    }
    Ok(format!("redis+unix://{}", socket.display()))
}
