//! All open connections, and who is let in. Where there are as many as there may be, the one that has waited longest for a
//! request makes way, so that idle sockets keep nobody out.

use super::activity::{Activity, Wish};
use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::time::Instant;

/// How many connections may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// In all.
    pub total: usize,
    /// From one address; of IPv6, from one network of 64 bits.
    pub per_address: usize,
}

impl ConnectionLimits {
    /// The most connections by default.
    pub const TOTAL: usize = 8_192;

    /// So many in all, of which one address may have half.
    #[must_use]
    pub const fn of(total: usize) -> Self {
        Self { total, per_address: total.div_ceil(2) }
    }

    /// A sixteenth more: while connections that were asked to make way are still ending.
    fn with_those_that_end(limit: usize) -> usize {
        limit.saturating_add(limit.div_ceil(16))
    }
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self::of(Self::TOTAL)
    }
}

/// All open connections.
pub struct Connections {
    limits: ConnectionLimits,
    epoch: Instant,
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    next: u64,
    open: BTreeMap<u64, Open>,
    by_address: HashMap<IpAddr, usize>,
}

struct Open {
    address: IpAddr,
    activity: Arc<Activity>,
}

/// A connection's place among all, until it is dropped.
pub struct Place {
    connections: Arc<Connections>,
    number: u64,
    /// What the connection is doing.
    pub activity: Arc<Activity>,
}

impl Connections {
    pub fn new(limits: ConnectionLimits) -> Self {
        Self { limits, epoch: Instant::now(), list: Mutex::default() }
    }

    /// Lets a connection in, unless there are too many. Costs a walk over all connections where another must make way.
    pub fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let address = network(peer);
        let mut list = self.list();
        let ConnectionLimits { total, per_address } = self.limits;
        let (in_all, here) = (list.open.len(), list.by_address.get(&address).copied().unwrap_or(0));
        if here >= per_address {
            list.make_way(here, per_address, Some(address))?;
        }
        if in_all >= total {
            list.make_way(in_all, total, None)?;
        }
        let activity = Arc::new(Activity::new(self.epoch));
        let number = list.next;
        list.next += 1;
        list.open.insert(number, Open { address, activity: activity.clone() });
        *list.by_address.entry(address).or_default() += 1;
        Some(Place { connections: self.clone(), number, activity })
    }

    /// Closes the connections that are idle now, and each other one when it becomes so.
    pub fn close_idle(&self) {
        for open in self.list().open.values() {
            open.activity.ask(Wish::EndWhenIdle);
        }
    }

    /// What is done under the lock can't be left half done.
    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl List {
    /// Asks the connection to end that has waited longest for a request, of one address or of all. `None` when none can,
    /// or when too many that were asked have not ended yet.
    fn make_way(&self, count: usize, limit: usize, address: Option<IpAddr>) -> Option<()> {
        if count >= ConnectionLimits::with_those_that_end(limit) {
            return None;
        }
        let of_address = |open: &&Open| address.is_none_or(|address| address == open.address);
        let waiting = |open: &Open| {
            let asked = open.activity.wish() == Wish::EndUnlessAnswering;
            open.activity.waits_since().filter(|_| !asked)
        };
        let (_, longest) = self
            .open
            .values()
            .filter(of_address)
            .filter_map(|open| Some((waiting(open)?, open)))
            .min_by_key(|(since, _)| *since)?;
        longest.activity.ask(Wish::EndUnlessAnswering);
        Some(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut list = self.connections.list();
        let Some(Open { address, .. }) = list.open.remove(&self.number) else { return };
        if let Some(count) = list.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                list.by_address.remove(&address);
            }
        }
    }
}

/// What counts as one address: who has one address of IPv6 usually has 2^64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(total: usize, per_address: usize) -> Arc<Connections> {
        Arc::new(Connections::new(ConnectionLimits { total, per_address }))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn asked(place: &Place) -> bool {
        place.activity.wish() != Wish::None
    }

    #[test]
    fn an_address_of_ipv6_is_a_network() {
        for (one, other, same) in [
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("10.0.0.1", "::ffff:10.0.0.1", true),
            ("2001:db8::1", "2001:db8::ffff:1", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
        ] {
            assert_eq!(network(address(one)) == network(address(other)), same, "{one} {other}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_waiting_of_the_address_makes_way() {
        let connections = connections(10, 2);
        let (a, b) = (address("10.0.0.1"), address("10.0.0.2"));
        let other = connections.admit(b).unwrap();
        let mut places = Vec::new();
        for _ in 0..2 {
            tokio::time::advance(std::time::Duration::from_millis(1)).await;
            places.push(connections.admit(a).unwrap());
        }
        // The older one is used.
        places[0].activity.request_began();
        tokio::time::advance(std::time::Duration::from_millis(1)).await;
        let third = connections.admit(a).unwrap();
        assert_eq!((asked(&places[0]), asked(&places[1]), asked(&other)), (false, true, false));
        assert!(connections.admit(a).is_none(), "one is still ending, and there is no place for two");
        drop(places);
        assert!(connections.admit(a).is_some());
        assert!(!asked(&third));
    }

    #[test]
    fn who_is_answered_does_not_make_way() {
        let connections = connections(2, 2);
        let busy: Vec<_> = ["10.0.0.1", "10.0.0.2"].map(|at| connections.admit(address(at)).unwrap()).into();
        for place in &busy {
            place.activity.request_began();
        }
        assert!(connections.admit(address("10.0.0.3")).is_none());
        drop(busy);
        assert!(connections.admit(address("10.0.0.3")).is_some());
        assert!(connections.list().open.is_empty() && connections.list().by_address.is_empty());
    }
}
