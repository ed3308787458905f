//! Other kernels, really booted: the tests of the tier `verdict` and the story of a ban that outlives a power cut, in a
//! virtual machine for each kernel that `cargo xtask setup boot` has fetched.
//!
//! QEMU emulates the processor, so this takes minutes and nothing here measures. No
//! root is needed. The output is that of libtest, with one line for each test that ran in a machine:
//! `linux-6.1::verdict::leases::…`, `linux-6.1::reboot::…`.

mod harness;
mod initramfs;
mod kit;
mod machine;
mod session;

use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;

use tests::boot::steps;
use tests::privilege;

use self::harness::{Plan, Verdict};
use self::kit::Kit;

fn main() -> ExitCode {
    let kit = match Kit::find() {
        Ok(kit) => kit,
        Err(reason) => {
            privilege::skip("boot", &reason);
            return ExitCode::SUCCESS;
        }
    };
    let verdict = match kit.verdict_tests() {
        Ok(names) => names,
        Err(reason) => {
            eprintln!("error: {reason}");
            return ExitCode::FAILURE;
        }
    };
    let names = kit.kernels.iter().flat_map(|kernel| {
        let story = steps::ALL.iter().map(|step| kernel.story(step));
        story.chain(verdict.iter().map(|test| kernel.verdict(test)))
    });
    let Some(mut plan) = Plan::from_arguments(names.collect()) else { return ExitCode::SUCCESS };
    // One machine for each kernel, side by side: each has a processor or two to emulate.
    let (sender, findings) = mpsc::channel::<Verdict>();
    thread::scope(|scope| {
        for kernel in kit.kernels.iter().filter(|kernel| plan.wants(&kernel.prefix())) {
            let (sender, kit, plan) = (sender.clone(), &kit, plan.wanted_of(&kernel.prefix()));
            scope.spawn(move || session::run(kit, kernel, &plan, &sender));
        }
        drop(sender);
        for finding in findings {
            plan.take(finding);
        }
    });
    plan.conclude()
}
