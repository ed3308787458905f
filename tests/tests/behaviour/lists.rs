//! Lists of addresses on the command line: whatever they are written in, read and written in something else.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tests::gateway::{binary, folder};

const NFT: &str = "table inet filter {\n\tset bad {\n\t\ttype ipv4_addr\n\t\tflags interval,timeout\n\
    \t\telements = { 192.0.2.7 timeout 1h expires 59m30s,\n\t\t\t     198.51.100.0/24, 203.0.113.1-203.0.113.2 }\n\t}\n\
    \tset ports {\n\t\ttype inet_service\n\t\telements = { 22, 80 }\n\t}\n}\n";

/// `portcullis deny convert` of a list on standard input.
fn convert(list: impl AsRef<[u8]>, arguments: &[&str]) -> Output {
    let file = folder().join("list");
    fs::write(&file, list).expect("a file can be written");
    Command::new(binary())
        .args(["deny", "convert", "-"])
        .args(arguments)
        .stdin(Stdio::from(fs::File::open(file).expect("it is there")))
        .output()
        .expect("the binary runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn a_list_goes_from_one_format_through_all_others_and_comes_back() {
    let first = convert(NFT, &[]);
    assert_eq!(first.status.code(), Some(0));
    assert_eq!(text(&first.stdout), "192.0.2.7\n198.51.100.0/24\n203.0.113.1\n203.0.113.2\n");
    assert_eq!(
        text(&first.stderr),
        "read as nft: 3 taken, 2 skipped\n  skipped line 10: 22\n  skipped line 10: 80\nwritten as text: 4\n"
    );
    let mut list = convert(NFT, &["--to", "json", "--quiet"]).stdout;
    for (format, to) in [("crowdsec", "ipset"), ("ipset", "nft"), ("nft", "json"), ("auto", "ipset")] {
        let next = convert(&list, &["--format", format, "--to", to, "-q"]);
        assert_eq!((next.status.code(), text(&next.stderr)), (Some(0), ""), "{to}");
        list = next.stdout;
    }
    assert_eq!(
        text(&list),
        "create portcullis4 hash:net family inet maxelem 65536 timeout 0\nadd portcullis4 192.0.2.7 timeout 3570\n\
         add portcullis4 198.51.100.0/24 timeout 0\nadd portcullis4 203.0.113.1 timeout 0\n\
         add portcullis4 203.0.113.2 timeout 0\n\
         create portcullis6 hash:net family inet6 maxelem 65536 timeout 0\n"
    );
}

#[test]
fn what_is_skipped_or_left_out_is_said_without_control_characters() {
    let list = "10.0.0.0/8\n10.1.2.3\nb\u{1b}[31mad\n2001:db8::/32\n";
    let said = convert(format!("{list}{}", "x\n".repeat(12)), &["--to", "nft"]);
    let expected =
        "read as text: 3 taken, 13 skipped\n  skipped line 3: b\\u{1b}[31mad\n  skipped line 5: x\n";
    assert!(text(&said.stderr).starts_with(expected), "{said:?}");
    let end = "  skipped line 13: x\n  and 3 more\n\
               written as nft: 2, 1 left out, for they lie within a wider one\n";
    assert!(text(&said.stderr).ends_with(end), "{said:?}");
    let stream = r#"{"new":[{"type":"ban","scope":"Ip","value":"192.0.2.1","duration":"4h"}],
                     "deleted":[{"type":"ban","scope":"Ip","value":"192.0.2.2","duration":"-1s"}]}"#;
    let said = convert(stream, &["--json"]);
    assert!(
        text(&said.stderr)
            .ends_with("written as json: 1, 1 left out, for the list says that they are gone\n")
    );
    let json: serde_json::Value = serde_json::from_slice(&said.stdout).expect("JSON");
    assert_eq!(
        (&json["new"][0]["value"], &json["new"][0]["duration"]),
        (&"192.0.2.1".into(), &"14400s".into())
    );
}

#[test]
fn a_list_without_an_entry_and_wrong_arguments_have_codes_of_their_own() {
    for (list, format) in [("", "auto"), ("<html>no list here</html>\n", "auto"), ("192.0.2.1\n", "crowdsec")]
    {
        let output = convert(list, &["--format", format]);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(65), ""), "{list}");
        assert!(text(&output.stderr).contains("nothing in it could be taken"), "{output:?}");
    }
    let output = convert("192.0.2.1\n", &["--to", "xml"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(text(&output.stderr).contains("expected text, nft, ipset or json"), "{output:?}");
    let missing = tests::gateway::run(&["deny", "convert", "/nowhere/list"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("/nowhere/list cannot be read"), "{missing:?}");
    assert!(!Path::new("/nowhere/list").exists());
}
