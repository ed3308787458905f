//! Telling what differs, for a source that says no more than that.

use std::sync::Arc;

use ipnet::IpNet;

use super::{Fault, Read, Teller, Told};
use crate::abuse::enforcer::LIST_PIECE;
use crate::abuse::keeper::{self, Changed};
use crate::abuse::ranges::Ranges;

impl Teller {
    /// Brings a list that is in force from what was `told` of it to what was read; its lease stays. None: it is not in
    /// force any more.
    pub async fn change(&self, name: &Arc<str>, read: Read, told: &[IpNet]) -> Result<Option<Told>, Fault> {
        let (prefixes, counts, guarded) = self.sift(read, false, None).await?;
        let (gone, new) = differences(told, &prefixes);
        let _turn = self.turn.lock().await;
        let mut kernel = Ok(None);
        // What goes makes room for what comes.
        let pieces = gone.chunks(LIST_PIECE).map(|gone| (gone, &[][..]));
        for (gone, new) in pieces.chain(new.chunks(LIST_PIECE).map(|new| (&[][..], new))) {
            let (name, gone, new) = (name.clone(), gone.to_vec(), new.to_vec());
            let change = move |owner: &mut keeper::Owner| owner.list_change(&name, &gone, &new);
            let Some(changed) = self.keeper.ask(change).await? else { return Ok(None) };
            kernel = kernel.and_then(|_| changed.map(Some).map_err(Box::<str>::from));
        }
        let changed = Changed {
            ranges: Arc::new(Ranges::of(&prefixes)),
            counts,
            guarded: guarded.clone(),
            kernel: kernel.clone(),
            added: new.len(),
            removed: gone.len(),
        };
        let settle = {
            let name = name.clone();
            move |owner: &mut keeper::Owner| owner.list_changed(&name, changed)
        };
        let Some((lease_end, counts)) = self.keeper.ask(settle).await? else { return Ok(None) };
        let is_kept = gone.is_empty() && new.is_empty() || self.keep(name, &prefixes);
        Ok(Some(Told { prefixes, counts, guarded, outside: kernel.err(), lease_end, is_kept }))
    }
}

/// What only the first has, and what only the second; both are in order.
fn differences(before: &[IpNet], after: &[IpNet]) -> (Vec<IpNet>, Vec<IpNet>) {
    let (mut gone, mut new) = (Vec::new(), Vec::new());
    let (mut before, mut after) = (before.iter().copied().peekable(), after.iter().copied().peekable());
    loop {
        match (before.peek(), after.peek()) {
            (None, None) => return (gone, new),
            (Some(old), Some(now)) if old == now => {
                before.next();
                after.next();
            }
            (Some(old), now) if now.is_none_or(|now| old < now) => gone.extend(before.next()),
            _ => new.extend(after.next()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_told() {
        let nets =
            |texts: &[&str]| -> Vec<IpNet> { texts.iter().map(|text| text.parse().unwrap()).collect() };
        for (before, after, gone, new) in [
            (&[][..], &[][..], &[][..], &[][..]),
            (&[], &["10.0.0.0/8", "::/19"], &[], &["10.0.0.0/8", "::/19"]),
            (&["10.0.0.0/8", "::/19"], &[], &["10.0.0.0/8", "::/19"], &[]),
            (
                &["10.0.0.0/8", "10.0.0.0/9", "10.0.0.2/32", "2001:db8::/64"],
                &["10.0.0.0/9", "10.0.0.1/32", "10.0.0.2/32", "2001:db8::/48"],
                &["10.0.0.0/8", "2001:db8::/64"],
                &["10.0.0.1/32", "2001:db8::/48"],
            ),
        ] {
            assert_eq!(
                differences(&nets(before), &nets(after)),
                (nets(gone), nets(new)),
                "{before:?} {after:?}"
            );
        }
    }
}
