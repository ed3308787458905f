//! The first process of the virtual machines of the tier `boot`: makes a small system, tells the story, runs the tests
//! of the tier `verdict`, and switches off. Each finding is one line on a serial port (`tests::boot`).
//!
//! It is useless elsewhere, and refuses to run unless it is the first process.

mod clients;
mod report;
mod story;
mod system;
mod verdict;

use std::process::ExitCode;

use tests::boot::Line;

use self::report::Report;

fn main() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!(
            "boot-guest is the first process of a virtual machine; `cargo xtask test --tier boot` starts it"
        );
        return ExitCode::FAILURE;
    }
    let boot = system::set_up();
    let mut report = Report::open();
    report.send(&Line::Fact(system::description()));
    match boot {
        1 => {
            story::until_the_power_is_cut(&mut report);
        }
        _ => {
            story::after_the_reboot(&mut report);
            verdict::run(&mut report);
        }
    }
    report.send(&Line::Done);
    system::power_off()
}
