//! The folder of certificates: the one place outside of the store that this crate reads and writes.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the folder lies outside of the store"
)]

use std::{
    fs,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// What a key's file may allow at the most: reading and writing, by its owner.
const KEY_MODE: u32 = 0o600;
const FILE_BYTES_MAX: u64 = 1 << 20;

pub(crate) struct NodeFiles {
    pub(crate) authority: Vec<u8>,
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

pub(crate) fn read_node(folder: &Path) -> Result<NodeFiles, String> {
    Ok(NodeFiles {
        authority: read(&folder.join("ca.crt"))?,
        certificate: read(&folder.join("node.crt"))?,
        key: read_key(&folder.join("node.key"))?,
    })
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let tell = |error| format!("{}: {error}", path.display());
    if fs::metadata(path).map_err(tell)?.len() > FILE_BYTES_MAX {
        return Err(format!("{}: it is too large for a certificate", path.display()));
    }
    fs::read(path).map_err(tell)
}

/// A key that others can read is no secret, so it is not used.
pub(crate) fn read_key(path: &Path) -> Result<Vec<u8>, String> {
    let metadata = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & !KEY_MODE != 0 {
        let path = path.display();
        return Err(format!("{path}: others can get at this key (mode {mode:04o}); run: chmod 600 {path}"));
    }
    read(path)
}

/// Writes new files, or none. Existing ones are left alone: somebody may depend on them.
pub(crate) fn write_new(folder: &Path, files: &[(&str, &str)]) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for (name, _) in files {
        let path = folder.join(name);
        if path.exists() {
            return Err(format!("{} exists already, and is not overwritten", path.display()));
        }
    }
    for (name, text) in files {
        let path = folder.join(name);
        let mode = if name.ends_with(".key") { KEY_MODE } else { 0o644 };
        let written = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
        written.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}
