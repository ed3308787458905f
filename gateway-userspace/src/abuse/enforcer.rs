//! Who drops the packets. The kernel stage implements this; `gateway.rs` brings the two together.

use std::time::Duration;

use ipnet::IpNet;

use super::parole::Parole;
use crate::admin::api::{KernelStatus, ShedSource};

/// One entry of the kernel's denylist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// What is dropped.
    pub prefix: IpNet,
    /// The ban it belongs to; none if nobody knows.
    pub ban_id: Option<u32>,
    /// Time left; none: for ever. An entry that has expired may be left out.
    pub left: Option<Duration>,
    /// Whether it only counts.
    pub observe: bool,
}

/// What is to be dropped, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// What.
    pub prefix: IpNet,
    /// Time left; none: for ever.
    pub left: Option<Duration>,
    /// The ban it belongs to.
    pub ban_id: u32,
    /// Count what would be dropped, and pass it.
    pub observe: bool,
    /// When one connection at a time is let through; none: never.
    pub parole: Option<Parole>,
}

/// A list of prefixes that is to be dropped, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListLease {
    /// Its number, of the same sequence as those of bans: what is dropped is counted under it.
    pub id: u32,
    /// Time left; none: for ever.
    pub left: Option<Duration>,
    /// Count what would be dropped, and pass it.
    pub observe: bool,
}

/// What has become of a list that was told anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Listed {
    /// Prefixes that it holds now.
    pub entries: usize,
    /// Those that it did not hold before.
    pub added: usize,
    /// Those that it holds no more.
    pub removed: usize,
    /// Those that there was no room for.
    pub without_room: usize,
}

/// Prefixes that [`Enforcer::list_add`] takes at once: a ban waits that long at most.
pub const LIST_PIECE: usize = 8192;

/// What was dropped (or counted) for a ban.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drops {
    /// Packets.
    pub packets: u64,
    /// Their bytes, Ethernet header included.
    pub bytes: u64,
    /// Those of them that would have opened a connection.
    pub syns: u64,
}

/// A piece of what the kernel holds, read anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held {
    /// Entries of bans, those that are over included until they are swept.
    pub entries: Vec<Entry>,
    /// How many entries of lists are beside them.
    pub of_lists: usize,
    /// How many allowed prefixes were compared.
    pub allowed: usize,
    /// How many words of the filter were compared.
    pub filter_words: usize,
    /// In what it is not as it was written: by kind, with the prefix if it is about one.
    pub differences: Vec<(&'static str, Option<IpNet>)>,
}

/// The kernel's denylist and allowlist. Called by the keeper's thread only, so it may take its time with `tick`, but
/// `install` stands between an abuser's last denial and the drop.
pub trait Enforcer: Send {
    /// Whether bans reach the kernel at all; otherwise they hold at layer 7 only.
    fn in_kernel(&self) -> bool;
    /// Adds or replaces the entry for exactly this prefix.
    fn install(&mut self, lease: &Lease) -> Result<(), String>;
    /// Removes the entry for exactly this prefix; whether there was one.
    fn lift(&mut self, prefix: IpNet) -> Result<bool, String>;
    /// Never drops this prefix, whatever else says so.
    fn allow(&mut self, prefix: IpNet) -> Result<(), String>;
    /// Takes the prefix off the allowlist.
    fn disallow(&mut self, prefix: IpNet) -> Result<(), String>;
    /// The allowlist, as it was left by this process or the one before.
    fn allowed(&mut self) -> Vec<IpNet>;
    /// What was dropped (or counted) for this ban.
    fn drops(&mut self, ban_id: u32) -> Drops;
    /// The denylist, as it was left by this process or the one before.
    fn entries(&mut self) -> Vec<Entry>;
    /// Begins to tell a list anew. What it held goes on until [`Enforcer::list_commit`].
    fn list_begin(&mut self, _lease: &ListLease) -> Result<(), String> {
        Ok(())
    }
    /// Adds at most [`LIST_PIECE`] prefixes to a list that was begun. They are in force at once. A ban of the same
    /// prefix goes before if it ends later and has no parole, and the list takes over when that ends.
    fn list_add(&mut self, _id: u32, _prefixes: &[IpNet]) -> Result<(), String> {
        Ok(())
    }
    /// Takes away what the list held before and was not told again; with nothing told, the list is gone. In pieces, so
    /// that bans do not wait: none, call it again.
    fn list_commit(&mut self, _id: u32) -> Result<Option<Listed>, String> {
        Ok(Some(Listed::default()))
    }
    /// Takes prefixes off a list that was told and puts others on it, at most [`LIST_PIECE`] of both; the rest is not
    /// touched. They hold as long as the rest does: the lease is for a list that has nothing.
    fn list_change(&mut self, _lease: &ListLease, _gone: &[IpNet], _new: &[IpNet]) -> Result<Listed, String> {
        Ok(Listed::default())
    }
    /// The lists that have entries, as they were left by this process or the one before.
    fn lists(&mut self) -> Vec<u32> {
        Vec::new()
    }
    /// Begins to read back everything that the kernel holds, and to compare it with what was written, without repairing
    /// anything; whether there is a kernel stage.
    fn verify_begin(&mut self) -> bool;
    /// The next piece, so small that a ban may wait for it; none after the last one.
    fn verify_next(&mut self) -> Result<Option<Held>, String>;
    /// Whether the kernel has an entry for each of these prefixes of bans.
    fn holds(&mut self, prefixes: &[IpNet]) -> Result<Vec<bool>, String>;
    /// Sweeps what has expired and looks for drift; called about every second.
    fn tick(&mut self);
    /// The sources that the packet budgets shed most, for `portcullis top`.
    fn shed(&mut self, _count: usize) -> Vec<ShedSource> {
        Vec::new()
    }
    /// For `portcullis status`.
    fn status(&mut self) -> KernelStatus;
}

/// Stands in where there is no kernel stage: nothing is dropped before TCP, and [`super::deny`] refuses at layer 7.
#[derive(Debug)]
pub struct NoKernel {
    /// Why there is none, for `portcullis status`.
    pub because: String,
}

impl Enforcer for NoKernel {
    fn in_kernel(&self) -> bool {
        false
    }

    fn install(&mut self, _: &Lease) -> Result<(), String> {
        Ok(())
    }

    fn lift(&mut self, _: IpNet) -> Result<bool, String> {
        Ok(false)
    }

    fn allow(&mut self, _: IpNet) -> Result<(), String> {
        Ok(())
    }

    fn disallow(&mut self, _: IpNet) -> Result<(), String> {
        Ok(())
    }

    fn allowed(&mut self) -> Vec<IpNet> {
        Vec::new()
    }

    fn drops(&mut self, _: u32) -> Drops {
        Drops::default()
    }

    fn entries(&mut self) -> Vec<Entry> {
        Vec::new()
    }

    fn verify_begin(&mut self) -> bool {
        false
    }

    fn verify_next(&mut self) -> Result<Option<Held>, String> {
        Ok(None)
    }

    fn holds(&mut self, prefixes: &[IpNet]) -> Result<Vec<bool>, String> {
        Ok(vec![false; prefixes.len()])
    }

    fn tick(&mut self) {}

    fn status(&mut self) -> KernelStatus {
        KernelStatus { off_because: Some(self.because.clone()), ..KernelStatus::default() }
    }
}
