//! Where the access log goes.

use std::time::Duration;

use super::{load_ok, load_ok_with, problems};
use crate::config::diff;
use crate::config::model::{LogFormat, LogSink};
use crate::observe::access_log::collector::{BatchLimits, Framing, Protocol};

const HEAD: &str = "[listen.a]\naddress = \"[::]:80\"\n";

/// The problems of a text behind a good listener, without the file's name.
fn found(text: &str) -> Vec<String> {
    let all = problems(&format!("{HEAD}{text}"), &[("SECRET", "x")]);
    all.lines().map(|line| line.trim_start_matches("gateway.toml:").to_owned()).collect()
}

#[test]
fn the_log_goes_nowhere_or_to_one_or_several_sinks() {
    let to = |to: &str| load_ok(&format!("{HEAD}[log]\nto = {to}\n")).log.to;
    assert_eq!(to("\"off\""), []);
    assert_eq!(to("\"stderr\""), [LogSink::Stderr]);
    let several = to("[\"stdout\", \"file:/var/log/a\", \"syslog:udp://logs\"]");
    let shown: Vec<String> = several.iter().map(LogSink::to_string).collect();
    assert_eq!(shown, ["stdout", "file:/var/log/a", "syslog:udp://logs:514"]);
    for (to, expected) in [
        ("[]", "4:6: error[C017]: the access log goes to 0 sinks, expected 1 to 16"),
        ("[\"stdout\", \"off\"]", "4:17: error[C011]: the access log cannot go to `off`"),
        ("[\"stderr\", \"stderr\"]", "4:17: error[C012]: the access log goes to `stderr` twice"),
        ("\"https://logs/\"", "4:6: error[C011]: the access log cannot go to `https://logs/`"),
        ("\"stdot\"", "4:6: error[C014]: [log] uses sink `stdot`, which is not defined"),
    ] {
        assert_eq!(found(&format!("[log]\nto = {to}\n")), [expected]);
    }
}

#[test]
fn every_kind_of_receiver_has_its_settings_and_its_defaults() {
    let text = format!(
        "{HEAD}[log]\nto = [\"http\", \"splunk\", \"otlp\"]\n\
         [sink.http]\nhttp = \"https://logs.example/in?a=b\"\nbody = \"array\"\nformat = \"combined\"\ncompress = \"gzip\"\n\
         headers = {{ X-Scope = \"edge\", Authorization = \"${{SECRET}}\" }}\n\
         [sink.splunk]\nsplunk = \"https://splunk.example:8088\"\ntoken = \"${{SECRET}}\"\nbatch-size = \"1MiB\"\nbuffer = \"1MiB\"\n\
         [sink.otlp]\notlp = \"http://localhost:4318\"\nretry-for = \"0s\"\n"
    );
    let config = load_ok_with(&text, &[("SECRET", "s3cret")]);
    let [http, splunk, otlp] = config.sink.as_slice() else { panic!("three sinks") };
    assert_eq!(config.log.to[1], LogSink::Named("splunk".into()));

    assert_eq!(http.settings.url.to_string(), "https://logs.example/in?a=b");
    assert_eq!(http.settings.protocol, Protocol::Http(Framing::Array));
    assert_eq!((&http.format, http.settings.gzip), (&Some(LogFormat::Combined), true));
    assert_eq!(http.settings.headers.len(), 2);
    let batch = BatchLimits { bytes: 512 << 10, lines: 2000, age: Duration::from_secs(1) };
    assert_eq!((http.settings.batch, http.settings.buffer_bytes), (batch, 16 << 20));

    assert_eq!(splunk.settings.url.to_string(), "https://splunk.example:8088/services/collector/event");
    let (name, value) = &splunk.settings.headers[0];
    assert_eq!((name.as_str(), value.as_bytes()), ("authorization", &b"Splunk s3cret"[..]));
    assert_eq!(splunk.settings.batch.bytes, 1 << 20);

    assert_eq!(otlp.settings.url.to_string(), "http://localhost:4318/v1/logs");
    assert_eq!(otlp.settings.protocol, Protocol::Otlp { service: "portcullis".into() });
    assert_eq!(otlp.settings.retry_for, Duration::ZERO);

    assert!(!format!("{config:?}").contains("s3cret"), "a secret does not show");
    let other = load_ok_with(&text, &[("SECRET", "an0ther")]);
    let changes = diff::changes(&config, &other).join("\n");
    assert!(changes.contains("sink http") && changes.contains("sink splunk"), "{changes}");
    assert!(!changes.contains("s3cret") && !changes.contains("an0ther"), "{changes}");
}

#[test]
fn what_a_sink_cannot_be_is_said() {
    let of_sink = |keys: &str| found(&format!("[log]\nto = \"s\"\n[sink.s]\n{keys}\n"));
    for (keys, expected) in [
        ("format = \"json\"", "5:1: error[C003]: [sink.s] does not say where the log goes"),
        (
            "http = \"https://a/\"\notlp = \"https://b/\"",
            "5:1: error[C012]: [sink.s] has both `http` and `otlp`",
        ),
        ("http = \"logs.example\"", "6:8: error[C056]: `logs.example` is not an absolute http or https URL"),
        ("http = \"https://u:p@logs/\"", "6:8: error[C056]: this is not an absolute http or https URL"),
        (
            "http = \"http://logs.example/\"",
            "6:8: warning[C070]: the access log goes over the network without TLS",
        ),
        ("splunk = \"https://a/\"", "5:1: error[C003]: [sink.s] needs `token`"),
        ("splunk = \"https://a/\"\ntoken = \"abc\"", "7:9: warning[C033]: a secret stands in the file"),
        (
            "splunk = \"https://a/\"\ntoken = \"${SECRET}\"\nbody = \"bulk\"",
            "8:1: error[C001]: [sink.s] has no key `body`",
        ),
        ("http = \"https://a/\"\nheaders = { Host = \"b\" }", "7:13: error[C027]: `Host` cannot be set here"),
        (
            "http = \"https://a/\"\nheaders = { X-Api-Key = \"b\" }",
            "7:25: warning[C033]: a secret stands in the file",
        ),
        ("http = \"https://a/\"\nheaders = { X-Scope = \"b\" }", ""),
        ("http = \"https://a/\"\nbatch-size = \"1B\"", "7:14: error[C010]: this size is out of range"),
        ("http = \"https://a/\"\nbuffer = \"1KiB\"", "7:10: error[C010]: this size is out of range"),
        (
            "http = \"https://a/_bulk\"\nbody = \"bulk\"\nformat = \"combined\"",
            "5:1: error[C071]: sink `s` sends bulk requests of lines that are not JSON",
        ),
    ] {
        assert_eq!(of_sink(keys).join("\n"), expected, "{keys}");
    }
    assert_eq!(
        found("[sink.s]\nhttp = \"https://a/\"\n"),
        ["3:1: warning[C015]: sink `s` is defined, and the log does not go to it"]
    );
    assert_eq!(
        found("[sink.syslog]\nhttp = \"https://a/\"\n"),
        ["3:7: error[C016]: `syslog` cannot be the name of a table `[sink.NAME]`"]
    );
}
