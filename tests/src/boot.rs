//! What the tier `boot` and the machine that it boots have agreed on: where things lie in that machine, the steps of
//! the story, and the lines by which the machine tells how they went.
//!
//! The machine boots twice with one disk. In the first boot somebody is banned, and the power is cut; in the second the
//! clock has moved on, the gateway starts again, and then the tier `verdict` runs on that kernel.

use serde::{Deserialize, Serialize};

/// Programs in the machine.
pub mod programs {
    /// The first process; the kernel looks for it here.
    pub const GUEST: &str = "/init";
    /// The gateway.
    pub const GATEWAY: &str = "/bin/portcullis";
    /// The tests of the tier `verdict`.
    pub const VERDICT: &str = "/bin/verdict";
}

/// The folder with the modules to load, in the order of their names.
pub const MODULES: &str = "/modules";
/// The serial line for [`Line`]s; the kernel's words go to the other one.
pub const REPORT_DEVICE: &str = "/dev/ttyS1";
/// Says which boot it is, 1 or 2. A parameter `NAME=value` that the kernel does not know is a variable of the first
/// process's environment (`Documentation/admin-guide/kernel-parameters.rst`).
pub const BOOT: &str = "PORTCULLIS_BOOT";

/// The clock of the first boot, as QEMU takes it (UTC).
pub const FIRST_CLOCK: &str = "2026-01-01T12:00:00";
/// The clock of the second. A machine has 25 minutes for both boots. So the first is over by 12:25, and with it the pest's
/// ban of 15 minutes by 12:40, while the abuser's of two hours lasts until the second is over, by 13:10.
pub const SECOND_CLOCK: &str = "2026-01-01T12:45:00";

/// The steps of the story, by the names that they have as tests.
pub mod steps {
    pub const ATTACHES: &str = "the_kernel_stage_attaches_to_veth_in_native_mode";
    pub const BANS: &str = "twenty_denials_ban_the_abuser_in_the_kernel_and_nobody_else";
    pub const CRASH: &str = "a_crash_and_the_next_start_let_no_packet_of_the_banned_through";
    pub const OPERATOR: &str = "a_ban_by_hand_is_in_force_when_the_power_is_cut";
    pub const REBOOT: &str =
        "after_a_reboot_the_banned_reach_nothing_from_the_first_moment_that_others_are_served";
    pub const RECEIPT: &str =
        "a_ban_goes_on_after_a_reboot_with_its_id_reason_and_receipt_for_the_time_it_had_left";
    pub const ENDED: &str = "a_ban_whose_time_ran_out_while_the_power_was_off_is_over";
    pub const LIFTED: &str = "a_ban_from_before_the_reboot_can_be_lifted";

    /// All of them, in order.
    pub const ALL: [&str; 8] = [ATTACHES, BANS, CRASH, OPERATOR, REBOOT, RECEIPT, ENDED, LIFTED];
}

/// One line from the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// Something worth knowing about the machine.
    Fact(String),
    /// A test, by its name, has passed.
    Passed(String),
    /// A test, by its name, has failed, and why.
    Failed(String, String),
    /// The power is to be cut now.
    Cut,
    /// All is done; the machine switches itself off.
    Done,
}

impl Line {
    /// As it goes over the line, with its end.
    pub fn encode(&self) -> String {
        let mut text = serde_json::to_string(self).expect("strings can be written as JSON");
        text.push('\n');
        text
    }

    /// From the line, with or without its end; `None` for anything else.
    pub fn decode(text: &str) -> Option<Line> {
        serde_json::from_str(text.trim()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_survives_the_way_and_noise_is_none() {
        let failed = Line::Failed("a".into(), "first\nsecond \"third\"".into());
        for line in [Line::Fact("Linux".into()), failed, Line::Cut, Line::Done] {
            let text = line.encode();
            assert_eq!(text.matches('\n').count(), 1, "{text}");
            assert_eq!(Line::decode(&text.replace('\n', "\r\n")), Some(line));
        }
        assert_eq!(Line::decode("[    0.000000] Linux version 6.1"), None);
    }
}
