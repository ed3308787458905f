//! A short run of each fuzzer, the same each time: so many inputs, of one seed.

use std::process::Command;

fn fuzz(arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fuzz"));
    let output = command.arg("--folder").arg(env!("CARGO_TARGET_TMPDIR")).args(arguments).output();
    let output = output.expect("the fuzzer starts");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

#[test]
fn the_kernel_program_judges_every_packet_as_the_second_reading_does() {
    let (is_right, text) = fuzz(&["packet", "--inputs", "200000"]);
    assert!(is_right, "{text}");
    println!("{text}");
}

#[test]
fn every_list_is_read_within_its_bounds_and_written_as_it_is_read() {
    let (is_right, text) = fuzz(&["list", "--inputs", "20000"]);
    assert!(is_right, "{text}");
    println!("{text}");
}
