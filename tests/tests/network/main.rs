//! Whole stories over real packets: client hosts in network namespaces, the kernel stage on their veth pairs.

mod addresses;
mod bans;
mod budgets;
mod crashes;
mod crowd;
mod fail2ban;
mod floods;
mod ipv6;
mod lists;
mod matrix;
mod parole;
mod pressure;
mod receipts;
mod shadow;
mod soak;
mod spoof;
mod stage;
