//! What is said about configurations that are not good.

use super::problems;

const HEAD: &str = "[listen.a]\naddress = \"[::]:80\"\n";

/// Problems of a text behind a good listener, with the path and the lines of the listener left out.
fn found(text: &str) -> Vec<String> {
    let all = problems(&format!("{HEAD}{text}"), &[]);
    all.lines().map(|line| line.trim_start_matches("gateway.toml:").to_owned()).collect()
}

#[test]
fn all_problems_of_a_file_are_reported_in_one_run() {
    let text = r#"
[limit.per-user]
rate = 100/min
brust = 20
[limit.b]
rate  = "100/minute"
burst = "20"
[route.users]
match = "api.example.com/v1/users/*"
to    = ["http://10.0.0.11:3001", "10.0.0.12:3001"]
auht  = "user"
limit = "per-users"
idle-timeout = 60
[shield]
ban = "twenty"
"#;
    let expected = [
        "5:8: error[C004]: string values must be quoted",
        "6:1: error[C001]: [limit.per-user] has no key `brust`",
        "8:9: error[C041]: this is not a rate",
        "9:9: error[C002]: found a string, expected a whole number",
        "12:35: error[C022]: an upstream address needs a scheme",
        "13:1: error[C001]: [route.users] has no key `auht`",
        "14:9: error[C014]: route `users` uses limit `per-users`, which is not defined",
        "15:16: error[C045]: `60` has no unit",
        "17:7: error[C043]: this is not a ban rule",
    ];
    assert_eq!(found(text), expected);
}
