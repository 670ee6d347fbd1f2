//! Places of connections that have proved nothing yet: neither a node's certificate nor a client's token.
//!
//! They are few, for each address and in all. When none is left the newcomer gets in, and the one that has been there
//! for longest has to go: of its own address first, else of the address that has most. Honest connections prove
//! themselves within milliseconds, so those that sit and wait are pushed out, and nothing waits for them. An address
//! from which many honest clients come at once may have more than its share for a moment.
//!
//! What lives here: who has to go. What it does not know: sockets, what is spoken on them.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::counts::Counter;
use crate::session::lock;

/// Of one address: the stock client opens a connection for each thread that fetches, and several clients may share an
/// address.
pub(crate) const OF_ADDRESS_MAX: usize = 64;
/// One that is younger is not pushed out for its own address: some tens of handshakes of honest clients take so long.
const GRACE: Duration = Duration::from_secs(1);
/// Of all addresses: leaves most of a process's descriptors (1024 in many systems) to those that have proved themselves.
pub(crate) const ALL_MAX: usize = 256;

/// All of a server's.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    table: Mutex<Table>,
    /// How many had to go.
    pub(crate) closed: Counter,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// By address, in the order in which they came, and when.
    addresses: HashMap<IpAddr, BTreeMap<u64, Instant>>,
    leave: HashMap<u64, Arc<Notify>>,
}

/// One of them, until it is dropped: because it has proved itself, or has ended.
#[derive(Debug)]
pub(crate) struct Stranger {
    strangers: Arc<Strangers>,
    from: IpAddr,
    number: u64,
    leave: Arc<Notify>,
}

impl Strangers {
    /// Takes a connection in; another one may have to go for it.
    pub(crate) fn enter(self: &Arc<Self>, from: IpAddr, now: Instant) -> Stranger {
        let from = from.to_canonical();
        let mut table = lock(&self.table);
        let own = table.addresses.get(&from).filter(|own| own.len() >= OF_ADDRESS_MAX);
        let oldest = own.and_then(|own| own.first_key_value().map(|(_, came)| *came));
        let full = if oldest.is_some_and(|came| now.saturating_duration_since(came) >= GRACE) {
            Some(from)
        } else if table.leave.len() >= ALL_MAX {
            table.addresses.iter().max_by_key(|(_, all)| all.len()).map(|(address, _)| *address)
        } else {
            None
        };
        if let Some(address) = full {
            table.push_out(address);
            self.closed.count();
        }
        let number = table.next;
        table.next += 1;
        let leave = Arc::new(Notify::new());
        table.leave.insert(number, leave.clone());
        table.addresses.entry(from).or_default().insert(number, now);
        Stranger { strangers: self.clone(), from, number, leave }
    }
}

impl Table {
    /// Tells the oldest connection of an address to go. Its place is free from now on.
    fn push_out(&mut self, address: IpAddr) {
        let oldest =
            self.addresses.get(&address).and_then(|all| all.first_key_value().map(|(number, _)| *number));
        let Some(oldest) = oldest else { return };
        if let Some(leave) = self.leave.get(&oldest) {
            leave.notify_one();
        }
        self.remove(address, oldest);
    }

    fn remove(&mut self, address: IpAddr, number: u64) {
        self.leave.remove(&number);
        if let Some(all) = self.addresses.get_mut(&address) {
            all.remove(&number);
            if all.is_empty() {
                self.addresses.remove(&address);
            }
        }
    }
}

impl Stranger {
    /// What is told when the connection has to go.
    pub(crate) fn leave(&self) -> Arc<Notify> {
        self.leave.clone()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        lock(&self.strangers.table).remove(self.from, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    async fn must_leave(stranger: &Stranger) -> bool {
        let told = tokio::time::timeout(Duration::from_millis(5), stranger.leave.notified());
        told.await.is_ok()
    }

    #[tokio::test]
    async fn the_oldest_of_an_address_goes_for_a_newcomer() {
        let strangers = Arc::new(Strangers::default());
        let now = Instant::now();
        let other = strangers.enter(address(2), now);
        let mut all: Vec<_> = (0..OF_ADDRESS_MAX).map(|_| strangers.enter(address(1), now)).collect();
        all.push(strangers.enter(address(1), now + GRACE));
        assert!(must_leave(&all[0]).await && !must_leave(&all[1]).await && !must_leave(&other).await);
        drop(all);
        assert_eq!(lock(&strangers.table).addresses.len(), 1);
    }

    #[tokio::test]
    async fn many_that_come_at_once_may_all_stay_for_a_moment() {
        let strangers = Arc::new(Strangers::default());
        let now = Instant::now();
        let all: Vec<_> = (0..2 * OF_ADDRESS_MAX).map(|_| strangers.enter(address(1), now)).collect();
        assert!(!must_leave(&all[0]).await);
    }

    #[tokio::test]
    async fn the_address_that_has_most_gives_way_when_all_places_are_taken() {
        let strangers = Arc::new(Strangers::default());
        let now = Instant::now();
        let mut many: Vec<_> = (0..3).map(|_| strangers.enter(address(200), now)).collect();
        let two_each = |number: usize| address(u8::try_from(number / 2).unwrap());
        many.extend((0..ALL_MAX - 3).map(|number| strangers.enter(two_each(number), now)));
        let newcomer = strangers.enter(address(250), now);
        assert!(must_leave(&many[0]).await && !must_leave(&many[1]).await && !must_leave(&newcomer).await);
        assert_eq!(lock(&strangers.table).leave.len(), ALL_MAX);
    }

    #[tokio::test]
    async fn one_that_has_proved_itself_does_not_have_to_go() {
        let strangers = Arc::new(Strangers::default());
        let now = Instant::now();
        let first = strangers.enter(address(1), now);
        let leave = first.leave();
        drop(first);
        let _others: Vec<_> = (0..=ALL_MAX).map(|_| strangers.enter(address(1), now)).collect();
        let told = tokio::time::timeout(Duration::from_millis(5), leave.notified());
        assert!(told.await.is_err());
    }
}
