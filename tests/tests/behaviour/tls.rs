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

/// A listener with an ECDSA and an RSA certificate for one name.
fn pair() -> Gateway {
    Gateway::start_with(|folder, port| {
        for (name, algorithm) in [("ecdsa", &rcgen::PKCS_ECDSA_P256_SHA256), ("rsa", &rcgen::PKCS_RSA_SHA256)]
        {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let certificate =
                rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap().self_signed(&key).unwrap();
            std::fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
            std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        let f = folder.display();
        format!(
            "[listen.main]\naddress = \"0.0.0.0:{port}\"\ntls = [{{ certificate = \"{f}/ecdsa.pem\", key = \"{f}/ecdsa.key\" }}, {{ certificate = \"{f}/rsa.pem\", key = \"{f}/rsa.key\" }}]\n\
             [route.all]\nmatch = \"/*\"\nrespond = {{ status = 200, body = \"ok\" }}\n"
        )
    })
}

#[test]
fn of_two_certificates_for_one_name_each_client_gets_the_one_that_it_understands() {
    let gateway = pair();
    let key_of = |arguments: &[&str]| {
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &format!("127.0.0.1:{}", gateway.port), "-servername", "a.test"])
            .args(arguments)
            .stdin(std::process::Stdio::null())
            .output()
            .expect("openssl runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let kind = said.lines().find_map(|line| line.strip_prefix("Peer signature type: "));
        kind.map(str::to_owned).unwrap_or_else(|| panic!("{arguments:?}: {said}"))
    };
    assert_eq!(key_of(&[]), "ECDSA", "the first in the configuration");
    assert_eq!(key_of(&["-sigalgs", "ECDSA+SHA256"]), "ECDSA");
    assert_eq!(key_of(&["-sigalgs", "rsa_pss_rsae_sha256"]), "RSA-PSS");
    assert_eq!(key_of(&["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"]), "ECDSA");
    assert_eq!(
        key_of(&["-tls1_2", "-sigalgs", "RSA+SHA256", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"]),
        "RSA"
    );
}

#[test]
fn a_scanner_finds_two_versions_and_six_suites_for_each_kind_of_key_and_nothing_weak() {
    let gateway = pair();
    let output = Command::new("sslscan")
        .args([
            "--no-colour",
            "--show-certificate",
            "--sni-name=a.test",
            &format!("127.0.0.1:{}", gateway.port),
        ])
        .output()
        .expect("sslscan runs; `cargo xtask test` installs it");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = |begin: &str| {
        said.lines().find(|line| line.starts_with(begin)).unwrap_or_else(|| panic!("{begin}: {said}"))
    };
    for (version, state) in [
        ("SSLv2", "disabled"),
        ("SSLv3", "disabled"),
        ("TLSv1.0", "disabled"),
        ("TLSv1.1", "disabled"),
        ("TLSv1.2", "enabled"),
        ("TLSv1.3", "enabled"),
    ] {
        assert!(line(version).ends_with(state), "{said}");
    }
    assert!(said.contains("Session renegotiation not supported"), "{said}");
    for version in ["TLSv1.2", "TLSv1.3"] {
        assert!(said.contains(&format!("{version} not vulnerable to heartbleed")), "{said}");
    }
    let mut suites: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("Preferred ") || line.starts_with("Accepted "))
        .filter_map(|line| line.split_whitespace().nth(4))
        .collect();
    suites.sort_unstable();
    suites.dedup();
    assert_eq!(
        suites,
        [
            "ECDHE-ECDSA-AES128-GCM-SHA256",
            "ECDHE-ECDSA-AES256-GCM-SHA384",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
            "ECDHE-RSA-AES128-GCM-SHA256",
            "ECDHE-RSA-AES256-GCM-SHA384",
            "ECDHE-RSA-CHACHA20-POLY1305",
            "TLS_AES_128_GCM_SHA256",
            "TLS_AES_256_GCM_SHA384",
            "TLS_CHACHA20_POLY1305_SHA256",
        ],
        "six for each of the two kinds of key, three of them for both: {said}"
    );
}

#[test]
fn another_scanner_knows_of_no_vulnerability() {
    let gateway = pair();
    let report = gateway.folder.join("testssl.json");
    let output = Command::new("testssl")
        .args([
            "--quiet",
            "--color",
            "0",
            "--warnings",
            "off",
            "--nodns",
            "none",
            "--ip",
            "127.0.0.1",
            "-p",
            "-U",
            "--jsonfile",
        ])
        .arg(&report)
        .arg(format!("https://a.test:{}", gateway.port))
        .output()
        .expect("testssl runs; `cargo xtask test` installs it");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let text = std::fs::read_to_string(&report).unwrap_or_else(|error| panic!("{error}: {said}"));
    let findings: serde_json::Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let findings = findings.as_array().expect("a list");
    let of = |id: &str| {
        findings
            .iter()
            .find(|finding| finding["id"] == id)
            .map(|finding| finding["finding"].as_str().unwrap_or_default())
    };
    for (id, expected) in
        [("TLS1", "not offered"), ("TLS1_1", "not offered"), ("TLS1_2", "offered"), ("TLS1_3", "offered")]
    {
        assert!(of(id).is_some_and(|finding| finding.starts_with(expected)), "{id}: {:?} in {text}", of(id));
    }
    let tried = [
        "heartbleed",
        "CCS",
        "ticketbleed",
        "ROBOT",
        "CRIME_TLS",
        "POODLE_SSL",
        "SWEET32",
        "FREAK",
        "DROWN",
        "LOGJAM",
        "BEAST",
        "LUCKY13",
        "RC4",
    ];
    for id in tried {
        let finding = findings.iter().find(|finding| finding["id"] == id);
        assert!(finding.is_some_and(|finding| finding["severity"] == "OK"), "{id}: {finding:?} in {text}");
    }
    let serious: Vec<_> = findings
        .iter()
        .filter(|finding| {
            finding["severity"]
                .as_str()
                .is_some_and(|severity| ["MEDIUM", "HIGH", "CRITICAL"].contains(&severity))
        })
        .collect();
    assert!(serious.is_empty(), "{serious:?}");
}

#[test]
fn h2load_gets_every_one_of_its_answers_over_tls() {
    let gateway = pair();
    let output = Command::new("h2load")
        .args(["-n", "2000", "-c", "4", "-m", "20", &format!("https://127.0.0.1:{}/", gateway.port)])
        .output()
        .expect("h2load runs; `cargo xtask test` installs it");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("Application protocol: h2"), "{said}");
    assert!(said.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    assert!(said.contains("status codes: 2000 2xx"), "{said}");
}

#[test]
fn a_misdirected_request_is_refused_in_both_versions_unless_the_check_is_off() {
    let checked = gateway();
    for version in ["--http1.1", "--http2"] {
        let answer = fetch(&checked, "a.pem", "a.test", &[version, "-H", "Host: b.test"]);
        assert_eq!((answer.status, answer.header("x-gateway-reason")), (421, "misdirected"), "{version}");
        let own = format!("Host: a.test:{}", checked.port);
        assert_eq!(
            fetch(&checked, "a.pem", "a.test", &[version, "-H", &own]).status,
            200,
            "{version}, a port is no matter"
        );
    }
    let unchecked = Gateway::start_with(|folder, port| {
        certificate(folder, "a", &["a.test"]);
        let f = folder.display();
        format!(
            "[listen.main]\naddress = \"0.0.0.0:{port}\"\ncheck-server-name = false\ntls = {{ certificate = \"{f}/a.pem\", key = \"{f}/a.key\" }}\n\
             [route.b]\nmatch = \"b.test/*\"\nrespond = {{ status = 200, body = \"b\" }}\n"
        )
    });
    let answer = fetch(&unchecked, "a.pem", "a.test", &["-H", "Host: b.test"]);
    assert_eq!((answer.status, &*answer.body), (200, "b"));
    let unknown = fetch(&unchecked, "a.pem", "a.test", &["-H", "Host: c.test"]);
    assert_eq!((unknown.status, unknown.header("x-gateway-reason")), (404, "no-route"), "an unknown host");
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
