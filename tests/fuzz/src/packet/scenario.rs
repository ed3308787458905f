//! What the kernel program finds when a packet comes: lists, budgets, settings, sockets. Made from eight bytes and what
//! the packet is, so that chance meets the cases that matter: its own source listed, or a neighbour of it.

use gateway_common::budget::{CLASS_LINES, CLASSES, Class, ClassBudget, siphash13};
use gateway_common::denylist::{DenyValue, FLAG_APART, FLAG_LIST, FLAG_OBSERVE, FOREVER, flow};
use gateway_common::filter::{Marks, marks4, marks6};
use gateway_common::seen::{GENERATION_NS, Place};
use gateway_common::settings::{
    FEATURE_FLOWS, FEATURE_REPEATS, MANAGEMENT_PORTS_MAX, MODE_ENFORCE, MODE_OBSERVE, Settings,
};

use super::sight::{Ip, Sight, Transport};

/// Bytes that a scenario is made from.
pub const SCENARIO_BYTES: usize = 8;

/// The clock of leases.
pub const NOW_NS: u64 = 1_000_000_000_000;
/// Ticks, and their length.
pub const TICKS: u64 = 5_000;
pub const TICK_NS: u32 = 4_000_000;
/// Units of the budgets are 2^16 ns.
const SHIFT: u32 = 16;
/// Interval of a parole.
pub const PAROLE_EVERY_MS: u32 = 1_000;
/// Number of the ban of an entry, and its slot: the entry's number is added.
pub const BAN_ID: u32 = 70;
const SLOT: u32 = 7;

/// A prefix of the denylist.
#[derive(Debug, Clone, Copy)]
pub struct Listed {
    pub bits: u8,
    pub address: [u8; 16],
    pub value: DenyValue,
}

impl Listed {
    /// What is set in the filter for it.
    pub fn marks(&self, ip: &Ip) -> Marks {
        let high = self.address.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
        if ip.is_v6 { marks6(high, self.bits) } else { marks4((high >> 32) as u32, self.bits) }
    }

    /// Whether the bit of a packet's network is among those. That another network has the same hash is left out.
    pub fn is_marked_wide(&self, ip: &Ip) -> bool {
        match self.marks(ip) {
            Marks::Line(..) => false,
            Marks::Wide(bits) => bits.contains(&ip.probe().wide),
            Marks::Hashed(networks) => networks.contains(&((ip.host() >> 32) as u32)),
        }
    }
}

/// All of it.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub settings: Settings,
    /// Of the packet's family, with its addresses in the first bytes.
    pub listed: Vec<Listed>,
    /// Prefixes that are allowed.
    pub allowed: Vec<(u8, [u8; 16])>,
    /// Classes of which the source has used its budget up.
    pub spent: [bool; CLASSES],
    /// What the class of connections has used up is of this one.
    pub flow_key: Option<u64>,
    /// A SYN that was refused in the generation before.
    pub noted: Option<Place>,
    /// State of the socket that is found; 0 for none.
    pub socket_state: u32,
}

/// Bits of the eight bytes, taken one after the other.
struct Bits(u64);

impl Bits {
    fn take(&mut self, count: u32) -> u64 {
        let bits = self.0 & ((1 << count) - 1);
        self.0 >>= count;
        bits
    }

    fn flag(&mut self) -> bool {
        self.take(1) == 1
    }
}

impl Scenario {
    /// Makes one.
    pub fn new(bytes: [u8; SCENARIO_BYTES], sight: &Sight) -> Scenario {
        let mut bits = Bits(u64::from_le_bytes(bytes));
        let (enforce, flows, repeats) = (bits.flag(), bits.flag(), bits.flag());
        let (has_exact, has_prefix, has_wider) = (bits.flag(), bits.flag(), bits.flag());
        let (kinds, allowed, apart) = ([0; 3].map(|_| bits.take(2)), bits.take(2), bits.flag());
        let (packets, syns, calm) = (bits.take(2), bits.take(2), bits.flag());
        let (flow_spent, noted, state, parole) = (bits.flag(), bits.flag(), bits.take(3), bits.take(2));
        let managed = bits.flag();
        let (length, wider, neighbour) = (bits.take(7) as u8, bits.take(7) as u8, bits.take(8) as u8);
        let mut scenario = Scenario {
            settings: settings(enforce, packets, syns, calm),
            listed: Vec::new(),
            allowed: Vec::new(),
            spent: [packets == 2, syns == 2, packets == 2, syns == 2, flow_spent],
            flow_key: None,
            noted: None,
            socket_state: [0, 1, 1, 3, 6, 7, 10, 12][state as usize],
        };
        scenario.settings.features =
            if flows { FEATURE_FLOWS } else { 0 } | if repeats { FEATURE_REPEATS } else { 0 };
        scenario.settings.classes[Class::Flow as usize].cost = if flow_spent { COST } else { 0 };
        let Sight::Ip(ip) = sight else { return scenario };
        let (bits_max, exact_bits) = if ip.is_v6 { (128, 64) } else { (32, 32) };
        let mut source = [0; 16];
        source[..ip.source.len()].copy_from_slice(&ip.source);
        // One bit beside the source, or the source.
        let mut listed = source;
        if neighbour < 128 && neighbour & 1 == 1 {
            let bit = neighbour as usize / 2 % usize::from(exact_bits);
            listed[bit / 8] ^= 128 >> (bit % 8);
        }
        let mut list = |bits: u8, kind: u64| {
            let number = scenario.listed.len() as u32;
            let until_ns = [FOREVER, NOW_NS, FOREVER, NOW_NS + 1][kind as usize];
            let value = DenyValue { slot: SLOT + number, ..DenyValue::new(until_ns, BAN_ID + number, bits) };
            let value =
                value.with(FLAG_OBSERVE, kind == 2).with(FLAG_APART, apart).with(FLAG_LIST, number > 1);
            scenario.listed.push(Listed { bits, address: cut(listed, bits), value });
        };
        let other_than_exact = |bits: u8| if bits == exact_bits { bits - 1 } else { bits };
        if has_exact {
            list(exact_bits, kinds[0]);
        }
        if has_prefix {
            list(other_than_exact(length % (bits_max + 1)), kinds[1]);
        }
        if has_wider {
            list(other_than_exact(wider % (bits_max + 1) / 2), kinds[2]);
        }
        match allowed {
            1 => scenario.allowed.push((bits_max, source)),
            2 => scenario.allowed.push((bits_max / 2, cut(source, bits_max / 2))),
            3 => scenario.allowed.push((bits_max, listed.map(|byte| !byte))),
            _ => {}
        }
        if let Some(transport) = &ip.transport {
            scenario.know(ip, transport, managed, noted, parole);
        }
        scenario
    }

    /// What depends on the transport header: the management port, the SYN before, the connections.
    fn know(&mut self, ip: &Ip, transport: &Transport, managed: bool, noted: bool, parole: u64) {
        let key = self.settings.classes[Class::Flow as usize].key;
        if managed {
            self.settings.management_ports[MANAGEMENT_PORTS_MAX - 1] =
                transport.destination_port.unwrap_or(22);
        }
        self.flow_key = transport.ports.map(|ports| siphash13(key, ip.host()) ^ flow_ports(ports));
        if noted {
            self.noted = place(key, ip, transport);
        }
        let Some(exact) =
            self.listed.first_mut().filter(|listed| listed.value.prefix_bits() == exact_bits(ip))
        else {
            return;
        };
        let admitted = connection(key, ip, transport).unwrap_or(1);
        (exact.value.parole_ns, exact.value.admitted) = match parole {
            0 => return,
            1 => (NOW_NS, 0),
            2 => (NOW_NS + 1, admitted),
            _ => (NOW_NS + 1, admitted ^ 1 << 20),
        };
        exact.value.parole_every_ms = PAROLE_EVERY_MS;
    }
}

/// Bits of the prefix that is one host.
pub fn exact_bits(ip: &Ip) -> u32 {
    if ip.is_v6 { 64 } else { 32 }
}

/// Ports as a connection's budget is charged by them.
pub fn flow_ports(ports: [u8; 4]) -> u64 {
    let port = |a, b| u64::from(u16::from_ne_bytes([a, b]));
    port(ports[0], ports[1]) << 16 | port(ports[2], ports[3])
}

/// Where a SYN is noted.
pub fn place(key: [u64; 2], ip: &Ip, transport: &Transport) -> Option<Place> {
    let destination = if ip.is_v6 {
        ip.destination[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    } else {
        u64::from(u32::from_ne_bytes(ip.destination.first_chunk().copied()?))
    };
    let (ports, sequence) = (u32::from_ne_bytes(transport.ports?), u32::from_ne_bytes(transport.sequence?));
    Some(Place::new(key, ip.host(), destination, ports, sequence))
}

/// The number of a connection on parole.
pub fn connection(key: [u64; 2], ip: &Ip, transport: &Transport) -> Option<u64> {
    let [a, b, c, d] = transport.ports?;
    let word = |bytes: &[u8]| bytes.first_chunk().copied().map(u32::from_ne_bytes).map(u64::from);
    let low = |address: &[u8]| Some(word(&address[8..])? << 32 | word(&address[12..])?);
    let rest = if ip.is_v6 {
        low(&ip.source)? ^ low(&ip.destination)?.rotate_left(32)
    } else {
        word(&ip.destination)?
    };
    Some(flow(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]), siphash13(key, rest)))
}

/// A packet's cost where there is a budget; two fit into a burst.
pub const COST: u32 = 100;

/// `packets` and `syns`: 0 no budget, 2 used up, else room in it.
fn settings(enforce: bool, packets: u64, syns: u64, calm: bool) -> Settings {
    let class = |number: u64, budget: u64, first_line| ClassBudget {
        key: [number, 0x5eed],
        cost: if budget == 0 { 0 } else { COST },
        burst: 2 * COST,
        shift: SHIFT,
        first_line,
    };
    Settings {
        mode: if enforce { MODE_ENFORCE } else { MODE_OBSERVE },
        filter_mask: 0x3ff,
        calm_until_ticks: if calm { TICKS + 1 } else { 0 },
        tick_ns: TICK_NS,
        classes: [
            class(1, packets, 0),
            class(2, syns, CLASS_LINES),
            class(3, packets, 0),
            class(4, syns, CLASS_LINES),
            class(5, 0, 0),
        ],
        ..Settings::default()
    }
}

/// The generation before this one.
pub const GENERATION_BEFORE: u64 = TICKS * TICK_NS as u64 / GENERATION_NS - 1;

/// Now in the units of the budgets.
pub const NOW_UNITS: u32 = ((TICKS * TICK_NS as u64) >> SHIFT) as u32;

/// An address without its host bits.
fn cut(mut address: [u8; 16], bits: u8) -> [u8; 16] {
    for (number, byte) in address.iter_mut().enumerate() {
        let kept = usize::from(bits).saturating_sub(8 * number).min(8);
        *byte &= !(0xff_u16 >> kept) as u8;
    }
    address
}

/// Scenarios to begin with: nothing listed, all of it listed, the budgets used up, and some between.
pub fn seeds() -> Vec<[u8; SCENARIO_BYTES]> {
    let named = [
        0,
        0b00_1001,                               // enforced, the source
        0b01_0001,                               // enforced, a prefix
        0b11_1001,                               // enforced, all
        0b00_1000,                               // observed, the source
        0b00_1001 | 1 << 12,                     // and allowed
        0b11_1001 | 1 << 6 | 2 << 8,             // the source is over, the prefix observes
        0b00_0111 | 2 << 15 | 2 << 17,           // budgets used up
        0b00_0001 | 2 << 15 | 2 << 17 | 1 << 19, // calm
        0b00_1001 | 1 << 25,                     // parole
        0b00_1001 | 2 << 25,
        0b00_1001 | 1 << 27,                     // a management port
        0b00_0101 | 1 << 15 | 2 << 17 | 1 << 21, // a SYN again
        0b00_0011 | 2 << 15 | 1 << 22,           // a connection
    ];
    named.map(|bits: u64| (bits | 24 << 28 | 40 << 35).to_le_bytes()).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_bits_are_cut() {
        assert_eq!(cut([0xff; 16], 0), [0; 16]);
        assert_eq!(cut([0xff; 16], 128), [0xff; 16]);
        assert_eq!(cut([0xff; 16], 12)[..3], [0xff, 0xf0, 0]);
    }
}
