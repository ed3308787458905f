//! What must become of a packet: the order of a verdict as `docs/life-of-a-packet.md` tells it, over what
//! [`super::sight`] saw.

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::{Ipv4Addr, Ipv6Addr};

use gateway_common::budget::{self, Class};
use gateway_common::denylist::{DenyValue, FOREVER, NESTED_PREFIXES_MAX};
use gateway_common::filter::{Line, Marks};
use gateway_common::settings::{FEATURE_FLOWS, FEATURE_REPEATS, MODE_ENFORCE};
use gateway_common::verdict::Reason;

use super::scenario::{
    COST, GENERATION_BEFORE, Listed, NOW_NS, PAROLE_EVERY_MS, Scenario, TICKS, connection, exact_bits,
    flow_ports, place,
};
use super::sight::{Ip, Sight, TCP, Transport, UDP};

const DROP: u32 = 1;
const PASS: u32 = 2;

/// What became of a packet, or must.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Found {
    /// The XDP action.
    pub action: u32,
    /// What the program for userspace's questions says.
    pub listed: u32,
    /// The reasons that it was counted under, by number.
    pub reasons: Vec<u32>,
    /// Slots of bans with packets and SYNs.
    pub bans: Vec<(u32, u64, u64)>,
    pub events: Vec<Event>,
    /// Lines of budgets that were asked.
    pub charged: Vec<Charge>,
    /// The connection that was looked for.
    pub looked_up: Option<Vec<u8>>,
    /// Parole of the entry of exactly the source: when the next one comes, and who was let through.
    pub parole: Option<(u64, u64)>,
    /// How often the denylist is asked in vain when it has been emptied behind the program's back and the packet comes
    /// again, and when the program has been told of it.
    pub misses: [usize; 2],
}

/// A sampled drop.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Event {
    pub source: Ipv6Addr,
    pub reason: u32,
    pub ban_id: u32,
    pub bytes: u32,
    /// It tells the time and the interface.
    pub is_of_here: bool,
}

/// A line of a budget, and how many of its cells are charged now.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Charge {
    pub line: u32,
    pub cells: usize,
}

impl Found {
    /// A number for the way that a packet went, whoever sent it.
    pub fn way(&self, sight: &Sight) -> u64 {
        let mut hasher = DefaultHasher::new();
        let shape = match sight {
            Sight::Ip(ip) => {
                let behind = ip.transport.as_ref();
                let there = behind
                    .map(|to| (to.protocol.min(64), to.kind.is_some(), to.ports.is_some(), to.is_syn()));
                Some((ip.is_v6, there, behind.map(|to| (to.flags.is_some(), to.sequence.is_some()))))
            }
            Sight::Truncated | Sight::NotIp => None,
        };
        (shape, self.action, &self.reasons, self.listed).hash(&mut hasher);
        (self.events.len(), self.charged.len(), self.looked_up.is_some(), self.bans.len()).hash(&mut hasher);
        hasher.finish()
    }
}

/// What must become of a frame.
pub fn of(scenario: &Scenario, sight: &Sight, frame: &[u8]) -> Found {
    let passed = |reason: Reason| Found {
        action: PASS,
        listed: Reason::Clean as u32,
        reasons: vec![reason as u32],
        bans: Vec::new(),
        events: Vec::new(),
        charged: Vec::new(),
        looked_up: None,
        parole: None,
        misses: [0; 2],
    };
    match sight {
        Sight::Truncated => passed(Reason::Truncated),
        Sight::NotIp => passed(Reason::NotIp),
        Sight::Ip(ip) => {
            let mut case = Case::new(scenario, ip, frame.len() as u32);
            let found = case.look_up();
            let mut result = passed(Reason::LinkLocal);
            // Userspace may ask about any source.
            result.listed = found.map_or(Reason::Clean, |found| found.reason) as u32;
            if !ip.is_of_the_link() {
                result.action = case.judge(found);
                case.reasons.sort_unstable();
                result.reasons = case.reasons.clone();
                let asked = usize::from(case.may_be_listed());
                result.misses =
                    [if found.is_some_and(|found| found.is_certain()) { 0 } else { asked }, asked];
            }
            case.conclude(result)
        }
    }
}

/// An entry that was found, or a budget that is used up.
#[derive(Clone, Copy)]
struct Entry {
    reason: Reason,
    value: DenyValue,
    /// It is of exactly the source.
    is_exact: bool,
}

impl Entry {
    /// Every packet of the source drops while the entry is there: what the program may remember.
    fn is_certain(&self) -> bool {
        let parole_begins_later = self.value.admitted == 0 && self.value.parole_ns > NOW_NS;
        let no_parole = self.value.parole_ns == 0 || parole_begins_later;
        self.is_exact && self.reason == Reason::DeniedSource && no_parole
    }
}

struct Case<'a> {
    scenario: &'a Scenario,
    ip: &'a Ip,
    frame_bytes: u32,
    reasons: Vec<u32>,
    bans: Vec<(u32, u64, u64)>,
    events: Vec<Event>,
    /// Lines that were asked, and places in them that were charged.
    asked: BTreeSet<u32>,
    cells: BTreeSet<(u32, usize)>,
    looked_up: Option<Vec<u8>>,
    parole: Option<(u64, u64)>,
}

impl<'a> Case<'a> {
    fn new(scenario: &'a Scenario, ip: &'a Ip, frame_bytes: u32) -> Case<'a> {
        let exact = scenario
            .listed
            .iter()
            .find(|listed| is_exact(listed, ip) && contains(listed.bits, &listed.address, ip));
        let mut case = Case {
            scenario,
            ip,
            frame_bytes,
            reasons: Vec::new(),
            bans: Vec::new(),
            events: Vec::new(),
            asked: BTreeSet::new(),
            cells: BTreeSet::new(),
            looked_up: None,
            parole: exact.map(|exact| (exact.value.parole_ns, exact.value.admitted)),
        };
        for class in [Class::Packet4, Class::Syn4, Class::Packet6, Class::Syn6] {
            if scenario.spent[class as usize] {
                case.mark_cells(class, ip.host());
            }
        }
        if let (true, Some(key)) = (scenario.spent[Class::Flow as usize], scenario.flow_key) {
            case.mark_cells(Class::Flow, key);
        }
        case
    }

    /// The list first, then the budgets.
    fn judge(&mut self, found: Option<Entry>) -> u32 {
        if self.may_be_listed() {
            match found {
                Some(entry) => {
                    if let Some(action) = self.settle(entry) {
                        return action;
                    }
                }
                None => self.reasons.push(Reason::FilterMiss as u32),
            }
        }
        if let Some(reason) = self.over_budget() {
            let entry = Entry { reason, value: DenyValue::default(), is_exact: false };
            if let Some(action) = self.settle(entry) {
                return action;
            }
        }
        self.reasons.push(Reason::Clean as u32);
        PASS
    }

    /// An action, or none to go on.
    fn settle(&mut self, entry: Entry) -> Option<u32> {
        if !entry.value.is_apart() && self.is_allowed() {
            self.reasons.push(Reason::Allowed as u32);
            return Some(PASS);
        }
        if let Some(transport) = &self.ip.transport {
            if let Some(reason) = exemption(self.ip, transport, &self.scenario.settings.management_ports) {
                self.reasons.push(reason as u32);
                return Some(PASS);
            }
            if let Some(reason) = self.grounds(entry, transport) {
                self.reasons.push(reason as u32);
                return None;
            }
        }
        let enforce = self.scenario.settings.mode == MODE_ENFORCE;
        let reason = if enforce { entry.reason } else { entry.reason.observed() };
        self.reasons.push(reason as u32);
        if entry.value.slot != 0 {
            self.bans.push((entry.value.slot, 1, u64::from(self.ip.is_syn())));
        }
        self.events.push(Event {
            source: self.address(),
            reason: reason as u32,
            ban_id: entry.value.ban_id,
            bytes: self.frame_bytes,
            is_of_here: true,
        });
        reason.is_drop().then_some(DROP)
    }

    fn grounds(&mut self, entry: Entry, transport: &Transport) -> Option<Reason> {
        if transport.protocol != TCP {
            return None;
        }
        let key = self.scenario.settings.classes[Class::Flow as usize].key;
        let value = entry.value;
        if entry.is_exact && entry.reason == Reason::DeniedSource && value.parole_ns != 0 {
            let flow = connection(key, self.ip, transport)?;
            if self.scenario.settings.mode != MODE_ENFORCE {
                return None;
            }
            let admitted = if NOW_NS < value.parole_ns {
                flow == value.admitted
            } else if self.ip.is_syn() {
                self.parole = Some((NOW_NS + u64::from(PAROLE_EVERY_MS) * 1_000_000, flow));
                true
            } else {
                false
            };
            let wider = self.prefixes(None).is_some_and(|wider| wider.reason.is_drop());
            return (admitted && !wider).then_some(Reason::Paroled);
        }
        let (packets, syns) = self.classes();
        let class = match entry.reason {
            Reason::OverSyns => syns,
            Reason::OverPackets => packets,
            _ => return None,
        };
        let features = self.scenario.settings.features;
        if self.ip.is_syn() {
            let place =
                (features & FEATURE_REPEATS != 0).then(|| place(key, self.ip, transport)).flatten()?;
            let seen = self.scenario.noted.is_some_and(|noted| {
                noted.index(GENERATION_BEFORE) == place.index(GENERATION_BEFORE)
                    && place.is_in(noted.noted(0, GENERATION_BEFORE), GENERATION_BEFORE)
            });
            return (seen && self.charge(class, !self.ip.host())).then_some(Reason::Repeated);
        }
        if features & FEATURE_FLOWS == 0 {
            return None;
        }
        let ports = transport.ports?;
        self.looked_up = Some([&self.ip.source[..], &self.ip.destination, &ports].concat());
        // None, or one that is no connection: TIME_WAIT, CLOSE, LISTEN.
        if matches!(self.scenario.socket_state, 0 | 6 | 7 | 10) {
            return None;
        }
        let within = self.scenario.settings.classes[Class::Flow as usize].cost == 0 || {
            let word = budget::siphash13(key, self.ip.host()) ^ flow_ports(ports);
            self.charge(Class::Flow, word)
        };
        within.then_some(Reason::Established)
    }

    fn classes(&self) -> (Class, Class) {
        if self.ip.is_v6 { (Class::Packet6, Class::Syn6) } else { (Class::Packet4, Class::Syn4) }
    }

    fn over_budget(&mut self) -> Option<Reason> {
        let (packets, syns) = self.classes();
        let settings = &self.scenario.settings;
        let has = |class: Class| settings.classes[class as usize].cost != 0;
        if has(syns) && settings.calm_until_ticks <= TICKS && self.ip.is_syn() {
            return (!self.charge(syns, self.ip.host())).then_some(Reason::OverSyns);
        }
        (has(packets) && !self.charge(packets, self.ip.host())).then_some(Reason::OverPackets)
    }

    /// Whether one of a source's cells has room, which it has if nobody used it up before.
    fn charge(&mut self, class: Class, source: u64) -> bool {
        let class_budget = &self.scenario.settings.classes[class as usize];
        let (line, picks) = budget::place(class_budget.key, source);
        let line = class_budget.first_line + line;
        self.asked.insert(line);
        // Charged twice is all that fits, and no packet comes to that but by cells that it shares.
        debug_assert!(class_budget.burst == 2 * COST || class_budget.cost == 0);
        let free: Vec<usize> = (0..budget::GROUPS)
            .map(|group| budget::cell(picks, group))
            .filter(|cell| !self.cells.contains(&(line, *cell)))
            .collect();
        // A class without a cost charges nothing, and its cells stay as they are: now.
        self.cells.extend(free.iter().map(|cell| (line, *cell)));
        !free.is_empty()
    }

    fn mark_cells(&mut self, class: Class, source: u64) {
        let class = &self.scenario.settings.classes[class as usize];
        let (line, picks) = budget::place(class.key, source);
        self.cells
            .extend((0..budget::GROUPS).map(|group| (class.first_line + line, budget::cell(picks, group))));
    }

    fn conclude(self, mut found: Found) -> Found {
        found.bans = self.bans;
        found.bans.sort_unstable();
        found.events = self.events;
        found.looked_up = self.looked_up;
        found.parole = self.parole;
        let charged = self.asked.iter().map(|line| Charge {
            line: *line,
            cells: self.cells.iter().filter(|(other, _)| other == line).count(),
        });
        found.charged = charged.collect();
        found
    }

    /// What the denylist holds: the source itself, else the longest prefix that drops, else what observes first.
    fn look_up(&self) -> Option<Entry> {
        if !self.may_be_listed() {
            return None;
        }
        let listed = self.scenario.listed.iter();
        let mut exact = listed
            .filter(|listed| is_exact(listed, self.ip) && contains(listed.bits, &listed.address, self.ip));
        let exact = exact.next().and_then(|listed| entry(listed, Reason::DeniedSource));
        match exact {
            Some(exact) if exact.reason.is_drop() => Some(Entry { is_exact: true, ..exact }),
            exact => self.prefixes(exact),
        }
    }

    fn prefixes(&self, found: Option<Entry>) -> Option<Entry> {
        let listed = self.scenario.listed.iter();
        let mut around: Vec<&Listed> = listed
            .filter(|listed| !is_exact(listed, self.ip) && contains(listed.bits, &listed.address, self.ip))
            .collect();
        // Of one prefix that is listed twice the later entry holds.
        around.reverse();
        around.sort_by_key(|listed| std::cmp::Reverse(listed.bits));
        around.dedup_by_key(|listed| listed.bits);
        let mut found = found;
        for listed in around.into_iter().take(NESTED_PREFIXES_MAX as usize) {
            let next = entry(listed, Reason::DeniedPrefix);
            if next.is_some_and(|next| next.reason.is_drop()) {
                return next;
            }
            found = found.or(next);
        }
        found
    }

    fn is_allowed(&self) -> bool {
        self.scenario.allowed.iter().any(|(bits, address)| contains(*bits, address, self.ip))
    }

    /// The filter's answer, from the marks of all that is listed: it may say yes too often, and the same too often on
    /// both sides.
    fn may_be_listed(&self) -> bool {
        let probe = self.ip.probe();
        let mask = self.scenario.settings.filter_mask;
        let mut line = Line::default();
        let mut is_wide = false;
        for listed in &self.scenario.listed {
            match listed.marks(self.ip) {
                Marks::Line(number, pattern) if number & mask == probe.line & mask => pattern.set(&mut line),
                Marks::Line(..) => {}
                Marks::Wide(_) | Marks::Hashed(_) => is_wide |= listed.is_marked_wide(self.ip),
            }
        }
        is_wide || probe.may_be_in(&line)
    }

    fn address(&self) -> Ipv6Addr {
        match self.ip.source[..] {
            [a, b, c, d] => Ipv4Addr::new(a, b, c, d).to_ipv6_mapped(),
            ref source => Ipv6Addr::from(source.first_chunk::<16>().copied().unwrap_or_default()),
        }
    }
}

fn is_exact(listed: &Listed, ip: &Ip) -> bool {
    u32::from(listed.bits) == exact_bits(ip)
}

/// What an entry does, if it is still one.
fn entry(listed: &Listed, reason: Reason) -> Option<Entry> {
    let value = listed.value;
    let is_live = value.until_ns == FOREVER || value.until_ns > NOW_NS;
    let reason = if value.is_observed() { reason.observed() } else { reason };
    is_live.then_some(Entry { reason, value, is_exact: false })
}

/// Whether a prefix holds the source.
fn contains(bits: u8, address: &[u8; 16], ip: &Ip) -> bool {
    let bit = |bytes: &[u8], number: u8| bytes[usize::from(number / 8)] << (number % 8) & 128;
    (0..bits).all(|number| bit(address, number) == bit(&ip.source, number))
}

/// Why a packet is never dropped, whoever sends it.
fn exemption(ip: &Ip, transport: &Transport, management: &[u16]) -> Option<Reason> {
    let port = transport.destination_port;
    let protocol = match (ip.is_v6, transport.protocol) {
        // Errors about our own packets (RFC 792, RFC 4443), and neighbour discovery that no router has passed on.
        (false, 1) => matches!(transport.kind?, 3 | 4),
        (true, 58) => {
            matches!(transport.kind?, 2) || matches!(transport.kind?, 133..=137) && ip.hop_limit == 255
        }
        // DHCP.
        (false, UDP) => matches!(port?, 67 | 68),
        (true, UDP) => matches!(port?, 546 | 547),
        _ => false,
    };
    if protocol {
        return Some(Reason::ExemptProtocol);
    }
    let has_ports = transport.protocol == TCP || transport.protocol == UDP;
    let managed = has_ports && port.is_some_and(|port| port != 0 && management.contains(&port));
    managed.then_some(Reason::ExemptPort)
}
