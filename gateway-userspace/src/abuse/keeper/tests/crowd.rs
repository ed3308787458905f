//! Who else is behind an address that is to be banned.

use super::*;
use crate::abuse::reporter::Seen;
use crate::abuse::target::Subject;

fn who(name: &str) -> Subject {
    Subject { auth: "users".into(), principal: name.into() }
}

impl Bench {
    /// So many good clients at an address.
    fn serve(&mut self, address: &str, names: &[&str]) {
        for name in names {
            self.owner().seen(&Seen { source: address.parse().unwrap(), who: who(name) });
        }
    }
}

#[test]
fn who_else_was_there_is_frozen_in_the_receipt() {
    let mut bench = Bench::new("others");
    bench.serve("198.51.100.7", &["alice", "bob"]);
    bench.serve("198.51.100.8", &["bob", "carol"]);
    bench.pass(59 * MINUTE);
    bench.owner().tick();
    bench.ban_with("198.51.100.0/24", None, true, false).unwrap();
    bench.serve("198.51.100.9", &["dave"]);
    bench.restart();
    let others = bench.bans(false).remove(0).others.expect("somebody looked");
    assert_eq!((others.good, others.names.join(" ").as_str()), (3, "users/alice users/bob users/carol"));
}
