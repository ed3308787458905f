//! The state file and the kernel's maps, read by somebody who shares no code with the gateway: lines of JSON, and what
//! bpftool prints of maps byte by byte.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

use crate::gateway::Gateway;

/// A ban as anybody says it: its number, its addresses, and whether it only counts of itself.
pub type Bans = BTreeMap<u64, (IpNet, bool)>;

/// Both places.
pub struct Outside {
    state: PathBuf,
    maps: PathBuf,
    has_bpftool: bool,
}

/// The gateway's own list of bans.
///
/// # Errors
/// If it is none.
pub fn listed(gateway: &Gateway) -> Result<Bans> {
    let list = gateway.cli_json(&["bans"]);
    let bans = list["bans"].as_array().context("a list of bans")?.iter();
    bans.map(|ban| {
        let prefix = ban["prefix"].as_str().context("a ban of addresses")?.parse()?;
        Ok((ban["id"].as_u64().context("a number")?, (prefix, ban["observed"] == true)))
    })
    .collect()
}

/// Its own list of who is never dropped: prefixes, and those of them by command.
///
/// # Errors
/// If it is none.
pub fn allowed(gateway: &Gateway) -> Result<(BTreeSet<IpNet>, BTreeSet<IpNet>)> {
    let list = gateway.cli_json(&["allow", "--list"]);
    let (mut all, mut by_command) = (BTreeSet::new(), BTreeSet::new());
    for entry in list["allowed"].as_array().context("a list of prefixes")? {
        let prefix: IpNet = entry["prefix"].as_str().context("a prefix")?.parse()?;
        all.insert(prefix);
        if entry["because"] == "operator" {
            by_command.insert(prefix);
        }
    }
    Ok((all, by_command))
}

impl Outside {
    /// Of a gateway with its state below `folder` and its maps below `pins`.
    pub fn of(folder: &Path, pins: &Path) -> Outside {
        let version = Command::new("bpftool").arg("version").output();
        Outside {
            state: folder.join("state/bans.log"),
            maps: pins.join(format!("v{}", gateway_common::ABI_VERSION)),
            has_bpftool: version.is_ok_and(|output| output.status.success()),
        }
    }

    /// Why maps are not read, if they are not.
    pub fn without_maps(&self) -> Option<String> {
        (!self.has_bpftool).then(|| "there is no bpftool, so nobody read the maps from outside".into())
    }

    /// In what file and maps are not as the gateway lists it.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn differences(
        &self,
        listed: &Bans,
        (allowed, by_command): &(BTreeSet<IpNet>, BTreeSet<IpNet>),
    ) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let (written, allowed_there) = self.file()?;
        compare("the state file", "ban", listed, &written, &mut found);
        compare("the state file", "allowed", &set(by_command), &set(&allowed_there), &mut found);
        if self.has_bpftool {
            let ids =
                |bans: &Bans| bans.iter().map(|(id, (prefix, _))| (*id, *prefix)).collect::<BTreeMap<_, _>>();
            compare("the kernel", "ban", &ids(listed), &self.denied()?, &mut found);
            compare("the kernel", "allowed", &set(allowed), &set(&self.allowed()?), &mut found);
        }
        Ok(found)
    }

    /// What the state file says in the end.
    fn file(&self) -> Result<(Bans, BTreeSet<IpNet>)> {
        let (mut bans, mut allowed) = (Bans::new(), BTreeSet::new());
        for line in std::fs::read_to_string(&self.state)?.lines() {
            let line: Value =
                serde_json::from_str(line).with_context(|| format!("a line of the state file: {line}"))?;
            let (kind, record) =
                line.as_object().and_then(|line| line.iter().next()).context("one record")?;
            let prefix = || -> Result<IpNet> { Ok(record["prefix"].as_str().context("a prefix")?.parse()?) };
            let id = || record["id"].as_u64().context("a number");
            match kind.as_str() {
                "ban" => drop(bans.insert(id()?, (prefix()?, record["observed"] == true))),
                "end" => drop(bans.remove(&id()?)),
                "promoted" => {
                    if let Some(ban) = bans.get_mut(&id()?) {
                        ban.1 = false;
                    }
                }
                "allow" => drop(allowed.insert(prefix()?)),
                "disallow" => drop(allowed.remove(&prefix()?)),
                _ => {}
            }
        }
        Ok((bans, allowed))
    }

    /// Entries of bans in force in the four maps of the denylist.
    fn denied(&self) -> Result<BTreeMap<u64, IpNet>> {
        /// Offsets in a value (`gateway-common/src/denylist.rs`).
        const BAN_ID: usize = 24;
        const FLAGS: usize = 32;
        const LIST: u32 = 2;
        let now = clock_gettime(ClockId::Monotonic);
        let now_ns = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
        let mut bans = BTreeMap::new();
        for map in ["DENY4", "DENY6", "DENY_PREFIX4", "DENY_PREFIX6"] {
            for (key, value) in self.dump(map)? {
                let number = |at: usize| Some(u32::from_le_bytes(*value.get(at..)?.first_chunk()?));
                let until_ns =
                    value.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)).context("an end")?;
                let flags = number(FLAGS).context("flags")?;
                if flags & LIST != 0 || until_ns != 0 && until_ns <= now_ns {
                    continue;
                }
                let (id, prefix) = (number(BAN_ID).context("a ban")?, prefix(map, &key).context("a prefix")?);
                let other = bans.insert(u64::from(id), prefix);
                ensure!(other.is_none(), "ban {id} is in the kernel as {prefix} and as {other:?}");
            }
        }
        Ok(bans)
    }

    fn allowed(&self) -> Result<BTreeSet<IpNet>> {
        let mut allowed = BTreeSet::new();
        for map in ["ALLOW4", "ALLOW6"] {
            for (key, _) in self.dump(map)? {
                allowed.insert(prefix(map, &key).context("a prefix")?);
            }
        }
        Ok(allowed)
    }

    /// Keys and values of a map, as bytes.
    fn dump(&self, map: &str) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut command = Command::new("bpftool");
        let output = command.args(["-j", "map", "dump", "pinned"]).arg(self.maps.join(map)).output()?;
        ensure!(output.status.success(), "bpftool: {}", String::from_utf8_lossy(&output.stdout));
        let rows: Vec<Value> = serde_json::from_slice(&output.stdout)?;
        let bytes = |row: &Value, name: &str| -> Result<Vec<u8>> {
            let bytes = row[name].as_array().context("bytes")?.iter();
            bytes
                .map(|byte| {
                    let text = byte.as_str().context("a byte")?;
                    u8::from_str_radix(text.trim_start_matches("0x"), 16).map_err(Into::into)
                })
                .collect()
        };
        rows.iter().map(|row| Ok((bytes(row, "key")?, bytes(row, "value")?))).collect()
    }
}

/// The prefix that a key of a map stands for.
fn prefix(map: &str, key: &[u8]) -> Option<IpNet> {
    let v4 = |bits: u8, bytes: &[u8]| {
        Some(IpNet::V4(Ipv4Net::new((*bytes.first_chunk::<4>()?).into(), bits).ok()?))
    };
    let v6 = |bits: u8, bytes: &[u8]| {
        Some(IpNet::V6(Ipv6Net::new((*bytes.first_chunk::<16>()?).into(), bits).ok()?))
    };
    let bits = || Some(u32::from_le_bytes(*key.first_chunk()?) as u8);
    match map {
        "DENY4" => v4(32, key),
        "DENY6" => v6(64, &[key, &[0; 8]].concat()),
        "DENY_PREFIX4" | "ALLOW4" => v4(bits()?, key.get(4..)?),
        _ => v6(bits()?, key.get(4..)?),
    }
}

fn set(prefixes: &BTreeSet<IpNet>) -> BTreeMap<IpNet, ()> {
    prefixes.iter().map(|prefix| (*prefix, ())).collect()
}

/// Says what one has and the other has not, or has otherwise.
fn compare<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
    place: &str,
    what: &str,
    listed: &BTreeMap<K, V>,
    there: &BTreeMap<K, V>,
    found: &mut Vec<String>,
) {
    for (key, value) in listed {
        match there.get(key) {
            None => found.push(format!("{what} {key:?} {value:?} is not in {place}")),
            Some(other) if other != value => {
                found.push(format!("{what} {key:?} is {other:?} in {place}, not {value:?}"))
            }
            Some(_) => {}
        }
    }
    for (key, value) in there.iter().filter(|(key, _)| !listed.contains_key(key)) {
        found.push(format!("{what} {key:?} {value:?} is in {place} only"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_prefixes_of_their_map() {
        let table: [(&str, &[u8], &str); 4] = [
            ("DENY4", &[203, 0, 113, 9], "203.0.113.9/32"),
            ("DENY6", &[0x20, 1, 0xd, 0xb8, 0, 1, 0, 0], "2001:db8:1::/64"),
            ("DENY_PREFIX4", &[24, 0, 0, 0, 203, 0, 113, 0, 0, 0, 0, 0], "203.0.113.0/24"),
            (
                "ALLOW6",
                &[32, 0, 0, 0, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                "2001:db8::/32",
            ),
        ];
        for (map, key, expected) in table {
            assert_eq!(prefix(map, key).map(|prefix| prefix.to_string()).as_deref(), Some(expected));
        }
        assert_eq!(prefix("DENY4", &[1, 2]), None);
    }

    #[test]
    fn what_differs_is_told_from_both_sides() {
        let mut found = Vec::new();
        compare("it", "ban", &[(1, 'a'), (2, 'b')].into(), &[(2, 'c'), (3, 'd')].into(), &mut found);
        let expected = ["ban 1 'a' is not in it", "ban 2 is 'c' in it, not 'b'", "ban 3 'd' is in it only"];
        assert_eq!(found, expected);
    }
}
