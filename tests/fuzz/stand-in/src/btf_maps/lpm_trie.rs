//! Tries, as lists that are searched from end to end.

use std::sync::{Mutex, PoisonError};

/// A prefix, or an address to look up.
#[repr(C, packed)]
#[derive(Debug, Clone, Copy)]
pub struct Key<K> {
    pub prefix_len: u32,
    pub data: K,
}

/// Values by prefix. A value stays where it is as long as it is not removed.
pub struct LpmTrie<K, V, const N: usize, const FLAGS: usize = 0> {
    prefixes: Mutex<Vec<(Key<K>, Box<V>)>>,
}

impl<K: AsRef<[u8]> + Copy, V: Copy, const N: usize, const FLAGS: usize> LpmTrie<K, V, N, FLAGS> {
    /// Empty.
    #[expect(clippy::new_without_default, reason = "as in aya-ebpf")]
    pub const fn new() -> Self {
        Self { prefixes: Mutex::new(Vec::new()) }
    }

    /// The value of the longest prefix that matches and is no longer than the key.
    pub fn get(&self, key: &Key<K>) -> Option<&V> {
        let (bits, data) = (key.prefix_len, key.data);
        let prefixes = self.prefixes.lock().unwrap_or_else(PoisonError::into_inner);
        let matches = |prefix: &Key<K>| {
            let data_of = prefix.data;
            prefix.prefix_len <= bits && begins(data.as_ref(), data_of.as_ref(), prefix.prefix_len)
        };
        let longest =
            prefixes.iter().filter(|(prefix, _)| matches(prefix)).max_by_key(|(prefix, _)| prefix.prefix_len);
        // SAFETY: the value stays as long as nobody clears the map, which the one thread that has the reference does
        // not do meanwhile.
        longest.map(|(_, value)| unsafe { &*std::ptr::from_ref::<V>(value) })
    }

    /// Puts a value in from outside, in place of one of the same prefix.
    pub fn insert(&self, prefix_len: u32, data: K, value: V) {
        let mut prefixes = self.prefixes.lock().unwrap_or_else(PoisonError::into_inner);
        prefixes.retain(|(key, _)| {
            let other = key.data;
            key.prefix_len != prefix_len || !begins(other.as_ref(), data.as_ref(), prefix_len)
        });
        prefixes.push((Key { prefix_len, data }, Box::new(value)));
    }

    /// Takes all out.
    pub fn clear(&self) {
        self.prefixes.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Whether two keys agree in their first `bits` bits.
fn begins(one: &[u8], other: &[u8], bits: u32) -> bool {
    let bit = |data: &[u8], at: u32| data[at as usize / 8] >> (7 - at % 8) & 1;
    (0..bits).all(|at| bit(one, at) == bit(other, at))
}
