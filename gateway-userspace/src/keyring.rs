//! Verification keys: parsed once, looked up by `kid`, fetched from their issuer and kept while it is down.
//!
//! An [`Issuer`] outlives the configuration, so that a reload neither forgets keys nor fetches them again. The
//! [`Keyring`] finds the issuer of a name and source as long as anybody uses it. A [`fetch::Fetcher`] keeps issuers
//! fresh on a thread of its own; workers only read the current [`document::KeySet`], and a verified token is answered
//! from a cache without reading even that.

pub mod discovery;
pub mod document;
pub mod fetch;
pub mod issuer;
pub mod key;
pub mod pem;
mod transfer;

#[cfg(test)]
pub mod signer;

#[cfg(test)]
pub mod server;

#[cfg(test)]
mod wycheproof;

use std::sync::{Arc, Weak};

use dashmap::DashMap;

pub use document::KeySet;
pub use issuer::Issuer;
pub use key::Key;

use issuer::Origin;

/// All issuers whose keys are fetched. One for each process.
#[derive(Default)]
pub struct Keyring {
    issuers: DashMap<(Arc<str>, Origin), Weak<Issuer>>,
}

impl Keyring {
    /// A keyring without issuers.
    pub fn new() -> Keyring {
        Keyring::default()
    }

    /// The issuer of this name and origin: the same one as before while anybody still holds it, so keys survive a
    /// reload, and a configuration that was refused leaves nothing behind.
    pub fn issuer(&self, name: &Arc<str>, origin: &Origin) -> Arc<Issuer> {
        self.issuers.retain(|_, issuer| issuer.strong_count() > 0);
        let mut slot = self.issuers.entry((name.clone(), origin.clone())).or_default();
        if let Some(issuer) = slot.upgrade() {
            return issuer;
        }
        let issuer = Arc::new(Issuer::fetched(name.clone(), origin.clone()));
        *slot = Arc::downgrade(&issuer);
        issuer
    }

    /// Every issuer in use, for metrics and `status`.
    pub fn issuers(&self) -> Vec<Arc<Issuer>> {
        self.issuers.iter().filter_map(|entry| entry.value().upgrade()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_the_same_while_it_is_used_and_forgotten_afterwards() {
        let keyring = Keyring::new();
        let (name, origin) = (Arc::from("users"), Origin::Url(Arc::from("http://127.0.0.1/jwks")));
        let first = keyring.issuer(&name, &origin);
        assert!(Arc::ptr_eq(&first, &keyring.issuer(&name, &origin)));
        assert_eq!(keyring.issuers().len(), 1);
        let other = keyring.issuer(&name, &Origin::Discovery(Arc::from("http://127.0.0.1/jwks")));
        assert!(!Arc::ptr_eq(&first, &other));
        drop((first, other));
        assert!(keyring.issuers().is_empty());
    }
}
