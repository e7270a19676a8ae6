//! Open files.

use std::{io, sync::atomic::Ordering};

use super::{
    content::{Change, Shared, Stray},
    device::SimDisk,
    fault::Operation,
};
use crate::{BoxFuture, File};

pub(super) struct SimFile {
    pub(super) disk: SimDisk,
    pub(super) content: Shared,
}

impl File for SimFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.disk.begin_on(Operation::Read, &self.content)?;
        let content = self.content.lock();
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.current.len());
        let count = buffer.len().min(content.current.len() - start);
        buffer[..count].copy_from_slice(&content.current[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset.checked_add(data.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        let lands = self.disk.begin_write(&self.content, end, data.len())?;
        let offset = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.content.lock().change(Change::Write { offset, data: data.to_vec(), lands });
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.disk.check_on()?;
        Ok(self.content.lock().current.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.begin_resize(&self.content, len)?;
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.content.lock().change(Change::SetLen(len));
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if self.len()? < len { self.set_len(len) } else { Ok(()) }
    }

    fn sync(&self) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let begun = self.disk.begin_sync(&self.content)?;
            let changes = self.content.lock().changes();
            if let Some(delay) = begun.delay {
                delay().await;
                self.disk.check_on()?;
            }
            if !begun.lies {
                let strays = self.content.lock().sync(changes);
                strays.into_iter().for_each(Stray::land);
            }
            self.disk.syncs.fetch_add(1, Ordering::SeqCst);
            Ok(())
        })
    }
}
