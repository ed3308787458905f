//! What a dispatcher of libxdp is told about its programs: `struct xdp_dispatcher_config` in its read-only data.
//!
//! Source: lib/libxdp/protocol.org of xdp-tools, "Dispatcher format". Versions 2 (since xdp-tools 1.3) and 3
//! (since 1.6) are known. Version 1 has no room for the flags of a program and is not joined.

/// Places of a dispatcher.
pub const PLACES: usize = 10;
/// `XDP_DISPATCHER_MAGIC`
const MAGIC: u8 = 236;
/// `XDP_DISPATCHER_RETVAL`: what an empty place returns; always leads on to the next program.
const EMPTY: u32 = 1 << 31;
const ARRAY_BYTES: usize = PLACES * 4;
/// Bytes of the configuration in the versions 2 and 3.
pub const SIZES: [usize; 2] = [124, 128];

/// How a program stands among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// XDP actions, as bits, after which the next program runs.
    pub leads_on: u32,
    /// The lower, the earlier.
    pub priority: u32,
    /// `BPF_F_XDP_HAS_FRAGS`, or 0.
    pub flags: u32,
}

/// The configuration of one dispatcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// 2 or 3.
    version: u8,
    /// The programs in the order in which they run.
    pub programs: Vec<Terms>,
    device_bound: u8,
}

impl Config {
    /// Reads the configuration of a dispatcher. `None` if it is none, or of a version that is not known.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let [magic, version, count, _frags] = *bytes.first_chunk()?;
        let known = [2, 3].into_iter().zip(SIZES).any(|known| known == (version, bytes.len()));
        if magic != MAGIC || !known || usize::from(count) > PLACES {
            return None;
        }
        let number = |array: usize, place: usize| {
            let start = 4 + array * ARRAY_BYTES + place * 4;
            Some(u32::from_ne_bytes(bytes.get(start..start + 4)?.try_into().ok()?))
        };
        let programs = (0..usize::from(count)).map(|place| {
            Some(Terms { leads_on: number(0, place)?, priority: number(1, place)?, flags: number(2, place)? })
        });
        let device_bound = bytes.get(4 + 3 * ARRAY_BYTES).copied().unwrap_or(0);
        Some(Self { version, programs: programs.collect::<Option<_>>()?, device_bound })
    }

    /// The bytes for a new dispatcher. It is never one for frames in several buffers: one of the programs, ours,
    /// is not made for them.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![MAGIC, self.version, self.programs.len() as u8, 0];
        for field in [
            |terms: &Terms| terms.leads_on | EMPTY,
            |terms: &Terms| terms.priority,
            |terms: &Terms| terms.flags,
        ] {
            let numbers = self.programs.iter().map(field).chain(std::iter::repeat(0)).take(PLACES);
            bytes.extend(numbers.flat_map(u32::to_ne_bytes));
        }
        if self.version == 3 {
            bytes.extend([self.device_bound, 0, 0, 0]);
        }
        bytes
    }

    /// Whether it works for one network card only.
    pub fn is_device_bound(&self) -> bool {
        self.device_bound != 0
    }

    /// The same dispatcher with other programs.
    pub fn with(&self, programs: Vec<Terms>) -> Self {
        Self { programs, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASS: u32 = 1 << 2;

    /// As `xdp-filter load` of xdp-tools 1.3.1 leaves it.
    fn of_one_program() -> Vec<u8> {
        let mut bytes = vec![0; 124];
        bytes[..4].copy_from_slice(&[236, 2, 1, 1]);
        bytes[4..8].copy_from_slice(&(PASS | 1 << 31).to_ne_bytes());
        bytes[44..48].copy_from_slice(&10_u32.to_ne_bytes());
        bytes[84..88].copy_from_slice(&32_u32.to_ne_bytes());
        bytes
    }

    #[test]
    fn a_dispatcher_of_one_program_is_read() {
        let config = Config::decode(&of_one_program()).unwrap();
        assert_eq!(config.programs, [Terms { leads_on: PASS | 1 << 31, priority: 10, flags: 32 }]);
        assert!(!config.is_device_bound());
    }

    #[test]
    fn what_is_written_reads_the_same_in_both_versions() {
        let ours = Terms { leads_on: PASS, priority: 5, flags: 0 };
        for (version, length) in [(2, 124), (3, 128)] {
            let config = Config { version, programs: vec![ours; PLACES], device_bound: 0 };
            let bytes = config.encode();
            assert_eq!(bytes.len(), length);
            let read = Config::decode(&bytes).unwrap();
            assert_eq!(read.programs, vec![Terms { leads_on: PASS | 1 << 31, ..ours }; PLACES]);
        }
    }

    #[test]
    fn other_bytes_are_no_dispatcher() {
        let whole = of_one_program();
        for (place, value) in [(0, 235), (1, 1), (1, 3), (1, 4), (2, 11)] {
            let mut bytes = whole.clone();
            bytes[place] = value;
            assert_eq!(Config::decode(&bytes), None, "{place}: {value}");
        }
        assert_eq!(Config::decode(&whole[..84]), None, "version 1");
        assert_eq!(Config::decode(&[]), None);
    }
}
