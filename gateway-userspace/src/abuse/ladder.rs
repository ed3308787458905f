//! Whom to ban for an offence: the narrowest target that works and cuts nobody else.
//!
//! 1. The address (IPv6: the /64), if as few other clients are behind it as `shield.collateral` allows: the kernel drops
//!    it, which costs the gateway nothing.
//! 2. Else the client, if the offence is one client's: at layer 7, at this address only if it was also served elsewhere
//!    lately (a key that many machines have), else wherever it comes from.
//! 3. Else nobody. What refused the requests goes on to refuse them. One good client alone spares its address so for a
//!    while only: [`super::shelter`].
//!
//! An address that is never banned stays out of the kernel in any case. Behind a CDN's address the client itself can be
//! banned, as it has nothing to do with the CDN.
//!
//! Pure: who is behind an address, and who is never banned, comes in.

use ipnet::IpNet;

use super::crowd::{Crowds, Others};
use super::exempt::{Because, Exempt};
use super::score::EVIDENCE_PER_SOURCE;
use super::signal::Evidence;
use super::target::{Subject, Target};

/// How many of ten refused requests must be of one client for the offence to be its own.
const OWN_OF_TEN: usize = 8;

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Choice {
    /// Ban, and who else was seen at the address.
    Ban(Target, Others),
    /// Nobody is banned for as long as the one good client there, the only one, may shelter the address.
    Shelter(IpNet, Others),
    /// Nobody is banned.
    Spare(Spared),
}

/// Why nobody is banned.
#[derive(Debug, PartialEq, Eq)]
pub enum Spared {
    /// The address is never banned.
    Exempt(Because),
    /// A ban would cut these.
    Collateral(Others),
    /// An operator does not want it, by the number of what says so.
    Suppressed(u32),
}

/// Chooses. `source` is what the offence was counted for, `host` the address of its last request, `who` the [`culprit`].
pub fn choose(
    source: IpNet,
    host: IpNet,
    who: Option<Subject>,
    crowds: &Crowds,
    exempt: &Exempt,
    collateral: u32,
) -> Choice {
    // The /64 of an address on our own network holds our own address too; then the one address must do.
    let candidates = [source, host];
    let prefix = candidates.into_iter().find(|prefix| exempt.covers(*prefix).is_none());
    let others = crowds.others(prefix.unwrap_or(source), who.as_ref());
    if let Some(prefix) = prefix
        && others.good <= collateral
    {
        return Choice::Ban(Target::Prefix(prefix), others);
    }
    let because = exempt.covers(host).filter(|_| prefix.is_none()).map(|(_, because)| because);
    match (who, because) {
        (_, Some(because)) if because != Because::Cdn => Choice::Spare(Spared::Exempt(because)),
        (Some(who), _) => {
            let elsewhere = crowds.sources(&who).into_iter().any(|seen| seen != source);
            let at = elsewhere.then_some(source);
            Choice::Ban(Target::Subject { who, at }, others)
        }
        (None, Some(because)) => Choice::Spare(Spared::Exempt(because)),
        (None, None) => match prefix {
            Some(prefix) if others.good == 1 => Choice::Shelter(prefix, others),
            _ => Choice::Spare(Spared::Collateral(others)),
        },
    }
}

/// The one client that nearly all of the denials are of, of which evidence is kept of some: of a broken connection there
/// is none, and of the others no more than [`EVIDENCE_PER_SOURCE`].
pub fn culprit(evidence: &[Evidence], denials: usize) -> Option<Subject> {
    let judged = evidence.len().max(denials.min(EVIDENCE_PER_SOURCE));
    let mut clients: Vec<(Subject, usize)> = Vec::new();
    for who in evidence.iter().filter_map(Evidence::who) {
        match clients.iter_mut().find(|(known, _)| *known == who) {
            Some((_, count)) => *count += 1,
            None => clients.push((who, 1)),
        }
    }
    let most = clients.into_iter().max_by_key(|(_, count)| *count);
    most.filter(|(_, count)| count * 10 >= judged * OWN_OF_TEN).map(|(who, _)| who)
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime};

    use super::*;

    const HOST: &str = "203.0.113.9/32";

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn who(name: &str) -> Subject {
        Subject { auth: "users".into(), principal: name.into() }
    }

    /// So many refused requests of each; `-` is nobody known.
    fn evidence(of: &[(&str, usize)]) -> Vec<Evidence> {
        let one = |name: &str| Evidence {
            time: SystemTime::UNIX_EPOCH,
            request_id: String::new(),
            method: "GET".into(),
            host: String::new(),
            path: "/".into(),
            status: 429,
            reason: "rate-limited".into(),
            route: None,
            auth: (name != "-").then(|| "users".into()),
            principal: (name != "-").then(|| name.into()),
            ja4: None,
        };
        of.iter().flat_map(|(name, count)| std::iter::repeat_n(one(name), *count)).collect()
    }

    fn crowds(seen: &[(&str, &str)]) -> Crowds {
        let now = Instant::now();
        let mut crowds = Crowds::new(now);
        for (address, name) in seen {
            crowds.seen(now, address.parse().unwrap(), &who(name));
        }
        crowds
    }

    fn chosen(of: &[(&str, usize)], seen: &[(&str, &str)], collateral: u32) -> String {
        let (source, exempt) = (net(HOST), Exempt::new());
        let evidence = evidence(of);
        match choose(source, source, culprit(&evidence, evidence.len()), &crowds(seen), &exempt, collateral) {
            Choice::Ban(target, _) => target.to_string(),
            Choice::Shelter(prefix, others) => format!("{prefix} unless {}", others.text()),
            Choice::Spare(Spared::Collateral(others)) => others.text(),
            Choice::Spare(Spared::Exempt(because)) => because.to_string(),
            Choice::Spare(Spared::Suppressed(number)) => number.to_string(),
        }
    }

    #[test]
    fn the_target_is_the_narrowest_that_works() {
        let (here, there) = ("203.0.113.9", "203.0.113.10");
        let crowd = [(here, "alice"), (here, "bob"), (here, "carol")];
        for (of, seen, collateral, target) in [
            // Alone at its address, known or not.
            (&[("-", 20)][..], &[][..], 0, "203.0.113.9"),
            (&[("mallory", 20)], &[(here, "mallory"), (there, "alice")], 0, "203.0.113.9"),
            // Others are behind it.
            (&[("mallory", 20)], &crowd, 0, "client users/mallory"),
            (&[("mallory", 20)], &crowd, 2, "client users/mallory"),
            (&[("mallory", 20)], &crowd, 3, "203.0.113.9"),
            (&[("alice", 20)], &crowd[..2], 0, "client users/alice"),
            (&[("alice", 20)], &crowd[..2], 1, "203.0.113.9"),
            (&[("mallory", 16), ("alice", 4)], &crowd, 0, "client users/mallory"),
            // The client is served elsewhere too.
            (
                &[("mallory", 20)],
                &[(here, "bob"), (there, "mallory")],
                0,
                "client users/mallory at 203.0.113.9",
            ),
            // No client is to blame alone.
            (&[("mallory", 15), ("-", 5)], &crowd, 0, "3 good clients: users/alice, users/bob and 1 more"),
            (&[("-", 20)], &crowd, 0, "3 good clients: users/alice, users/bob and 1 more"),
            (&[("-", 20)], &crowd, 3, "203.0.113.9"),
            (&[], &crowd, 0, "3 good clients: users/alice, users/bob and 1 more"),
            // One alone is among strangers.
            (&[("-", 20)], &crowd[..1], 0, "203.0.113.9/32 unless 1 good client: users/alice"),
            (&[("-", 20)], &crowd[..1], 1, "203.0.113.9"),
            (&[("-", 20)], &crowd[..2], 0, "2 good clients: users/alice and users/bob"),
            (&[("alice", 10), ("-", 10)], &crowd[..1], 0, "203.0.113.9/32 unless 1 good client: users/alice"),
            (&[("mallory", 20)], &crowd[..1], 0, "client users/mallory"),
        ] {
            assert_eq!(chosen(of, seen, collateral), target, "{of:?} among {seen:?}");
        }
    }

    #[test]
    fn an_address_that_is_never_banned_hides_its_clients_unless_it_is_a_cdn() {
        let mut exempt = Exempt::new();
        exempt.configure(vec![(net("198.51.100.0/24"), Because::Cdn), (net(HOST), Because::Never)]);
        let one = |host: &str, name| {
            choose(net(host), net(host), culprit(&evidence(&[(name, 20)]), 20), &crowds(&[]), &exempt, 0)
        };
        assert_eq!(one(HOST, "mallory"), Choice::Spare(Spared::Exempt(Because::Never)));
        assert_eq!(one("198.51.100.7/32", "-"), Choice::Spare(Spared::Exempt(Because::Cdn)));
        let client = Target::Subject { who: who("mallory"), at: None };
        assert_eq!(one("198.51.100.7/32", "mallory"), Choice::Ban(client, Others::default()));
    }

    #[test]
    fn where_only_the_64_is_exempt_the_one_address_is_banned() {
        let mut exempt = Exempt::new();
        exempt.surround(vec![(net("2001:db8::1/128"), Because::OwnAddress)]);
        let choice = choose(net("2001:db8::/64"), net("2001:db8::66/128"), None, &crowds(&[]), &exempt, 0);
        assert_eq!(choice, Choice::Ban(Target::Prefix(net("2001:db8::66/128")), Others::default()));
    }

    #[test]
    fn one_refusal_among_denials_without_evidence_makes_nobody_the_culprit() {
        let alice = evidence(&[("alice", 1)]);
        assert_eq!(culprit(&alice, 20), None);
        assert_eq!(culprit(&evidence(&[("alice", 32)]), 1_000), culprit(&alice, 1));
        assert!(culprit(&alice, 1).is_some());
    }
}
