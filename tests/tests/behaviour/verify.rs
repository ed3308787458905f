//! Whether what is listed is what is kept, by the command line.

use tests::gateway::Gateway;

#[test]
fn a_ban_that_the_state_file_has_lost_is_told_with_an_exit_code() {
    let gateway = Gateway::start("");
    assert!(gateway.cli(&["ban", "203.0.113.9"]).status.success());
    let output = gateway.cli(&["bans", "--verify"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!((lines[0], lines[3]), ("1 bans in force were compared", "nothing differs"), "{said}");
    assert!(lines[1].starts_with("  not with the kernel, whose stage is off: "), "{said}");

    let path = gateway.folder.join("state/bans.log");
    let written = std::fs::read_to_string(&path).expect("the state file is there");
    let others = written.lines().filter(|line| !line.contains("203.0.113.9"));
    std::fs::write(&path, others.map(|line| format!("{line}\n")).collect::<String>())
        .expect("it can be changed");
    let output = gateway.cli(&["bans", "--verify"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("1 × ban-not-in-file") && said.contains("203.0.113.9"), "{said}");
    let output = gateway.cli(&["bans", "--verify", "--json"]);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), &found["differing"]["ban-not-in-file"]), (Some(1), &1.into()));
}
