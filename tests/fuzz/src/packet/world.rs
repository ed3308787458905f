//! The program's maps and the kernel around it: made as a scenario says, looked at afterwards, and emptied.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gateway_common::allowlist::AllowValue;
use gateway_common::budget::{self, Class, GROUPS};
use gateway_common::event::DropEvent;
use gateway_common::filter::{Line, Marks};
use gateway_common::settings::Settings;
use gateway_common::verdict::{REASON_SLOTS, Reason};
use kernel_on_host::judge;
use kernel_on_host::maps::{
    ALLOW4, ALLOW6, BAN_COUNTERS, BUDGET, CHANGES, COUNTERS, DENY_PREFIX4, DENY_PREFIX6, DENY4, DENY6,
    EVENTS, FILTER, REMEMBERED, SEEN, SETTINGS, WIDE,
};
use kernel_on_host::stand_in::bindings::xdp_md;
use kernel_on_host::stand_in::machine;
use kernel_on_host::stand_in::programs::XdpContext;

use super::expected::{Charge, Event, Found};
use super::scenario::{GENERATION_BEFORE, Listed, NOW_NS, NOW_UNITS, Scenario, TICKS};
use super::sight::{Ip, Sight};

/// Number of the interface that frames come in on.
pub const INTERFACE: u32 = 3;
/// Charges with room for none more: a unit beyond the burst less one packet.
const SPENT: u32 = 101;

/// Whoever has it is the only one who runs the program in this process.
pub struct World {
    _alone: MutexGuard<'static, ()>,
}

impl World {
    /// Waits for whoever has it.
    pub fn enter() -> World {
        static ALONE: Mutex<()> = Mutex::new(());
        World { _alone: ALONE.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// What the program makes of a frame.
    pub fn run(&mut self, scenario: &Scenario, frame: &mut [u8]) -> Found {
        let sight = Sight::of(frame);
        let is_v6 = matches!(&sight, Sight::Ip(ip) if ip.is_v6);
        self.furnish(scenario, &sight, is_v6);
        let frame_bytes = frame.len();
        let range = frame.as_ptr_range();
        let mut md =
            xdp_md { data: range.start as usize, data_end: range.end as usize, ingress_ifindex: INTERFACE };
        let context = XdpContext::new(&raw mut md);
        // The probe counts and charges nothing, so it may come first.
        let listed = judge::listed(&context);
        let action = judge::packet(&context);
        let mut found = Found {
            action,
            listed,
            reasons: self.reasons(frame_bytes),
            bans: self.bans(),
            events: events(),
            charged: self.charged(),
            looked_up: machine::LOOKED_UP.lock().unwrap_or_else(PoisonError::into_inner).take(),
            parole: exact_value(&sight).map(|value| (value.parole_ns, value.admitted)),
            misses: [0; 2],
        };
        empty_denylist();
        for (changes, misses) in found.misses.iter_mut().enumerate() {
            CHANGES.set(0, changes as u64);
            COUNTERS.zero(&COUNTERS.take_written());
            judge::packet(&context);
            let reasons = self.reasons(frame_bytes);
            *misses = reasons.iter().filter(|reason| **reason == Reason::FilterMiss as u32).count();
        }
        self.clear();
        found
    }

    fn furnish(&mut self, scenario: &Scenario, sight: &Sight, is_v6: bool) {
        machine::COARSE_NS.store(NOW_NS, Relaxed);
        machine::TICKS.store(TICKS, Relaxed);
        machine::SOCKET_STATE.store(scenario.socket_state, Relaxed);
        SETTINGS.set(0, scenario.settings);
        if let Sight::Ip(ip) = sight {
            scenario.listed.iter().for_each(|listed| list(listed, ip, &scenario.settings));
        }
        for (bits, address) in &scenario.allowed {
            let bits = u32::from(*bits);
            if is_v6 {
                ALLOW6.insert(bits, *address, AllowValue::default());
            } else {
                ALLOW4.insert(bits, short8(address), AllowValue::default());
            }
        }
        if let Sight::Ip(ip) = sight {
            for class in [Class::Packet4, Class::Syn4, Class::Packet6, Class::Syn6] {
                if scenario.spent[class as usize] {
                    spend(&scenario.settings, class, ip.host());
                }
            }
        }
        if let (true, Some(key)) = (scenario.spent[Class::Flow as usize], scenario.flow_key) {
            spend(&scenario.settings, Class::Flow, key);
        }
        if let Some(place) = scenario.noted {
            SEEN.set(place.index(GENERATION_BEFORE), place.noted(0, GENERATION_BEFORE));
        }
        // What was furnished counts as written by nobody.
        let furnished = BUDGET.take_written();
        FURNISHED.lock().unwrap_or_else(PoisonError::into_inner).extend(furnished);
    }

    /// Reasons that were counted, each as often as it was; a sum of bytes that is not theirs is told in its place.
    fn reasons(&mut self, frame_bytes: usize) -> Vec<u32> {
        let mut reasons = Vec::new();
        for reason in 0..REASON_SLOTS {
            let Some(count) = COUNTERS.get(reason) else { continue };
            let honest = count.bytes == count.packets * frame_bytes as u64;
            reasons.extend((0..count.packets).map(|_| if honest { reason } else { u32::MAX }));
        }
        reasons
    }

    /// Slots of bans that were counted for: packets, SYNs, and whether the clock is told.
    fn bans(&mut self) -> Vec<(u32, u64, u64)> {
        let written = BAN_COUNTERS.take_written();
        let bans = written.iter().filter_map(|slot| {
            let count = BAN_COUNTERS.get(*slot)?;
            Some((*slot, if count.last_ns == NOW_NS { count.packets } else { u64::MAX }, count.syns))
        });
        let bans = bans.collect();
        BAN_COUNTERS.zero(&written);
        bans
    }

    /// Lines of cells that were charged or asked.
    fn charged(&mut self) -> Vec<Charge> {
        let written = BUDGET.take_written();
        let charged = written.iter().map(|line| Charge {
            line: *line,
            cells: BUDGET.get(*line).map_or(0, |line| line.cells.iter().filter(|cell| **cell != 0).count()),
        });
        let charged = charged.collect();
        BUDGET.zero(&written);
        charged
    }

    fn clear(&mut self) {
        empty_denylist();
        events();
        self.bans();
        self.charged();
        machine::LOOKED_UP.lock().unwrap_or_else(PoisonError::into_inner).take();
        ALLOW4.clear();
        ALLOW6.clear();
        COUNTERS.zero(&COUNTERS.take_written());
        SEEN.zero(&SEEN.take_written());
        REMEMBERED.zero(&REMEMBERED.take_written());
        CHANGES.zero(&CHANGES.take_written());
        WIDE.zero(&WIDE.take_written());
        FILTER.zero(&FILTER.take_written());
        SETTINGS.take_written();
        BUDGET.zero(&std::mem::take(&mut *FURNISHED.lock().unwrap_or_else(PoisonError::into_inner)));
    }
}

fn empty_denylist() {
    DENY4.clear();
    DENY6.clear();
    DENY_PREFIX4.clear();
    DENY_PREFIX6.clear();
}

/// Lines of cells that are not zero because of the scenario.
static FURNISHED: Mutex<Vec<u32>> = Mutex::new(Vec::new());

fn list(listed: &Listed, ip: &Ip, settings: &Settings) {
    let Listed { bits, address, value } = listed;
    match (ip.is_v6, bits) {
        (false, 32) => DENY4.insert(short4(address), *value),
        (false, bits) => DENY_PREFIX4.insert(u32::from(*bits), short8(address), *value),
        (true, 64) => DENY6.insert(short8(address), *value),
        (true, bits) => DENY_PREFIX6.insert(u32::from(*bits), *address, *value),
    }
    mark(listed, ip, settings);
}

fn mark(listed: &Listed, ip: &Ip, settings: &Settings) {
    match listed.marks(ip) {
        Marks::Line(line, pattern) => {
            let line = line & settings.filter_mask;
            let mut words: Line = FILTER.get(line).copied().unwrap_or_default();
            pattern.set(&mut words);
            FILTER.set(line, words);
        }
        // Of many thousand bits the program reads one.
        Marks::Wide(_) | Marks::Hashed(_) if listed.is_marked_wide(ip) => {
            let bit = ip.probe().wide;
            let word = WIDE.get(bit / 64).copied().unwrap_or_default();
            WIDE.set(bit / 64, word | 1 << (bit % 64));
        }
        Marks::Wide(_) | Marks::Hashed(_) => {}
    }
}

/// Uses the budget of a source up.
fn spend(settings: &Settings, class: Class, source: u64) {
    let class = &settings.classes[class as usize];
    let (line, picks) = budget::place(class.key, source);
    let line = class.first_line + line;
    let mut cells = BUDGET.get(line).copied().unwrap_or_default();
    (0..GROUPS).for_each(|group| cells.cells[budget::cell(picks, group)] = NOW_UNITS + SPENT);
    BUDGET.set(line, cells);
}

fn events() -> Vec<Event> {
    let events = EVENTS.take::<DropEvent>().into_iter();
    events
        .map(|event| Event {
            source: Ipv6Addr::from(event.source),
            reason: event.reason,
            ban_id: event.ban_id,
            bytes: event.bytes,
            is_of_here: event.at_ns == NOW_NS && event.interface == INTERFACE,
        })
        .collect()
}

/// The entry of exactly the source.
fn exact_value(sight: &Sight) -> Option<gateway_common::denylist::DenyValue> {
    let Sight::Ip(ip) = sight else { return None };
    // SAFETY: nobody removes the entry before the reference is gone.
    unsafe {
        match ip.is_v6 {
            true => DENY6.get(ip.source.first_chunk::<8>()?).copied(),
            false => DENY4.get(ip.source.first_chunk::<4>()?).copied(),
        }
    }
}

fn short4(address: &[u8; 16]) -> [u8; 4] {
    Ipv4Addr::new(address[0], address[1], address[2], address[3]).octets()
}

fn short8(address: &[u8; 16]) -> [u8; 8] {
    std::array::from_fn(|number| address[number])
}
