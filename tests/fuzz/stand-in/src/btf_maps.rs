//! Maps in plain memory. What the program reads and writes is declared as in `aya-ebpf`; the rest is for whoever runs
//! it.

pub mod array;
pub mod hash_map;
pub mod lpm_trie;
pub mod ring_buf;

pub use array::{Array, PerCpuArray};
pub use hash_map::HashMap;
pub use lpm_trie::LpmTrie;
pub use ring_buf::RingBuf;
