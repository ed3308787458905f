//! The soak, for a number of steps: `cargo xtask soak` goes on for as long as one likes.

use tests::kernel::Kernel;
use tests::privilege;
use tests::soak::{Limit, Soak};

#[test]
fn ledger_kernel_and_state_file_agree_whatever_operators_abusers_and_accidents_do() {
    if Kernel::load().is_none() {
        return;
    }
    let mut soak = Soak::start(52, 1).expect("two hosts and a gateway");
    let limit = Limit { steps: Some(120), time: None };
    let report = soak.run(limit, |_| ()).unwrap_or_else(|error| panic!("{error:#}"));
    assert!(report.compared >= 15 && report.most >= 10, "{report:?}");
    assert!(
        ["kill", "abuse", "reload", "allow"].iter().all(|step| report.steps.contains_key(step)),
        "{report:?}"
    );
    if let Some(why) = &report.without_maps {
        privilege::skip("the maps from outside", why);
    }
    println!("{report:?}");
}
