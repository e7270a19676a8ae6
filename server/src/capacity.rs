//! How large this node's store is and could become, told to the other nodes: they choose by it who gets replicas.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Weak,
    time::Duration,
};

use basalt_env::Env;
use basalt_kv_api::Capacity;
use basalt_rpc::Wire;

const INTERVAL: Duration = Duration::from_secs(10);
/// The unit in which the system counts what a file takes, whatever the file system's own.
const BLOCK_BYTES: u64 = 512;

/// Measures again and again, as long as the wire is there. Waits for the disk, so it needs a thread of its own.
pub async fn tell_capacity(wire: Weak<Wire>, env: Env, store: PathBuf) {
    loop {
        let measured = measure(&env, &store);
        let Some(wire) = wire.upgrade() else { return };
        match measured {
            Ok(capacity) => wire.set_store(capacity),
            Err(error) => tracing::debug!(%error, "the size of the store cannot be told"),
        }
        drop(wire);
        env.spawner.sleep(INTERVAL).await;
    }
}

fn measure(env: &Env, store: &Path) -> io::Result<Capacity> {
    Ok(Capacity {
        size_bytes: env.disk.size_bytes()?,
        available_bytes: env.disk.free_bytes()?,
        used_bytes: used_bytes(store)?,
    })
}

/// What the files below a folder take on the disk, which is less than their length where there are holes.
fn used_bytes(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0_u64;
    for entry in fs::read_dir(folder)? {
        match entry.and_then(|entry| entry_bytes(&entry)) {
            Ok(more) => bytes = bytes.saturating_add(more),
            // Files come and go under the one who looks; a file system's own folder may be closed to it.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

fn entry_bytes(entry: &fs::DirEntry) -> io::Result<u64> {
    let metadata = entry.metadata()?;
    if metadata.is_dir() { used_bytes(&entry.path()) } else { Ok(metadata.blocks() * BLOCK_BYTES) }
}

#[cfg(test)]
mod tests {
    use basalt_env::os::os_env;

    use super::*;

    #[tokio::test]
    async fn a_store_takes_what_its_files_take() {
        let folder = tempfile::tempdir().unwrap();
        let nested = folder.path().join("state");
        fs::create_dir(&nested).unwrap();
        fs::write(folder.path().join("log"), vec![1; 100_000]).unwrap();
        fs::write(nested.join("table"), vec![1; 1_000_000]).unwrap();
        // A hole takes nothing.
        fs::File::create(nested.join("hole")).unwrap().set_len(1 << 30).unwrap();
        let capacity = measure(&os_env(folder.path()), folder.path()).unwrap();
        assert!((1_100_000..1_200_000).contains(&capacity.used_bytes), "{capacity:?}");
        assert!(capacity.available_bytes <= capacity.size_bytes && capacity.size_bytes > 0, "{capacity:?}");
        assert!(measure(&os_env(folder.path()), &folder.path().join("missing")).is_err());
    }
}
