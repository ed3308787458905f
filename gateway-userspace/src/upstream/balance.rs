//! Which target a request goes to.

pub mod round_robin;

use std::time::Instant;

use super::endpoint::{Endpoint, Standing};

/// Walks `order` to the first target that takes requests. When none does, the one whose time is nearest is tried, at
/// most once per second; `None` says that nobody is to be asked now.
pub(super) fn choose<'a>(
    endpoints: impl Fn(usize) -> &'a Endpoint,
    order: impl Iterator<Item = usize> + Clone,
    now: Instant,
) -> Option<usize> {
    let admitted = order.clone().find(|&index| match endpoints(index).standing(now) {
        Standing::Up => true,
        Standing::Due => endpoints(index).claim(now),
        Standing::Down => false,
    });
    admitted.or_else(|| {
        order
            .min_by_key(|&index| endpoints(index).skipped_until_ms())
            .filter(|&index| endpoints(index).claim_early(now))
    })
}
