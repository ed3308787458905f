//! TLS at the door (TLS-1): versions, ALPN, SNI with several certificates.

use std::process::Command;

use tests::curl::curl;
use tests::gateway::{Gateway, run};

/// Writes `NAME.pem` and `NAME.key` for these names.
fn certificate(folder: &std::path::Path, name: &str, names: &[&str]) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    std::fs::write(folder.join(format!("{name}.pem")), made.cert.pem()).unwrap();
    std::fs::write(folder.join(format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
}

fn gateway() -> Gateway {
    Gateway::start_with(|folder, port| {
        certificate(folder, "a", &["a.test"]);
        certificate(folder, "b", &["b.test", "*.wild.test"]);
        let f = folder.display();
        format!(
            "[listen.main]\naddress = \"0.0.0.0:{port}\"\ntls = [{{ certificate = \"{f}/a.pem\", key = \"{f}/a.key\" }}, {{ certificate = \"{f}/b.pem\", key = \"{f}/b.key\" }}]\n\
             [route.all]\nmatch = \"/*\"\nrespond = {{ status = 200, body = \"ok\" }}\n"
        )
    })
}

fn fetch(gateway: &Gateway, ca: &str, host: &str, more: &[&str]) -> tests::curl::Answer {
    let ca = gateway.folder.join(ca);
    let resolve = format!("{host}:{}:127.0.0.1", gateway.port);
    let url = format!("https://{host}:{}/", gateway.port);
    curl(&[&["--cacert", ca.to_str().unwrap(), "--resolve", &resolve], more, &[&url]].concat())
}

#[test]
fn each_name_gets_its_own_certificate_over_http1_and_http2_and_both_versions() {
    let gateway = gateway();
    for more in [&["--http1.1"][..], &["--http2"], &["--tls-max", "1.2"], &["--tlsv1.3"]] {
        assert_eq!(fetch(&gateway, "a.pem", "a.test", more).status, 200, "{more:?}");
        assert_eq!(fetch(&gateway, "b.pem", "b.test", more).status, 200, "{more:?}");
        assert_eq!(fetch(&gateway, "b.pem", "x.wild.test", more).status, 200, "{more:?}");
    }
    assert_eq!(
        fetch(&gateway, "a.pem", "b.test", &[]).exit,
        60,
        "another name's certificate does not verify"
    );
}

#[test]
fn alpn_picks_http2_and_old_tls_is_refused() {
    let gateway = gateway();
    let s_client = |arguments: &[&str]| {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &format!("127.0.0.1:{}", gateway.port), "-servername", "a.test"])
            .args(arguments)
            .stdin(std::process::Stdio::null())
            .output()
            .expect("openssl runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(s_client(&["-alpn", "h2,http/1.1"]).contains("ALPN protocol: h2"));
    assert!(s_client(&["-alpn", "http/1.1"]).contains("ALPN protocol: http/1.1"));
    assert!(s_client(&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]).contains("Cipher is (NONE)"));
}

#[test]
fn a_host_that_the_certificate_does_not_cover_is_misdirected() {
    let gateway = gateway();
    let answer = fetch(&gateway, "a.pem", "a.test", &["-H", "Host: b.test"]);
    assert_eq!((answer.status, answer.header("x-gateway-reason")), (421, "misdirected"));
}

#[test]
fn a_key_that_does_not_belong_to_its_certificate_is_a_config_error() {
    let folder = tests::gateway::folder();
    certificate(&folder, "a", &["a.test"]);
    certificate(&folder, "b", &["b.test"]);
    let f = folder.display();
    let path = folder.join("gateway.toml");
    std::fs::write(
        &path,
        format!(
            "[listen.main]\naddress = \"127.0.0.1:1\"\ntls = {{ certificate = \"{f}/a.pem\", key = \"{f}/b.key\" }}\n\
             [route.all]\nmatch = \"/*\"\nrespond = {{ status = 200 }}\n"
        ),
    )
    .unwrap();
    let output = run(&["check", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(78));
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("b.key") && said.contains("gateway.toml:3"), "{said}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn clients_are_told_apart_by_their_fingerprint_in_limits_and_in_the_log() {
    let gateway = Gateway::start_with(|folder, port| {
        certificate(folder, "a", &["a.test"]);
        let f = folder.display();
        format!(
            "[listen.main]\naddress = \"127.0.0.1:{port}\"\ntls = {{ certificate = \"{f}/a.pem\", key = \"{f}/a.key\" }}\n\
             [log]\nto = \"file:{f}/access.log\"\n\
             [limit.software]\nrate = \"2/h\"\nby = \"ja4\"\n\
             [route.all]\nmatch = \"/*\"\nlimit = \"software\"\nrespond = {{ status = 200, body = \"ok\" }}\n"
        )
    });
    let status = |more: &[&str]| fetch(&gateway, "a.pem", "a.test", more).status;
    let plain = [(); 3].map(|()| status(&["--http2"]));
    assert_eq!(plain, [200, 200, 429]);
    // Another offer is another client, from the same address.
    assert_eq!(status(&["--http2", "--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256"]), 200);
    assert_eq!(status(&["--http1.1"]), 200);
    assert_eq!(status(&["--http2"]), 429);

    // Each worker writes its own lines in its own time.
    let mut lines = gateway.access_log_of(6);
    lines.sort_by_key(|line| line["time"].as_str().map(str::to_owned));
    let ja4 = |line: usize| lines[line]["ja4"].as_str().expect("a fingerprint").to_owned();
    let parts = |line: usize| ja4(line).split('_').map(str::to_owned).collect::<Vec<_>>();
    assert_eq!((ja4(0), ja4(1), ja4(2)), (ja4(5), ja4(5), ja4(5)));
    assert!(ja4(0).starts_with("t13d") && ja4(0)[8..].starts_with("h2_"), "{}", ja4(0));
    assert_ne!(parts(3)[1], parts(0)[1], "other cipher suites");
    assert_eq!(parts(4)[1..], parts(0)[1..], "the protocol stands in the first part only");
    assert!(parts(4)[0].ends_with("h1"), "{}", ja4(4));
}
