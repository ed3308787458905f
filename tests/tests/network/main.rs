//! Whole stories over real packets: client hosts in network namespaces, the kernel stage on their veth pairs.

mod addresses;
mod bans;
mod budgets;
mod floods;
mod parole;
mod shadow;
mod stage;
