//! Keeping abusers out: from a refused request to a ban in the kernel, and back.
//!
//! [`signal`] is what the request path says, [`reporter`] carries it without waiting, and [`keeper`] is the one thread
//! that owns everything behind it: [`score`] counts denials, [`crowd`] knows who else is behind an address, [`exempt`] says
//! who is never banned, [`ladder`] whom an offence leads to a ban of, [`shelter`] how often one client may prevent that,
//! [`widen`] when a network, [`suppress`] what an operator does not want again, [`ban`] is the
//! ledger of what holds for which [`target`], [`receipt`] keeps the evidence, [`state`] keeps it over a restart, and an [`enforcer`] drops the packets.
//! [`lists`] are what others keep out.
//! [`deny`] is the same verdict for the request path, for what the kernel does not or cannot drop: it says the
//! [`standing`] of a client, and a [`shadow`] ban counts there what it would keep out.

pub mod counters;
pub mod reporter;
pub mod signal;
pub mod told;

pub mod crowd;
pub mod ladder;
pub mod offender;
pub mod prefix_map;
pub mod ranges;
pub mod score;
pub mod shelter;
pub mod source;
pub mod target;

pub mod cdn;
pub mod exempt;
pub mod surroundings;

pub mod ban;
pub mod lists;
pub mod receipt;
pub mod saved;
pub mod state;
pub mod suppress;
pub mod term;
pub mod widen;

pub mod deny;
pub mod harm;
pub mod parole;
pub mod shadow;
pub mod standing;

pub mod enforcer;
pub mod keeper;
