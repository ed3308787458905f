//! Authentications that a reload finds again, with the tokens that they remember.
//!
//! An authentication whose settings are the same is the same one: each reload would otherwise make every client's next
//! token be verified anew. Remembered weakly, so what no snapshot holds is gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Authenticator;
use super::config::Config;
use crate::keyring::Keyring;
use crate::keyring::document::DocumentError;

/// All authentications with `jwt` that are in use, by name. One for the process.
#[derive(Default)]
pub struct Kept(Mutex<HashMap<Arc<str>, Vec<Weak<Authenticator>>>>);

impl Kept {
    /// The authentication with these settings that is in use, else a new one.
    pub fn compile(&self, config: &Config, keyring: &Keyring) -> Result<Arc<Authenticator>, DocumentError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_name, same_name| {
            same_name.retain(|authenticator| authenticator.strong_count() > 0);
            !same_name.is_empty()
        });
        let same_name = kept.entry(config.name.clone()).or_default();
        let known = same_name.iter().filter_map(Weak::upgrade).find(|known| known.config() == config);
        if let Some(known) = known {
            return Ok(known);
        }
        let authenticator = Arc::new(Authenticator::compile(config.clone(), keyring)?);
        same_name.push(Arc::downgrade(&authenticator));
        Ok(authenticator)
    }
}
