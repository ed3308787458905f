//! Debian's curl as a client: a real peer whose reading of HTTP is not ours.

use std::collections::HashMap;
use std::process::Command;

/// What curl got.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status; 0 when there was no answer.
    pub status: u16,
    /// Header fields by lower-case name, values of a repeated field in order.
    pub headers: HashMap<String, Vec<String>>,
    /// Body.
    pub body: String,
    /// curl's exit code; 28 is a timeout.
    pub exit: i32,
}

impl Answer {
    /// The only value of a field; empty when it is absent, a panic when it is repeated.
    pub fn header(&self, name: &str) -> &str {
        match self.headers.get(name).map(Vec::as_slice) {
            None => "",
            Some([value]) => value,
            Some(several) => panic!("`{name}` stands {} times: {several:?}", several.len()),
        }
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }
}

/// Runs `curl ARGUMENTS`, at most ten seconds.
pub fn curl(arguments: &[&str]) -> Answer {
    curl_by(&mut Command::new("curl"), arguments)
}

/// The same by a command of the caller's, such as `ip netns exec HOST curl`.
pub fn curl_by(command: &mut Command, arguments: &[&str]) -> Answer {
    let output = command
        .args(["--silent", "--show-error", "--max-time", "10", "--include", "--path-as-is"])
        .args(arguments)
        .output()
        .expect("curl runs; `cargo xtask test` installs it");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let exit = output.status.code().unwrap_or(-1);
    parse(&text, exit)
}

/// Reads what curl printed, or an answer that was read raw.
pub fn parse(text: &str, exit: i32) -> Answer {
    let mut rest = text;
    let mut answer = Answer { status: 0, headers: HashMap::new(), body: String::new(), exit };
    // Interim answers (100 Continue) come before the one that counts.
    while rest.starts_with("HTTP/") {
        let (head, body) = rest.split_once("\r\n\r\n").unwrap_or((rest, ""));
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        answer.status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        answer.headers.clear();
        for line in lines {
            if let Some((name, value)) = line.split_once(':') {
                answer.headers.entry(name.to_ascii_lowercase()).or_default().push(value.trim().to_owned());
            }
        }
        rest = body;
        if answer.status >= 200 {
            break;
        }
    }
    answer.body = rest.to_owned();
    answer
}
