//! Lists in the kernel: told piece by piece, each piece in force at once.
//!
//! The same order as for one entry: on adding first the entries, then their bits; on removing first the bits. What a
//! list held before stays until all is told, so a source that is in both is denied all the time.

mod change;

use std::collections::{BTreeMap, HashSet};

use gateway_common::denylist::DenyValue;
use ipnet::IpNet;

use super::{
    DenyEntry, Denylist,
    lists::{Claim, Hints, ListLease, Listed, Lists, Member, Members, Stage},
    sorted::Hint,
};
use crate::dataplane::{Error, allowlist::Allowlist, prefix::Key, settings::SettingsMap, walk::DENYLISTS};

/// Entries that are removed or told again in one go.
const PIECE: usize = 8192;
/// Pieces of lists that have ended that are removed in one sweep.
const PIECES_PER_SWEEP: usize = 4;
/// Entries that lists leave room for in each map, at least; at most half of it.
const RESERVE_MIN: usize = 1024;

/// Entries of a map of some capacity that lists may fill it up to.
const fn room_of_lists(capacity: usize) -> usize {
    let reserve = if capacity / 16 > RESERVE_MIN { capacity / 16 } else { RESERVE_MIN };
    capacity - if reserve < capacity / 2 { reserve } else { capacity / 2 }
}

impl Denylist {
    /// Begins to tell a list anew.
    pub fn list_begin(&mut self, allowlist: &Allowlist, lease: ListLease) -> Result<(), Error> {
        // One that broke off goes in pieces, the rest of them with the next sweeps.
        for _ in 0..PIECES_PER_SWEEP {
            let Some(number) = self.lists.abandoned(lease.id) else { break };
            self.take_away(allowlist, number)?;
        }
        // A list that is not counted by itself is better than none.
        let _ = self.relieve_bans(allowlist);
        self.bans.retain(lease.id, None)?;
        self.lists.begin(lease);
        Ok(())
    }

    /// Adds members to a list that was begun.
    pub fn list_add(
        &mut self,
        settings: &mut SettingsMap,
        allowlist: &Allowlist,
        id: u32,
        prefixes: &[IpNet],
    ) -> Result<(), Error> {
        let number = self.lists.telling(id).ok_or(Error::NotBegun { id })?;
        self.tell_all(settings, allowlist, number, prefixes)
    }

    /// Adds members to a generation.
    fn tell_all(
        &mut self,
        settings: &mut SettingsMap,
        allowlist: &Allowlist,
        number: u64,
        prefixes: &[IpNet],
    ) -> Result<(), Error> {
        let Members { sources4, sources6, prefixes } = Members::of(prefixes);
        // All kinds, also behind one that fails.
        let sources4 = self.tell(settings, allowlist, number, sources4);
        let sources6 = self.tell(settings, allowlist, number, sources6);
        sources4.and(sources6).and(self.tell(settings, allowlist, number, prefixes))
    }

    /// Takes the next piece away of what a list held before; at last what has become of it.
    pub fn list_commit(
        &mut self,
        settings: &mut SettingsMap,
        allowlist: &Allowlist,
        id: u32,
    ) -> Result<Option<Listed>, Error> {
        let number = self.lists.telling(id).ok_or(Error::NotBegun { id })?;
        if let Some(before) = self.lists.before(id) {
            if self.lists.is_superseded(before, number) {
                self.forget(before);
                return Ok(None);
            }
            let removed = self.take_away(allowlist, before)?;
            if let Some(generation) = self.lists.get_mut(number) {
                generation.listed.removed += removed;
            }
            return Ok(None);
        }
        let Some(generation) = self.lists.get_mut(number) else { return Err(Error::NotBegun { id }) };
        generation.waiting_max = 0;
        if !generation.waiting.is_empty() {
            let keep = generation.waiting.len().saturating_sub(PIECE);
            let piece = generation.waiting.split_off(keep);
            self.list_add(settings, allowlist, id, &piece)?;
            return Ok(None);
        }
        generation.stage = Stage::Held;
        generation.sources4.shrink();
        generation.sources6.shrink();
        generation.prefixes.shrink();
        let listed = Listed { entries: generation.len(), ..generation.listed };
        if generation.is_empty() {
            self.forget(number);
        }
        Ok(Some(listed))
    }

    /// The lists that have entries.
    pub fn lists(&self) -> Vec<u32> {
        self.lists.ids()
    }

    /// Removes some of what lists have whose lease was over at `now_ns`.
    pub(super) fn sweep_lists(&mut self, allowlist: &Allowlist, now_ns: u64) -> Result<(), Error> {
        for _ in 0..PIECES_PER_SWEEP {
            let Some(number) = self.lists.over(now_ns) else { break };
            self.take_away(allowlist, number)?;
        }
        Ok(())
    }

    /// The allowlist has changed at a canonical prefix: entries of lists that overlap it are written again.
    pub(super) fn reconsider_lists(&mut self, allowlist: &Allowlist, prefix: IpNet) -> Result<(), Error> {
        let all: Vec<Members> =
            self.lists.iter().map(|generation| Lists::inside(generation, prefix)).collect();
        let mut result = Ok(());
        for Members { sources4, sources6, prefixes } in all {
            result = result.and(self.write_again(allowlist, &sources4));
            result = result.and(self.write_again(allowlist, &sources6));
            result = result.and(self.write_again(allowlist, &prefixes));
        }
        result
    }

    /// Writes those members again that a list holds. All of them, also behind one that fails.
    fn write_again<M: Member>(&mut self, allowlist: &Allowlist, members: &[M]) -> Result<(), Error> {
        let mut result = Ok(());
        for piece in members.chunks(PIECE) {
            let claims = piece.iter().filter_map(|member| Some((*member, self.best(member.prefix())?)));
            let rows: Vec<_> = claims
                .filter(|(_, claim)| claim.generation.is_some())
                .map(|(member, claim)| self.row(allowlist, member, claim))
                .collect();
            result = result.and(self.rewrite(&rows));
        }
        result
    }

    /// Adds members of one kind to a generation.
    fn tell<M: Member>(
        &mut self,
        settings: &mut SettingsMap,
        allowlist: &Allowlist,
        number: u64,
        mut members: Vec<M>,
    ) -> Result<(), Error> {
        members.sort_unstable();
        members.dedup();
        let mut room = self.room_of_lists();
        let Self { tables, lists, filter, bans, entries, counts, .. } = self;
        let Some(generation) = lists.get(number) else { return Ok(()) };
        if room.iter().any(|room| *room < members.len()) {
            // Those that the list was told already need none.
            let mut hint = Hint::default();
            members.retain(|member| !M::of(generation).contains(member, &mut hint));
        }
        let (id, claim) = (generation.lease.id, generation.claim());
        let slot = bans.slot(id);
        let mut refused: Vec<M> = Vec::new();
        let (failed, (mut taken, noted, grown)) = tables.insert_while(|writing| {
            let mut taken: Vec<Taken<M>> = Vec::with_capacity(members.len());
            let mut hints = Hints::default();
            for member in members {
                let (other, own) = claims(lists, entries, member, id, Some(number), &mut hints);
                let key = member.key();
                let free = &mut room[key.list()];
                match other {
                    None if *free == 0 => {
                        refused.push(member);
                        continue;
                    }
                    None => *free -= 1,
                    Some(_) => {}
                }
                if other.is_none_or(|other| other.rank() < claim.rank() && !other.is_same(&claim)) {
                    let prefix = member.prefix();
                    writing.push(key, claim.value(prefix, slot, !allowlist.overlaps(prefix)));
                }
                taken.push(Taken { member, known: other.is_some(), own });
            }
            if let Some(generation) = lists.get_mut(number) {
                let mut hint = Hint::default();
                // What it was told before is written once more, which changes nothing.
                taken.retain(|taken| M::of_mut(generation).insert_from(taken.member, &mut hint));
            }
            let fresh = taken.iter().filter(|taken| !taken.known);
            let (noted, grown) = filter.note_many(settings, fresh.map(|taken| taken.member.marks()));
            (taken, noted, grown)
        });
        filter.show(&noted);
        let (mut failure, mut unwritten) = (None, HashSet::new());
        for (key, error) in failed {
            unwritten.insert(key);
            failure = failure.or((!matches!(error, Error::Full { .. })).then_some(error));
        }
        // One that the kernel had is there, with its old value: that is found again as drift.
        let lost = |taken: &Taken<M>| !taken.known && unwritten.contains(&taken.member.key());
        let lost: Vec<M> = taken.extract_if(.., |taken| lost(taken)).map(|taken| taken.member).collect();
        filter.remove_many(lost.iter().map(|member| member.marks()));
        taken.iter().filter(|taken| !taken.known).for_each(|taken| counts[taken.member.key().list()] += 1);
        lists.retold(id, taken.iter().filter(|taken| taken.own).count());
        if let Some(generation) = lists.get_mut(number) {
            generation.listed.added += taken.iter().filter(|taken| !taken.own).count();
            for member in &lost {
                M::of_mut(generation).remove(member);
            }
            refused.extend(lost);
            let wait = generation.waiting_max.saturating_sub(generation.waiting.len()).min(refused.len());
            generation.listed.without_room += refused.len() - wait;
            generation.waiting.extend(refused[..wait].iter().map(|member| member.prefix()));
        }
        grown.and(failure.map_or(Ok(()), Err))
    }

    /// Takes a piece of a generation away, and forgets it with the last one. Returns how many members its list has no
    /// more.
    fn take_away(&mut self, allowlist: &Allowlist, number: u64) -> Result<usize, Error> {
        let Some(generation) = self.lists.get_mut(number) else { return Ok(0) };
        let (claim, stage) = (generation.claim(), generation.stage);
        generation.retold = None;
        let sources4 = generation.sources4.pop(PIECE);
        let sources6 = generation.sources6.pop(PIECE - sources4.len());
        let prefixes = generation.prefixes.pop(PIECE - sources4.len() - sources6.len());
        let last = generation.is_empty() && stage != Stage::Telling;
        let removed = self.withdraw_all(allowlist, claim, &Members { sources4, sources6, prefixes });
        if last {
            self.forget(number);
        }
        removed
    }

    fn withdraw_all(
        &mut self,
        allowlist: &Allowlist,
        claim: Claim,
        members: &Members,
    ) -> Result<usize, Error> {
        // All kinds, also behind one that fails.
        let sources4 = self.withdraw(allowlist, claim, &members.sources4);
        let sources6 = self.withdraw(allowlist, claim, &members.sources6);
        let prefixes = self.withdraw(allowlist, claim, &members.prefixes);
        Ok(sources4? + sources6? + prefixes?)
    }

    /// Gives up a claim to members, in order, that are out of the generation already: whoever is next holds them.
    fn withdraw<M: Member>(
        &mut self,
        allowlist: &Allowlist,
        claim: Claim,
        members: &[M],
    ) -> Result<usize, Error> {
        let mut removed = 0;
        let (mut gone, mut rows) = (Vec::new(), Vec::new());
        let mut hints = Hints::default();
        for member in members {
            let (next, own) =
                claims(&self.lists, &self.entries, *member, claim.entry.ban_id, claim.generation, &mut hints);
            removed += usize::from(!own);
            match next {
                None => gone.push(*member),
                Some(next) if next.rank() < claim.rank() && !next.is_same(&claim) => {
                    rows.push(self.row(allowlist, *member, next));
                }
                Some(_) => {}
            }
        }
        gone.iter().for_each(|member| self.counts[member.key().list()] -= 1);
        self.filter.remove_many(gone.iter().map(|member| member.marks()));
        let keys: Vec<Key> = gone.iter().map(|member| member.key()).collect();
        let deleted = self.tables.remove_all(&keys);
        self.rewrite(&rows).and(deleted)?;
        Ok(removed)
    }

    /// Writes entries that the kernel has with their new values. All of them, also behind one that fails.
    fn rewrite(&mut self, rows: &[(Key, DenyValue)]) -> Result<(), Error> {
        let failed = self.tables.insert_all(rows);
        failed.into_iter().map(|(_, error)| Err(error)).fold(Ok(()), Result::and)
    }

    fn row<M: Member>(&self, allowlist: &Allowlist, member: M, claim: Claim) -> (Key, DenyValue) {
        let prefix = member.prefix();
        let slot = self.bans.slot(claim.entry.ban_id);
        (member.key(), claim.value(prefix, slot, !allowlist.overlaps(prefix)))
    }

    fn forget(&mut self, number: u64) {
        if let Some(generation) = self.lists.get(number) {
            self.bans.release(generation.lease.id);
            self.lists.forget(number);
        }
    }

    /// Entries that lists may still add to each map.
    fn room_of_lists(&self) -> [usize; DENYLISTS.len()] {
        let capacities = self.tables.capacities();
        std::array::from_fn(|map| room_of_lists(capacities[map]).saturating_sub(self.counts[map]))
    }
}

/// A member that a list is told.
struct Taken<M> {
    member: M,
    /// Whether the kernel has it already.
    known: bool,
    /// Whether the list had it.
    own: bool,
}

/// The highest claim to a member, and whether a generation of the list `id` has it; a generation may be left out.
fn claims<M: Member>(
    lists: &Lists,
    bans: &BTreeMap<IpNet, DenyEntry>,
    member: M,
    id: u32,
    except: Option<u64>,
    hints: &mut Hints,
) -> (Option<Claim>, bool) {
    let (list, own) = lists.find(member, id, except, hints);
    // Lists are filled while there are few bans, or none.
    let ban = if bans.is_empty() { None } else { bans.get(&member.prefix()) };
    let ban = ban.map(|ban| Claim::ban(*ban));
    (ban.into_iter().chain(list).max_by_key(Claim::rank), own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_leave_room_for_bans_and_have_half_of_a_small_map() {
        for (capacity, lists) in
            [(0, 0), (1, 1), (8, 4), (2048, 1024), (4096, 3072), (16_384, 15_360), (1 << 20, 983_040)]
        {
            assert_eq!(room_of_lists(capacity), lists, "{capacity}");
        }
    }
}
