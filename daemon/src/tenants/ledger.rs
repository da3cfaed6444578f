//! Audio of the day by token: what this node has counted, and what the others have.

use std::collections::BTreeMap;

use super::day::Day;
use crate::access::TenantId;

/// The sums of one day, in seconds.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    day: Day,
    by_tenant: BTreeMap<TenantId, Sums>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    /// Counted by this node before this process began.
    before: f64,
    /// Counted by this process.
    since: f64,
    /// Counted by the other nodes.
    others: f64,
}

impl Ledger {
    /// Clears the sums where `today` is a later day. Gives the day that is counted.
    pub(super) fn turn(&mut self, today: Day) -> Day {
        // A clock that is set back does not bring a day back.
        if today > self.day {
            (self.day, self.by_tenant) = (today, BTreeMap::new());
        }
        self.day
    }

    /// The day that is counted.
    pub(super) fn day(&self) -> Day {
        self.day
    }

    /// Counts audio here.
    pub(super) fn add(&mut self, tenant: &TenantId, seconds: f64) {
        self.by_tenant.entry(tenant.clone()).or_default().since += seconds;
    }

    /// What is known of this node's share from before this process began. Of several, the highest counts.
    pub(super) fn had(&mut self, day: Day, tenant: &TenantId, seconds: f64) {
        if day == self.day && seconds.is_finite() {
            let sums = self.by_tenant.entry(tenant.clone()).or_default();
            sums.before = sums.before.max(seconds);
        }
    }

    /// What the other nodes have counted together.
    pub(super) fn set_others(&mut self, day: Day, tenant: &TenantId, seconds: f64) {
        if day == self.day && seconds.is_finite() {
            self.by_tenant.entry(tenant.clone()).or_default().others = seconds.max(0.0);
        }
    }

    /// Audio of a token on all nodes.
    pub(super) fn used_s(&self, tenant: &TenantId) -> f64 {
        self.by_tenant.get(tenant).map_or(0.0, |sums| sums.before + sums.since + sums.others)
    }

    /// This node's share, by token.
    pub(super) fn own(&self) -> BTreeMap<TenantId, f64> {
        let own = self.by_tenant.iter().map(|(tenant, sums)| (tenant.clone(), sums.before + sums.since));
        own.filter(|(_, seconds)| *seconds > 0.0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_a_new_day_begins_anew() {
        let (ada, bob) = (TenantId::of("ada"), TenantId::of("bob"));
        let mut ledger = Ledger::default();
        assert_eq!(ledger.turn(Day(7)), Day(7));
        ledger.add(&ada, 2.0);
        ledger.add(&ada, 3.0);
        ledger.set_others(Day(7), &ada, 10.0);
        ledger.set_others(Day(7), &ada, 20.0);
        ledger.set_others(Day(6), &ada, 90.0);
        assert_eq!((ledger.used_s(&ada), ledger.used_s(&bob)), (25.0, 0.0));
        assert_eq!(ledger.own(), BTreeMap::from([(ada.clone(), 5.0)]), "others are no part of it");
        assert_eq!(ledger.turn(Day(6)), Day(7), "a clock that was set back");
        assert_eq!(ledger.used_s(&ada), 25.0);
        assert_eq!((ledger.turn(Day(8)), ledger.used_s(&ada)), (Day(8), 0.0));
    }

    #[test]
    fn what_was_counted_before_counts_once() {
        let ada = TenantId::of("ada");
        let mut ledger = Ledger::default();
        ledger.turn(Day(7));
        ledger.add(&ada, 1.0);
        // The file has less than NATS, as the process was killed.
        ledger.had(Day(7), &ada, 98.0);
        ledger.had(Day(7), &ada, 100.0);
        ledger.had(Day(7), &ada, 98.0);
        ledger.had(Day(6), &ada, 500.0);
        ledger.had(Day(7), &ada, f64::NAN);
        assert_eq!(ledger.own()[&ada], 101.0);
    }
}
