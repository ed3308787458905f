//! A short run of each fuzzer, the same each time: so many inputs, of one seed.

use std::process::Command;

use fuzz::http::Http;
use fuzz::http::weakness::Weakness;
use fuzz::run::{Limit, run};

/// Inputs of HTTP/1 in a short run.
const HTTP_INPUTS: u64 = 20_000;

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

#[test]
fn our_http1_takes_what_the_second_reading_and_hyper_take_and_nothing_else() {
    let (is_right, text) = fuzz(&["http", "--inputs", &HTTP_INPUTS.to_string()]);
    assert!(is_right, "{text}");
    println!("{text}");
}

#[test]
fn a_weakness_of_our_http1_is_found_within_the_short_run() {
    for weakness in Weakness::ALL {
        let mut weak = Http::new().expect("a runtime").with(weakness);
        let limit = Limit { inputs: Some(HTTP_INPUTS), time: None };
        let found = run(&mut weak, 1, limit, None).expect_err(&format!("{weakness:?} is there to be found"));
        let first = found.what.lines().next().unwrap_or_default();
        println!("{weakness:?}: {first}: {}", found.input.escape_ascii());
    }
}
