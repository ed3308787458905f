//! What is in an eBPF object: instructions by function, maps with their sizes.
//!
//! Read with aya-obj, the parser that the loader uses, so that both agree on what a map definition means.

use std::fmt;

use anyhow::{Result, anyhow};
use aya_obj::{Object, maps::PinningType};

/// The contents of one object.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    functions: Vec<Function>,
    maps: Vec<Map>,
}

#[derive(Debug, PartialEq, Eq)]
struct Function {
    name: String,
    /// The section of a program; a function that programs call has none of its own.
    section: Option<String>,
    instructions: usize,
}

#[derive(Debug, PartialEq, Eq)]
struct Map {
    name: String,
    kind: String,
    key_bytes: u32,
    value_bytes: u32,
    entries_max: u32,
    pinned: bool,
}

impl Report {
    /// Parses `object`; an error says what the loader would not understand either.
    pub fn read(object: &[u8]) -> Result<Self> {
        let object = Object::parse(object).map_err(|error| anyhow!("{error}"))?;
        let section = |key: &(usize, u64)| {
            let program = object.programs.values().find(|program| program.function_key() == *key)?;
            Some(section_name(&format!("{:?}", program.section)))
        };
        let functions = object.functions.iter().map(|(key, function)| Function {
            name: readable(&function.name),
            section: section(key),
            instructions: function.instructions.len(),
        });
        let maps = object.maps.iter().map(|(name, map)| Map {
            name: name.clone(),
            kind: kind(map.map_type()),
            key_bytes: map.key_size(),
            value_bytes: map.value_size(),
            entries_max: map.max_entries(),
            pinned: map.pinning() == PinningType::ByName,
        });
        let (mut functions, mut maps): (Vec<_>, Vec<_>) = (functions.collect(), maps.collect());
        functions.sort_by(|a, b| (a.section.is_none(), &a.name).cmp(&(b.section.is_none(), &b.name)));
        maps.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { functions, maps })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |text: &str| text.chars().take(48).collect::<String>();
        writeln!(out, "  {:<48} {:<12} {:>12}", "FUNCTION", "KIND", "INSTRUCTIONS")?;
        for function in &self.functions {
            let section = function.section.as_deref().unwrap_or("called");
            writeln!(out, "  {:<48} {section:<12} {:>12}", name(&function.name), function.instructions)?;
        }
        let total: usize = self.functions.iter().map(|function| function.instructions).sum();
        writeln!(out, "  {:<48} {:<12} {total:>12}", "all", "")?;
        writeln!(
            out,
            "  {:<22} {:<16} {:>6} {:>6} {:>9} {:>10}  PINNED",
            "MAP", "TYPE", "KEY", "VALUE", "ENTRIES", "CONTENT"
        )?;
        for map in &self.maps {
            writeln!(
                out,
                "  {:<22} {:<16} {:>6} {:>6} {:>9} {:>10}  {}",
                name(&map.name),
                map.kind,
                map.key_bytes,
                map.value_bytes,
                map.entries_max,
                bytes(map.content_bytes_max()),
                if map.pinned { "by name" } else { "" }
            )?;
        }
        Ok(())
    }
}

impl Map {
    /// Keys and values of a full map, without what the kernel adds to each entry; per-CPU maps have this per core.
    /// A ring buffer's entries are its bytes.
    fn content_bytes_max(&self) -> u64 {
        let value = u64::from(self.value_bytes).next_multiple_of(8);
        match self.kind.as_str() {
            "ringbuf" => u64::from(self.entries_max),
            kind if kind.ends_with("array") => value * u64::from(self.entries_max),
            _ => (value + u64::from(self.key_bytes)) * u64::from(self.entries_max),
        }
    }
}

fn bytes(count: u64) -> String {
    match count {
        0..10_240 => format!("{count} B"),
        10_240..10_485_760 => format!("{} KiB", count >> 10),
        _ => format!("{} MiB", count >> 20),
    }
}

/// A function's name as in the source: `portcullis::denylist::exact`.
fn readable(symbol: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(symbol))
}

/// The name in front of the braces of aya's `Xdp { frags: false, … }`.
fn section_name(debug: &str) -> String {
    let kind = debug.split([' ', '{']).next().unwrap_or_default().to_lowercase();
    if debug.contains("frags: true") { format!("{kind}.frags") } else { kind }
}

/// The kernel's names of `enum bpf_map_type`, in `include/uapi/linux/bpf.h`, for the types a packet filter uses.
fn kind(number: u32) -> String {
    let name = match number {
        1 => "hash",
        2 => "array",
        3 => "prog_array",
        4 => "perf_event_array",
        5 => "percpu_hash",
        6 => "percpu_array",
        9 => "lru_hash",
        10 => "lru_percpu_hash",
        11 => "lpm_trie",
        12 => "array_of_maps",
        13 => "hash_of_maps",
        14 => "devmap",
        16 => "cpumap",
        17 => "xskmap",
        22 => "queue",
        27 => "ringbuf",
        30 => "bloom_filter",
        other => return format!("type {other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_object_is_refused() {
        assert!(Report::read(b"\x7fELF and then garbage").is_err());
        assert!(Report::read(b"").is_err());
    }

    #[test]
    fn the_built_kernel_program_has_instructions_and_maps() {
        let path = crate::paths::ebpf_objects().join("portcullis.bpf.o");
        let Ok(object) = std::fs::read(&path) else {
            println!("SKIPPED the kernel program is not built (cargo xtask build-ebpf)");
            return;
        };
        let report = Report::read(&object).unwrap();
        let program = report.functions.iter().find(|function| function.section.is_some()).expect("a program");
        assert!(program.section.as_deref().unwrap().starts_with("xdp") && program.instructions > 10);
        assert!(!report.maps.is_empty());
        let text = report.to_string();
        assert!(report.maps.iter().all(|map| text.contains(&map.name) && map.entries_max > 0), "{text}");
    }

    #[test]
    fn sizes_count_values_as_the_kernel_rounds_them() {
        let map = |kind: &str, key_bytes, value_bytes, entries_max| Map {
            name: "M".into(),
            kind: kind.into(),
            key_bytes,
            value_bytes,
            entries_max,
            pinned: false,
        };
        assert_eq!(map("array", 4, 4, 1024).content_bytes_max(), 8192);
        assert_eq!(map("hash", 8, 16, 1000).content_bytes_max(), 24_000);
        assert_eq!(map("ringbuf", 0, 0, 65_536).content_bytes_max(), 65_536);
        assert_eq!(bytes(8192), "8192 B");
        assert_eq!(bytes(64 << 20), "64 MiB");
    }

    #[test]
    fn functions_are_named_as_in_the_source() {
        assert_eq!(readable("_RNvNtCs1234_10portcullis8denylist5exact"), "portcullis::denylist::exact");
        assert_eq!(readable("memcpy"), "memcpy");
    }

    #[test]
    fn sections_are_named_as_in_the_object() {
        assert_eq!(section_name("Xdp { frags: true, attach_type: Interface }"), "xdp.frags");
        assert_eq!(section_name("SocketFilter"), "socketfilter");
    }
}
