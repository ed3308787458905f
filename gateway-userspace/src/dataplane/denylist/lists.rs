//! What the lists hold, as far as this process knows it. Nothing here touches the kernel.
//!
//! A list is held in *generations*: what it held so far, and what is being told anew. Each has its lease. A key of the
//! kernel has one value, and whoever claims the key with the highest [rank](Claim::rank) holds it.
//!
//! Memory: see [`Sorted`]; twice while a list is told.

use std::ops::RangeInclusive;

use gateway_common::{
    denylist::{DenyValue, FLAG_LIST},
    filter::{Marks, marks4, marks6},
    source::HOST_BITS6,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{
    DenyEntry,
    sorted::{Hint, Sorted},
};
use crate::dataplane::prefix::{Key, canonical, marks};

/// The lease of a list: of each of its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListLease {
    /// Its number, of the same sequence as those of bans: what it drops is counted under it.
    pub id: u32,
    /// End in nanoseconds of `CLOCK_MONOTONIC`, or `None` for no end.
    pub until_ns: Option<u64>,
    /// Count what would be dropped, and pass it.
    pub observe: bool,
}

/// What has become of a list that was told anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Entries that it has now, also those that a ban or another list holds in the kernel.
    pub entries: usize,
    /// Those that it did not have before.
    pub added: usize,
    /// Those that it has no more.
    pub removed: usize,
    /// Those that there was no room for.
    pub without_room: usize,
}

/// Who wants a key of the kernel, and as what.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    pub entry: DenyEntry,
    /// The generation of a list; none: a ban.
    pub generation: Option<u64>,
}

impl Claim {
    pub const fn ban(entry: DenyEntry) -> Self {
        Self { entry, generation: None }
    }

    /// The greatest holds the key: what drops goes before what only counts, as among nested prefixes; then what lets
    /// nobody through, for a list has no parole; then the lease that ends last, for there may be nobody to write the
    /// next one then; then a ban before lists; then what was told last.
    pub fn rank(&self) -> (bool, bool, u64, bool, Option<u64>) {
        let DenyEntry { until_ns, observe, parole, .. } = self.entry;
        (!observe, parole.is_none(), until_ns.unwrap_or(u64::MAX), self.generation.is_none(), self.generation)
    }

    /// Whether the kernel would not see the difference.
    pub fn is_same(&self, other: &Self) -> bool {
        self.entry == other.entry && self.generation.is_some() == other.generation.is_some()
    }

    pub fn value(&self, prefix: IpNet, slot: u32, apart: bool) -> DenyValue {
        self.entry.value(prefix, slot, apart).with(FLAG_LIST, self.generation.is_some())
    }
}

/// A member of a list: an IPv4 address, the number of an IPv6 /64, or another prefix.
pub trait Member: Copy + Ord {
    fn prefix(self) -> IpNet;
    fn key(self) -> Key;
    fn marks(self) -> Marks;
    fn of(generation: &Generation) -> &Sorted<Self>;
    fn of_mut(generation: &mut Generation) -> &mut Sorted<Self>;
}

impl Member for u32 {
    fn prefix(self) -> IpNet {
        IpNet::V4(Ipv4Net::from(std::net::Ipv4Addr::from(self)))
    }

    fn key(self) -> Key {
        Key::Source4(self.to_be_bytes())
    }

    fn marks(self) -> Marks {
        marks4(self, 32)
    }

    fn of(generation: &Generation) -> &Sorted<Self> {
        &generation.sources4
    }

    fn of_mut(generation: &mut Generation) -> &mut Sorted<Self> {
        &mut generation.sources4
    }
}

impl Member for u64 {
    fn prefix(self) -> IpNet {
        let address = (u128::from(self) << 64).into();
        IpNet::V6(Ipv6Net::new(address, HOST_BITS6).unwrap_or_default())
    }

    fn key(self) -> Key {
        Key::Source6(self.to_be_bytes())
    }

    fn marks(self) -> Marks {
        marks6(self, HOST_BITS6)
    }

    fn of(generation: &Generation) -> &Sorted<Self> {
        &generation.sources6
    }

    fn of_mut(generation: &mut Generation) -> &mut Sorted<Self> {
        &mut generation.sources6
    }
}

impl Member for IpNet {
    fn prefix(self) -> IpNet {
        self
    }

    fn key(self) -> Key {
        Key::of(self)
    }

    fn marks(self) -> Marks {
        marks(self)
    }

    fn of(generation: &Generation) -> &Sorted<Self> {
        &generation.prefixes
    }

    fn of_mut(generation: &mut Generation) -> &mut Sorted<Self> {
        &mut generation.prefixes
    }
}

/// Prefixes as members of a list: of each kind those that came.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Members {
    pub sources4: Vec<u32>,
    pub sources6: Vec<u64>,
    pub prefixes: Vec<IpNet>,
}

impl Members {
    /// Of any prefixes. An IPv6 host stands for its /64: it can have any address of that.
    pub fn of(prefixes: &[IpNet]) -> Self {
        let mut this = Self::default();
        for prefix in prefixes {
            match canonical(*prefix) {
                IpNet::V4(v4) if v4.prefix_len() == 32 => this.sources4.push(v4.addr().into()),
                IpNet::V6(v6) if v6.prefix_len() >= HOST_BITS6 => {
                    this.sources6.push((u128::from(v6.addr()) >> 64) as u64);
                }
                other => this.prefixes.push(other),
            }
        }
        this
    }
}

/// How it stands with a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// More may be told.
    Telling,
    /// All was told.
    Held,
    /// The telling was begun anew before it was through.
    Abandoned,
}

/// What a list was told in one go, or was found to have.
#[derive(Debug)]
pub struct Generation {
    /// Later ones have greater numbers.
    pub number: u64,
    pub lease: ListLease,
    pub stage: Stage,
    pub sources4: Sorted<u32>,
    pub sources6: Sorted<u64>,
    pub prefixes: Sorted<IpNet>,
    /// Members that there may be room for when what the list held before is gone, and how many are kept at most.
    pub waiting: Vec<IpNet>,
    pub waiting_max: usize,
    pub listed: Listed,
    /// How many of the members its list was told again, which is told anew. None if it is not the only one that the
    /// list held before, or has lost some meanwhile.
    pub retold: Option<usize>,
}

impl Generation {
    fn new(number: u64, lease: ListLease, stage: Stage) -> Self {
        Self {
            number,
            lease,
            stage,
            sources4: Sorted::new(),
            sources6: Sorted::new(),
            prefixes: Sorted::new(),
            waiting: Vec::new(),
            waiting_max: 0,
            listed: Listed::default(),
            retold: None,
        }
    }

    pub fn claim(&self) -> Claim {
        let ListLease { id, until_ns, observe } = self.lease;
        let entry = DenyEntry { until_ns, observe, ..DenyEntry::forever(id) };
        Claim { entry, generation: Some(self.number) }
    }

    pub fn len(&self) -> usize {
        self.sources4.len() + self.sources6.len() + self.prefixes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Of each member.
    pub fn marks(&self) -> impl Iterator<Item = Marks> + '_ {
        let sources = self.sources4.iter().map(Member::marks).chain(self.sources6.iter().map(Member::marks));
        sources.chain(self.prefixes.iter().map(Member::marks))
    }

    /// Whether it may go whatever else becomes of its list.
    fn is_over(&self, now_ns: u64) -> bool {
        self.stage == Stage::Abandoned || self.lease.until_ns.is_some_and(|until_ns| until_ns <= now_ns)
    }

    fn nth(&self, index: usize) -> Option<IpNet> {
        let Some(index) = index.checked_sub(self.sources4.len()) else {
            return self.sources4.nth(index).map(Member::prefix);
        };
        let Some(index) = index.checked_sub(self.sources6.len()) else {
            return self.sources6.nth(index).map(Member::prefix);
        };
        self.prefixes.nth(index)
    }
}

/// Generations of one list that are taken over apart from each other.
const ADOPTED_MAX: usize = 16;

/// Where members were found in each generation.
#[derive(Debug, Default)]
pub struct Hints(Vec<Hint>);

/// All lists.
#[derive(Debug, Default)]
pub struct Lists {
    /// In the order of their numbers.
    generations: Vec<Generation>,
    numbers: u64,
    /// Members before the one that [`Lists::next_sample`] begins with.
    sampled: usize,
}

impl Lists {
    fn push(&mut self, lease: ListLease, stage: Stage) -> &mut Generation {
        self.numbers += 1;
        let at = self.generations.len();
        self.generations.push(Generation::new(self.numbers, lease, stage));
        &mut self.generations[at]
    }

    /// Begins to tell a list anew. A telling of it that was not finished is abandoned.
    pub fn begin(&mut self, lease: ListLease) {
        let only = self.of(lease.id).count() == 1;
        let own = self.generations.iter_mut().filter(|generation| generation.lease.id == lease.id);
        let mut waiting_max = 0;
        for generation in own {
            if generation.stage == Stage::Telling {
                generation.stage = Stage::Abandoned;
                generation.waiting = Vec::new();
            }
            generation.retold = only.then_some(0);
            waiting_max += generation.len();
        }
        self.push(lease, Stage::Telling).waiting_max = waiting_max;
    }

    /// Takes an entry over that a process before has written. Whether its lease is the one that it is held under now.
    pub fn adopt(&mut self, prefix: IpNet, lease: ListLease) -> bool {
        let own = || self.generations.iter().enumerate().filter(|(_, other)| other.lease.id == lease.id);
        let same = own().find(|(_, other)| other.lease == lease).map(|(at, _)| at);
        // So many of one list were not made by tellings that broke off.
        let at = same.or_else(|| own().nth(ADOPTED_MAX - 1).map(|(at, _)| at));
        let generation = match at {
            Some(at) => &mut self.generations[at],
            None => self.push(lease, Stage::Held),
        };
        match Key::of(prefix) {
            Key::Source4(address) => generation.sources4.insert(u32::from_be_bytes(address)),
            Key::Source6(network) => generation.sources6.insert(u64::from_be_bytes(network)),
            Key::Prefix4(..) | Key::Prefix6(..) => generation.prefixes.insert(prefix),
        };
        generation.lease == lease
    }

    pub fn get(&self, number: u64) -> Option<&Generation> {
        self.generations.iter().find(|generation| generation.number == number)
    }

    pub fn get_mut(&mut self, number: u64) -> Option<&mut Generation> {
        self.generations.iter_mut().find(|generation| generation.number == number)
    }

    pub fn forget(&mut self, number: u64) {
        self.generations.retain(|generation| generation.number != number);
    }

    /// The generation of a list that is being told.
    pub fn telling(&self, id: u32) -> Option<u64> {
        self.of(id).find(|generation| generation.stage == Stage::Telling).map(|generation| generation.number)
    }

    /// A generation of a list that goes when all is told.
    pub fn before(&self, id: u32) -> Option<u64> {
        self.of(id).find(|generation| generation.stage != Stage::Telling).map(|generation| generation.number)
    }

    /// The list `id`, which is told anew, was told so many members again that it held before.
    pub fn retold(&mut self, id: u32, members: usize) {
        let before = self
            .generations
            .iter_mut()
            .find(|generation| generation.lease.id == id && generation.stage != Stage::Telling);
        if let Some(Generation { retold: Some(retold), .. }) = before {
            *retold += members;
        }
    }

    /// Whether all that a generation has is held by a later one of its list instead, so that nothing changes without it.
    pub fn is_superseded(&self, before: u64, by: u64) -> bool {
        let (Some(before), Some(by)) = (self.get(before), self.get(by)) else { return false };
        before.retold == Some(before.len()) && before.claim().rank() < by.claim().rank()
    }

    /// A generation of a list whose telling was not finished, and that is not gone yet.
    pub fn abandoned(&self, id: u32) -> Option<u64> {
        let abandoned = self.of(id).find(|generation| generation.stage == Stage::Abandoned);
        abandoned.map(|generation| generation.number)
    }

    /// A generation that has something to take away at `now_ns`.
    pub fn over(&self, now_ns: u64) -> Option<u64> {
        let gone = |generation: &&Generation| {
            let stays = generation.stage == Stage::Telling && generation.is_empty();
            generation.is_over(now_ns) && !stays
        };
        self.generations.iter().find(gone).map(|generation| generation.number)
    }

    fn of(&self, id: u32) -> impl Iterator<Item = &Generation> + '_ {
        self.generations.iter().filter(move |generation| generation.lease.id == id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Generation> + '_ {
        self.generations.iter()
    }

    /// The lists that have members.
    pub fn ids(&self) -> Vec<u32> {
        let with_members = self.generations.iter().filter(|generation| !generation.is_empty());
        let mut ids: Vec<u32> = with_members.map(|generation| generation.lease.id).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The highest claim of a list to a member, and whether a generation of the list `id` has it; a generation may be
    /// left out. Members that come in order are found faster with the same hints.
    pub fn find<M: Member>(
        &self,
        member: M,
        id: u32,
        except: Option<u64>,
        hints: &mut Hints,
    ) -> (Option<Claim>, bool) {
        hints.0.resize(self.generations.len(), Hint::default());
        let (mut best, mut own): (Option<Claim>, bool) = (None, false);
        for (generation, hint) in self.generations.iter().zip(&mut hints.0) {
            if Some(generation.number) == except || !M::of(generation).contains(&member, hint) {
                continue;
            }
            own |= generation.lease.id == id;
            let claim = generation.claim();
            if best.is_none_or(|best| best.rank() < claim.rank()) {
                best = Some(claim);
            }
        }
        (best, own)
    }

    /// The highest claim of a list to a canonical prefix.
    pub fn best(&self, prefix: IpNet) -> Option<Claim> {
        if self.generations.is_empty() {
            return None;
        }
        let mut hints = Hints::default();
        match Key::of(prefix) {
            Key::Source4(address) => self.find(u32::from_be_bytes(address), 0, None, &mut hints).0,
            Key::Source6(network) => self.find(u64::from_be_bytes(network), 0, None, &mut hints).0,
            Key::Prefix4(..) | Key::Prefix6(..) => self.find(prefix, 0, None, &mut hints).0,
        }
    }

    /// Members of a generation inside a canonical prefix.
    pub fn inside(generation: &Generation, prefix: IpNet) -> Members {
        let (sources4, sources6) = match prefix {
            IpNet::V4(v4) => {
                let range = RangeInclusive::new(v4.network().into(), v4.broadcast().into());
                (generation.sources4.range(range).collect(), Vec::new())
            }
            // Of a prefix inside a /64 that is the /64 around it.
            IpNet::V6(v6) => {
                let network = |address: std::net::Ipv6Addr| (u128::from(address) >> 64) as u64;
                let range = network(v6.network())..=network(v6.broadcast());
                (Vec::new(), generation.sources6.range(range).collect())
            }
        };
        let overlaps = |other: &IpNet| prefix.contains(other) || other.contains(&prefix);
        let prefixes = generation.prefixes.iter().filter(overlaps).collect();
        Members { sources4, sources6, prefixes }
    }

    /// Up to `count` members, after those of the last call, going round.
    pub fn next_sample(&mut self, count: usize) -> Vec<IpNet> {
        let all = self.generations.iter().map(Generation::len).sum::<usize>();
        let from = if self.sampled < all { self.sampled } else { 0 };
        let count = count.min(all);
        self.sampled = from + count;
        (from..from + count).filter_map(|index| self.nth(index % all)).collect()
    }

    fn nth(&self, mut index: usize) -> Option<IpNet> {
        for generation in &self.generations {
            match index.checked_sub(generation.len()) {
                Some(rest) => index = rest,
                None => return generation.nth(index),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataplane::Parole;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn lease(id: u32, until_ns: Option<u64>) -> ListLease {
        ListLease { id, until_ns, observe: false }
    }

    #[test]
    fn a_prefix_is_a_member_of_one_kind() {
        let prefixes = [
            "192.0.2.7/32",
            "::ffff:192.0.2.8/128",
            "192.0.2.9/24",
            "2001:db8::/64",
            "2001:db8:0:1::5/128",
            "2001:db8::/48",
        ];
        let members = Members::of(&prefixes.map(net));
        assert_eq!(members.sources4, [0xc000_0207, 0xc000_0208]);
        assert_eq!(members.sources6, [0x2001_0db8_0000_0000, 0x2001_0db8_0000_0001]);
        assert_eq!(members.prefixes, [net("192.0.2.0/24"), net("2001:db8::/48")]);
        for (prefix, key) in
            [("192.0.2.7/32", 0xc000_0207_u32.key()), ("2001:db8::/64", (0x2001_0db8_u64 << 32).key())]
        {
            assert_eq!(Key::of(net(prefix)), key);
        }
        assert_eq!((0x2001_0db8_u64 << 32).prefix(), net("2001:db8::/64"));
    }

    #[test]
    fn what_drops_without_exception_and_lasts_longest_holds_the_key_and_a_ban_before_a_list() {
        let claim = |until_ns, observe, generation| Claim {
            entry: DenyEntry { until_ns, observe, ..DenyEntry::forever(1) },
            generation,
        };
        let parole = Some(Parole { from_ns: 7, every: std::time::Duration::from_secs(1) });
        let paroled = Claim::ban(DenyEntry { parole, ..DenyEntry::forever(1) });
        // From the lowest to the highest.
        let claims = [
            claim(Some(1), true, None),
            claim(Some(9), true, Some(1)),
            claim(None, true, Some(1)),
            paroled,
            claim(Some(1), false, None),
            claim(Some(5), false, Some(9)),
            claim(Some(6), false, Some(1)),
            claim(Some(6), false, None),
            claim(None, false, Some(1)),
            claim(None, false, Some(2)),
            claim(None, false, None),
        ];
        for pair in claims.windows(2) {
            assert!(pair[0].rank() < pair[1].rank(), "{pair:?}");
        }
        assert!(claims[8].is_same(&claims[9]), "the kernel does not know generations");
    }

    #[test]
    fn entries_are_taken_over_by_list_and_lease() {
        let mut lists = Lists::default();
        assert!(lists.adopt(net("192.0.2.1/32"), lease(7, None)));
        assert!(lists.adopt(net("192.0.2.2/32"), lease(7, Some(5))));
        assert!(lists.adopt(net("2001:db8::/64"), lease(7, None)));
        assert!(lists.adopt(net("10.0.0.0/8"), lease(8, None)));
        assert_eq!(lists.ids(), [7, 8]);
        assert_eq!(lists.best(net("192.0.2.2/32")).unwrap().entry.until_ns, Some(5));
        assert_eq!(lists.best(net("10.0.0.0/8")).unwrap().entry.ban_id, 8);
        assert!(lists.best(net("192.0.2.3/32")).is_none());
        // As many generations as somebody likes are not.
        let leases = (10..100_u32).map(|until| lists.adopt(until.prefix(), lease(7, Some(until.into()))));
        assert_eq!(leases.filter(|same| *same).count(), ADOPTED_MAX - 2);
        assert_eq!(lists.iter().map(Generation::len).sum::<usize>(), 94);
    }

    #[test]
    fn a_sample_goes_round_over_all_members() {
        let mut lists = Lists::default();
        assert_eq!(lists.next_sample(5), []);
        let all = ["192.0.2.1/32", "192.0.2.2/32", "2001:db8::/64", "10.0.0.0/8"].map(net);
        for prefix in all {
            lists.adopt(prefix, lease(7, None));
        }
        assert_eq!(lists.next_sample(3), all[..3]);
        assert_eq!(lists.next_sample(3), [all[3], all[0], all[1]]);
        assert_eq!(lists.next_sample(9).len(), 4);
    }

    #[test]
    fn what_overlaps_a_prefix_is_found() {
        let mut lists = Lists::default();
        let all = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "11.0.0.1/32", "2001:db8::/64"].map(net);
        for prefix in all {
            lists.adopt(prefix, lease(7, None));
        }
        let generation = lists.iter().next().unwrap();
        let inside = |text| Lists::inside(generation, net(text));
        let members = inside("10.1.2.0/24");
        assert_eq!((members.sources4, members.prefixes), (vec![0x0a01_0203], vec![all[0], all[1]]));
        assert_eq!(inside("2001:db8::5/128").sources6, [0x2001_0db8_0000_0000]);
        assert_eq!(inside("11.0.0.2/32"), Members::default());
    }
}
