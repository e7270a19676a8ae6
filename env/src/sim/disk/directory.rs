//! Names of files, and what a program asks of them.

use std::{io, sync::Arc};

use parking_lot::Mutex;

use super::{
    content::Content,
    device::{SimDisk, used},
    fault::{Kind, Operation},
    file::SimFile,
};
use crate::{BoxFuture, Disk, DiskLock, File, OpenMode};

fn directory(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

impl Disk for SimDisk {
    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.state.lock();
        Ok(state.capacity.saturating_sub(used(&state.names)))
    }

    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.state.lock().capacity)
    }

    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut state = self.state.lock();
        self.begin(&mut state, Operation::Open, path)?;
        let content = match (state.names.get(path), mode) {
            (Some(content), _) => content.clone(),
            (None, OpenMode::Read) => return Err(io::ErrorKind::NotFound.into()),
            (None, OpenMode::ReadWriteCreate) => {
                let content = Arc::new(Mutex::new(Content::new(path)));
                state.names.insert(path.to_owned(), content.clone());
                content
            }
        };
        Ok(Arc::new(SimFile { disk: self.clone(), content }))
    }

    fn create_dir_all(&self, path: &str) -> io::Result<()> {
        self.begin(&mut self.state.lock(), Operation::MakeDir, path)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut state = self.state.lock();
        self.begin(&mut state, Operation::List, dir)?;
        let inside = state.names.keys().filter(|path| directory(path) == dir);
        Ok(inside.map(|path| path.rsplit('/').next().unwrap_or(path).to_owned()).collect())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        self.begin(&mut state, Operation::Remove, path)?;
        state.names.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        self.begin(&mut state, Operation::Rename, from)?;
        let content = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        to.clone_into(&mut content.lock().path);
        state.names.insert(to.to_owned(), content);
        Ok(())
    }

    fn sync_dir<'a>(&'a self, dir: &'a str) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move {
            let mut state = self.state.lock();
            self.begin(&mut state, Operation::SyncDir, dir)?;
            if state.faults.bite(Kind::LieAboutSync, dir, |_| Some(())).is_some() {
                state.faults.counts.lying_syncs += 1;
                return Ok(());
            }
            let state = &mut *state;
            state.durable_names.retain(|path, _| directory(path) != dir);
            let inside = state.names.iter().filter(|(path, _)| directory(path) == dir);
            let inside: Vec<_> = inside.map(|(path, content)| (path.clone(), content.clone())).collect();
            state.durable_names.extend(inside);
            Ok(())
        })
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn DiskLock>> {
        let mut state = self.state.lock();
        self.begin(&mut state, Operation::Lock, path)?;
        if state.locks.get(path).is_some_and(|holder| holder.strong_count() > 0) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let holder = Arc::new(());
        state.locks.insert(path.to_owned(), Arc::downgrade(&holder));
        Ok(Box::new(SimLock { _holder: holder }))
    }
}

struct SimLock {
    _holder: Arc<()>,
}

impl DiskLock for SimLock {}
