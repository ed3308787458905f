//! Sampled drops, out of the ring.

use std::net::{IpAddr, Ipv6Addr};

use aya::maps::{MapData, RingBuf};
use gateway_common::{event::DropEvent, maps, verdict::Reason};

use super::{Error, load::Maps};

/// A packet that was dropped or, observed, would have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// `CLOCK_MONOTONIC` in nanoseconds, coarse.
    pub at_ns: u64,
    /// Source of the packet. It can be forged.
    pub source: IpAddr,
    /// Why.
    pub reason: Reason,
    /// The ban behind it; 0 if a budget was.
    pub ban_id: u32,
    /// Length of the frame.
    pub bytes: u32,
    /// Index of the interface.
    pub interface: u32,
}

/// The reading end of the ring.
pub struct Events {
    ring: RingBuf<MapData>,
}

impl Events {
    pub fn open(maps: &mut Maps) -> Result<Self, Error> {
        Ok(Self { ring: maps.take_as(&maps::EVENTS)? })
    }

    /// Takes out at most `limit` events. Entries that are none (another version's) are skipped.
    pub fn drain(&mut self, limit: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < limit {
            let Some(item) = self.ring.next() else { break };
            events.extend(decode(&item));
        }
        events
    }
}

fn decode(bytes: &[u8]) -> Option<Event> {
    if bytes.len() < size_of::<DropEvent>() {
        return None;
    }
    // SAFETY: there are enough bytes, and any bit pattern is a `DropEvent`.
    let event = unsafe { bytes.as_ptr().cast::<DropEvent>().read_unaligned() };
    Some(Event {
        at_ns: event.at_ns,
        source: IpAddr::V6(Ipv6Addr::from(event.source)).to_canonical(),
        reason: Reason::from_number(event.reason)?,
        ban_id: event.ban_id,
        bytes: event.bytes,
        interface: event.interface,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(event: &DropEvent) -> &[u8] {
        // SAFETY: a plain struct without padding, read as its bytes.
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(event).cast(), size_of::<DropEvent>()) }
    }

    #[test]
    fn an_ipv4_source_comes_out_as_ipv4() {
        let mut source = [0; 16];
        source[10..].copy_from_slice(&[0xff, 0xff, 192, 0, 2, 1]);
        let raw = DropEvent { source, reason: Reason::OverSyns as u32, ban_id: 7, ..DropEvent::default() };
        let event = decode(bytes(&raw)).unwrap();
        assert_eq!(event.source, IpAddr::from([192, 0, 2, 1]));
        assert_eq!((event.reason, event.ban_id), (Reason::OverSyns, 7));
    }

    #[test]
    fn what_is_too_short_or_of_an_unknown_reason_is_no_event() {
        let raw = DropEvent { reason: 999, ..DropEvent::default() };
        assert_eq!(decode(bytes(&raw)), None);
        assert_eq!(decode(&bytes(&raw)[..39]), None);
        assert_eq!(decode(&[]), None);
    }
}
