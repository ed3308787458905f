//! Lists that others keep: told in pieces, kept by name, and swept when nobody knows them.

use super::*;
use crate::abuse::lists::{Counts, LISTS_MAX, Terms};
use crate::abuse::ranges::Ranges;

const DAY: Duration = Duration::from_secs(86_400);

fn terms(lease: Option<Duration>) -> Terms {
    Terms {
        source: "/etc/drop.txt".into(),
        format: "text".into(),
        is_configured: false,
        observe: false,
        lease,
    }
}

impl Bench {
    /// As the thread of lists does it.
    fn tell(&mut self, name: &str, terms: &Terms, prefixes: &[&str]) -> u32 {
        let prefixes: Vec<IpNet> = prefixes.iter().map(|prefix| net(prefix)).collect();
        let name: Arc<str> = name.into();
        let (id, begun) = self.owner().list_begin(&name, terms).unwrap();
        let kernel = begun.and_then(|()| {
            for piece in prefixes.chunks(2) {
                self.owner().list_add(&name, id, piece)?;
            }
            loop {
                if let Some(listed) = self.owner().list_commit(&name, id)? {
                    return Ok(listed);
                }
            }
        });
        let settled = Settled {
            ranges: Arc::new(Ranges::of(&prefixes)),
            counts: Counts { entries: prefixes.len(), expected: prefixes.len(), ..Counts::default() },
            guarded: Arc::from([]),
            kernel: kernel.map_err(Into::into),
            is_fresh: true,
        };
        self.owner().list_settle(&name, terms.clone(), settled);
        id
    }

    fn held(&self, id: u32) -> Option<Vec<String>> {
        let maps = self.maps.0.lock().unwrap();
        maps.lists.get(&id).map(|list| list.prefixes.iter().map(IpNet::to_string).collect())
    }

    fn listed(&mut self) -> Vec<(String, u32, usize, Option<u64>)> {
        let lists = self.owner().lists().lists;
        lists.into_iter().map(|list| (list.name, list.id, list.entries, list.left_s)).collect()
    }

    fn refused_by(&mut self, address: &str) -> Option<u32> {
        match self.standing(address) {
            Standing::Banned(id) => Some(id),
            _ => None,
        }
    }
}

#[test]
fn a_ban_is_made_between_two_pieces_of_a_list() {
    let mut bench = Bench::new("pieces");
    let (name, terms) = (Arc::from("drop"), terms(Some(DAY)));
    let (id, begun) = bench.owner().list_begin(&name, &terms).unwrap();
    begun.unwrap();
    bench.owner().list_add(&name, id, &[net("198.51.100.1")]).unwrap();
    bench.deny(ABUSER, 20);
    assert_eq!(bench.maps.denied(), ["203.0.113.9/32"]);
    bench.owner().list_add(&name, id, &[net("198.51.100.2")]).unwrap();
    assert_eq!(bench.held(id).unwrap().len(), 2, "in force before it is whole");
    assert_eq!(bench.bans(false)[0].id, id + 1, "one sequence of numbers");
}

#[test]
fn a_list_replaces_itself_and_keeps_its_number_over_a_restart() {
    let mut bench = Bench::new("lists-restart");
    let id = bench.tell("drop", &terms(Some(DAY)), &["198.51.100.0/24", "198.51.100.7", "2001:db8::/32"]);
    assert_eq!(bench.refused_by("198.51.100.9"), Some(id));
    assert_eq!(bench.tell("drop", &terms(Some(DAY)), &["198.51.100.7"]), id);
    assert_eq!(bench.held(id).unwrap(), ["198.51.100.7/32"]);
    assert_eq!((bench.refused_by("198.51.100.9"), bench.refused_by("198.51.100.7")), (None, Some(id)));
    let other = bench.tell("other", &terms(None), &["192.0.2.77"]);
    bench.pass(MINUTE);
    bench.restart();
    let left = Some(86_340);
    assert_eq!(bench.listed(), [("drop".into(), id, 1, left), ("other".into(), other, 1, None)]);
    assert_eq!(bench.held(id).unwrap(), ["198.51.100.7/32"], "the kernel goes on");
    assert_eq!(bench.refused_by("198.51.100.7"), None, "until what was kept is told again");
    assert_eq!(bench.tell("drop", &terms(Some(DAY)), &["198.51.100.8"]), id);
    bench.ban(ABUSER).unwrap();
    assert!(bench.bans(false)[0].id > other);
    bench.reboot();
    let known = bench.owner().lists_known();
    let left = known[0].terms.lease.unwrap();
    assert!(left <= DAY && left > DAY - Duration::from_secs(1), "{left:?}");
    assert_eq!(known[0].terms, terms(Some(left)));
    assert_eq!((known[1].terms.lease, known[1].is_over), (None, false));
    bench.pass(DAY);
    assert!(bench.owner().lists_known()[0].is_over);
    assert_eq!(bench.listed()[0].3, Some(0));
}

#[test]
fn what_nobody_knows_is_swept_and_a_removed_list_does_not_come_back() {
    let mut bench = Bench::new("lists-sweep");
    let id = bench.tell("drop", &terms(None), &["198.51.100.7", "198.51.100.8"]);
    bench
        .maps
        .0
        .lock()
        .unwrap()
        .lists
        .entry(77)
        .or_default()
        .prefixes
        .extend([net("192.0.2.1"), net("192.0.2.2")]);
    bench.restart();
    assert_eq!((bench.held(77), bench.held(id).map(|list| list.len())), (None, Some(2)));
    assert_eq!(bench.tell("next", &terms(None), &["192.0.2.3"]), 78, "its number may still be counted under");
    assert_eq!(bench.owner().list_remove("drop"), Some(id));
    while bench.owner().list_commit("drop", id).unwrap().is_none() {}
    assert_eq!((bench.held(id), bench.refused_by("198.51.100.7")), (None, None));
    assert_eq!(bench.owner().list_remove("drop"), None);
    bench.restart();
    assert_eq!(bench.listed(), [("next".into(), 78, 1, None)]);
}

#[test]
fn what_the_kernel_refuses_holds_at_layer_7_and_what_failed_is_said() {
    let mut bench = Bench::new("lists-broken");
    bench.maps.0.lock().unwrap().broken = true;
    let id = bench.tell("drop", &terms(Some(DAY)), &["198.51.100.7"]);
    assert_eq!(bench.refused_by("198.51.100.7"), Some(id));
    let list = bench.owner().lists().lists.remove(0);
    assert_eq!((list.entries, list.outside.as_deref()), (1, Some("no space left on device")));
    assert_eq!(bench.owner().counters.enforcer_failures.load(Relaxed), 1);
    bench.maps.0.lock().unwrap().broken = false;
    bench.tell("drop", &terms(Some(DAY)), &["198.51.100.7"]);
    bench.owner().list_failed(&"drop".into(), &terms(None), "the server answered with status 503");
    bench.owner().list_unchanged("other");
    bench.owner().list_failed(&"other".into(), &terms(None), "no connection");
    let lists = bench.owner().lists().lists;
    assert_eq!(lists[0].outside, None);
    assert_eq!(lists[0].failure.as_deref(), Some("the server answered with status 503"));
    assert_eq!((lists[1].told.as_deref(), lists[1].failure.as_deref()), (None, Some("no connection")));
    assert_eq!(bench.refused_by("198.51.100.7"), Some(id), "a failure lifts nothing");
    let counters = bench.owner().counters.clone();
    let figures = counters.lists.lock().unwrap();
    assert_eq!(
        (figures[0].refreshes.taken, figures[0].refreshes.failed, figures[1].refreshes.failed),
        (2, 1, 1)
    );
}

#[test]
fn a_list_that_counts_refuses_nobody_nor_does_any_while_the_shield_observes() {
    let mut bench = Bench::new("lists-observe");
    let counting = Terms { observe: true, ..terms(None) };
    let maybe = bench.tell("maybe", &counting, &["198.51.100.0/24"]);
    let observed = |bench: &Bench, id| bench.maps.0.lock().unwrap().lists[&id].observe;
    assert!(observed(&bench, maybe));
    let Standing::Observed(shadow) = bench.standing("198.51.100.7") else { panic!("it is listed") };
    shadow.count(crate::abuse::shadow::Outcome::Good);
    assert_eq!(bench.owner().lists().lists[0].requests, 1);
    let drop = bench.tell("drop", &terms(None), &["198.51.100.7"]);
    assert!(!observed(&bench, drop));
    assert_eq!(bench.refused_by("198.51.100.7"), Some(drop));
    let settings = Settings { enforce: false, ..bench.settings.clone() };
    bench.owner().configure(settings);
    assert_eq!(bench.refused_by("198.51.100.7"), None);
    assert_eq!(bench.tell("drop", &terms(None), &["198.51.100.7"]), drop);
    assert!(observed(&bench, drop));
    let settings = bench.settings.clone();
    bench.owner().configure(settings);
    assert_eq!(bench.refused_by("198.51.100.7"), Some(drop));
}

#[test]
fn an_address_says_which_list_it_is_on_and_who_is_exempt_passes() {
    let mut bench = Bench::new("lists-explain");
    bench.tell("drop", &terms(None), &["198.51.100.0/24"]);
    let said = |bench: &mut Bench| bench.owner().explain("198.51.100.7".parse().unwrap());
    assert_eq!(said(&mut bench), "on the list drop, which drops it");
    bench.allow("198.51.100.7", false).unwrap();
    assert_eq!(bench.refused_by("198.51.100.7"), None);
    assert_eq!(said(&mut bench), "never banned: 198.51.100.7 is on the list as operator");
    let sifted = bench.owner().list_guard().sift(vec![net("198.51.100.0/24")], false);
    assert_eq!(sifted.guarded, 1, "the guard knows who is exempt now");
}

#[test]
fn there_are_so_many_lists_and_no_more() {
    let mut bench = Bench::new("lists-full");
    for nth in 0..LISTS_MAX {
        bench.tell(&format!("list-{nth}"), &terms(None), &["198.51.100.7"]);
    }
    let more = bench.owner().list_begin(&"one-more".into(), &terms(None));
    assert_eq!(more.unwrap_err(), Refusal::ListsFull(LISTS_MAX));
    bench.tell("list-0", &terms(None), &["198.51.100.8"]);
    bench.owner().list_failed(&"one-more".into(), &terms(None), "no room");
    assert_eq!(bench.owner().lists().lists.len(), LISTS_MAX);
}

impl Bench {
    /// As the thread of lists does it; none: the list is not in force.
    fn change(&mut self, name: &str, gone: &[&str], new: &[&str], all: &[&str]) -> Option<Counts> {
        let nets = |texts: &[&str]| texts.iter().map(|text| net(text)).collect::<Vec<_>>();
        let kernel = self.owner().list_change(name, &nets(gone), &nets(new))?;
        let changed = Changed {
            ranges: Arc::new(Ranges::of(&nets(all))),
            counts: Counts { entries: all.len(), expected: all.len(), ..Counts::default() },
            guarded: Arc::from([]),
            kernel: kernel.map(Some).map_err(Into::into),
            added: new.len(),
            removed: gone.len(),
        };
        Some(self.owner().list_changed(&name.into(), changed)?.1)
    }
}

#[test]
fn changes_of_a_list_are_in_force_at_once_and_leave_its_lease_as_it_is() {
    let mut bench = Bench::new("lists-change");
    assert!(bench.change("drop", &[], &["192.0.2.1"], &["192.0.2.1"]).is_none(), "there is none");
    let id = bench.tell("drop", &terms(Some(DAY)), &["198.51.100.7", "198.51.100.8"]);
    bench.pass(MINUTE);
    let all = ["198.51.100.8", "203.0.113.0/24"];
    let counts = bench.change("drop", &["198.51.100.7"], &["203.0.113.0/24"], &all).unwrap();
    assert_eq!((counts.entries, counts.without_room), (2, 0));
    assert_eq!(bench.held(id).unwrap(), ["198.51.100.8/32", "203.0.113.0/24"]);
    let refused = ["198.51.100.7", "198.51.100.8", ABUSER].map(|address| bench.refused_by(address));
    assert_eq!(refused, [None, Some(id), Some(id)]);
    assert_eq!(bench.listed(), [("drop".into(), id, 2, Some(86_340))]);
    bench.maps.0.lock().unwrap().room = Some(2);
    let more = ["198.51.100.8", "203.0.113.0/24", "192.0.2.1"];
    let counts = bench.change("drop", &[], &["192.0.2.1"], &more).unwrap();
    assert_eq!((counts.entries, counts.without_room), (2, 1));
    assert_eq!(bench.refused_by("192.0.2.1"), Some(id), "at layer 7 all the same");
    bench.maps.0.lock().unwrap().broken = true;
    bench.change("drop", &["192.0.2.1"], &[], &all).unwrap();
    let outside = bench.owner().lists().lists[0].outside.clone();
    assert!(outside.is_some_and(|why| why.contains("no space left")));
    bench.maps.0.lock().unwrap().broken = false;
    bench.pass(DAY);
    assert!(bench.change("drop", &[], &["192.0.2.1"], &more).is_none(), "its time is over");
    bench.restart();
    assert!(bench.change("drop", &[], &["192.0.2.1"], &more).is_none(), "it was not told yet");
}
