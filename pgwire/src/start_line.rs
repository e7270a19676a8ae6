//! The line in which new connections wait until they may start.
//!
//! A start costs a socket, two buffers and up to the authentication deadline, and everybody may ask for one. So few
//! start at once, fewer from one address, and the others wait under their own deadlines: a pool that opens
//! hundreds of connections at once is served, and an address full of silent clients holds up mostly itself.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Limits;

pub(crate) struct StartLine {
    line: Arc<Semaphore>,
    starting: Arc<Semaphore>,
    starting_per_address_max: usize,
    /// Only of addresses with somebody in the line or starting.
    addresses: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
}

/// The right to start, given back when dropped.
pub(crate) struct StartSlot<'a> {
    _starting: OwnedSemaphorePermit,
    _address: Option<AddressSlot<'a>>,
}

/// A place in an address's own line; removes the line when it is the last one there.
struct AddressSlot<'a> {
    line: &'a StartLine,
    address: IpAddr,
    semaphore: Option<Arc<Semaphore>>,
    permit: Option<OwnedSemaphorePermit>,
}

impl StartLine {
    pub fn new(limits: &Limits) -> Self {
        Self {
            line: Arc::new(Semaphore::new(limits.connection_line_max)),
            starting: Arc::new(Semaphore::new(limits.starting_connections_max)),
            starting_per_address_max: limits.starting_per_address_max,
            addresses: Mutex::default(),
        }
    }

    /// Waits for a turn; `None` when the line is too long. Safe to drop at any await.
    pub async fn wait(&self, address: Option<IpAddr>) -> Option<StartSlot<'_>> {
        let _in_line = self.line.clone().try_acquire_owned().ok()?;
        let mut slot = address.map(|address| self.address_slot(address));
        if let Some(AddressSlot { semaphore: Some(semaphore), permit, .. }) = &mut slot {
            *permit = Some(semaphore.clone().acquire_owned().await.ok()?);
        }
        let starting = self.starting.clone().acquire_owned().await.ok()?;
        Some(StartSlot { _starting: starting, _address: slot })
    }

    fn address_slot(&self, address: IpAddr) -> AddressSlot<'_> {
        let mut addresses = self.addresses.lock();
        let new = || Arc::new(Semaphore::new(self.starting_per_address_max));
        let semaphore = addresses.entry(address).or_insert_with(new).clone();
        AddressSlot { line: self, address, semaphore: Some(semaphore), permit: None }
    }
}

impl Drop for AddressSlot<'_> {
    fn drop(&mut self) {
        let mut addresses = self.line.addresses.lock();
        self.permit = None;
        self.semaphore = None;
        // Whoever holds one clone more has one that was made under the lock, so the map's is the last.
        if addresses.get(&self.address).is_some_and(|semaphore| Arc::strong_count(semaphore) == 1) {
            addresses.remove(&self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([127, 0, 0, last]))
    }

    #[tokio::test]
    async fn an_address_holds_up_itself() {
        let line = StartLine::new(&Limits {
            connection_line_max: 3,
            starting_connections_max: 3,
            starting_per_address_max: 2,
            ..Limits::default()
        });
        let first = line.wait(address(1)).await.unwrap();
        let second = line.wait(address(1)).await.unwrap();
        let mut third = Box::pin(line.wait(address(1)));
        assert!(third.as_mut().now_or_never().is_none(), "two of this address are starting");
        let other = line.wait(address(2)).await.unwrap();
        let mut fourth = Box::pin(line.wait(address(2)));
        assert!(fourth.as_mut().now_or_never().is_none(), "three are starting");
        let fifth = line.wait(None);
        let mut fifth = Box::pin(fifth);
        assert!(fifth.as_mut().now_or_never().is_none());
        assert!(line.wait(address(3)).await.is_none(), "three are in the line");
        drop(first);
        assert!(third.as_mut().now_or_never().is_none(), "whoever waits longer comes first");
        let fourth = fourth.await.unwrap();
        drop((fourth, third, fifth));
        assert_eq!(line.addresses.lock().len(), 2);
        drop((second, other));
        assert!(line.addresses.lock().is_empty());
        assert_eq!((line.line.available_permits(), line.starting.available_permits()), (3, 3));
    }
}
