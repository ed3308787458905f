//! What differs of a list that was told: only that is written, under the lease that the rest has.

use ipnet::IpNet;

use crate::dataplane::{
    Error,
    allowlist::Allowlist,
    denylist::{
        Denylist, ListLease, Listed,
        lists::{Generation, Member, Members, Stage},
    },
    settings::SettingsMap,
};

impl Denylist {
    /// Takes prefixes off a list and puts others on it, all in one go; what has become of the list. The lease is for a
    /// list that has nothing yet.
    pub fn list_change(
        &mut self,
        settings: &mut SettingsMap,
        allowlist: &Allowlist,
        lease: ListLease,
        gone: &[IpNet],
        new: &[IpNet],
    ) -> Result<Listed, Error> {
        let own = self.lists.iter().filter(|generation| generation.lease.id == lease.id);
        let mut numbers: Vec<u64> = own.map(|generation| generation.number).collect();
        let mut listed = Listed::default();
        // All of them, also behind one that fails.
        let mut result = Ok(());
        for number in &numbers {
            let removed = self.take_out(allowlist, *number, gone);
            listed.removed += *removed.as_ref().unwrap_or(&0);
            result = result.and(removed.map(drop));
        }
        if !new.is_empty() && numbers.is_empty() {
            self.list_begin(allowlist, lease)?;
            numbers.extend(self.lists.telling(lease.id));
        }
        if let Some(number) = numbers.last().copied()
            && let Some(before) = self.lists.get(number).map(|generation| generation.listed)
        {
            result = result.and(self.tell_all(settings, allowlist, number, new));
            if let Some(generation) = self.lists.get_mut(number) {
                generation.stage = Stage::Held;
                listed.added = generation.listed.added - before.added;
                listed.without_room = generation.listed.without_room - before.without_room;
            }
        }
        for number in numbers {
            match self.lists.get(number).map_or(0, Generation::len) {
                0 => self.forget(number),
                entries => listed.entries += entries,
            }
        }
        result.map(|()| listed)
    }

    /// Takes those of the prefixes away that a generation has. Returns how many its list has no more.
    fn take_out(&mut self, allowlist: &Allowlist, number: u64, prefixes: &[IpNet]) -> Result<usize, Error> {
        let Some(generation) = self.lists.get_mut(number) else { return Ok(0) };
        let Members { sources4, sources6, prefixes } = Members::of(prefixes);
        let members = Members {
            sources4: taken_out(generation, sources4),
            sources6: taken_out(generation, sources6),
            prefixes: taken_out(generation, prefixes),
        };
        let claim = generation.claim();
        self.withdraw_all(allowlist, claim, &members)
    }
}

/// Those that were there, in order.
fn taken_out<M: Member>(generation: &mut Generation, mut members: Vec<M>) -> Vec<M> {
    members.sort_unstable();
    members.retain(|member| M::of_mut(generation).remove(member));
    members
}
