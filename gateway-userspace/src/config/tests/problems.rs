//! What is said about configurations that are not good.

use super::{load, problems};
use crate::diagnostic::render;

const HEAD: &str = "[listen.a]\naddress = \"[::]:80\"\n";

/// The problems of a text behind a good listener, without the file's name.
fn found(text: &str) -> Vec<String> {
    found_with(text, &[])
}

fn found_with(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let all = problems(&format!("{HEAD}{text}"), variables);
    all.lines().map(|line| line.trim_start_matches("gateway.toml:").to_owned()).collect()
}

/// What a person sees.
fn shown(text: &str) -> String {
    match load(text, &[]) {
        Ok((_, report)) | Err(report) => render::human(&report, false),
    }
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

#[test]
fn settings_of_an_upstream_that_is_named_are_read_all_the_same() {
    let text = "[route.r]\nmatch = \"/\"\nupstream = \"u\"\nhost = \"target\"\nkeep-alive = \"soon\"\n\
                [upstream.u]\nto = \"http://c\"\n";
    let expected = [
        "6:1: error[C012]: `host` has no effect beside `upstream`",
        "7:1: error[C012]: `keep-alive` has no effect beside `upstream`",
        "7:14: error[C040]: this is not a duration",
    ];
    assert_eq!(found(text), expected);
}

#[test]
fn an_undefined_name_points_at_both_places() {
    let text = "[listen.a]\naddress = \"[::]:80\"\n[auth.users]\njwt = \"https://a.example/\"\n\
                [route.r]\nmatch = \"/\"\nto = \"http://b\"\nauth = \"user\"\n";
    let expected = "\
error[C014]: route `r` uses auth `user`, which is not defined
 --> gateway.toml:8:8
  |
3 | [auth.users]
  | ------------ `users` is defined here
...
8 | auth = \"user\"
  |        ^^^^^^ no [auth] table has this name
  |
help: did you mean `users`?

";
    assert_eq!(shown(text), expected);
}

#[test]
fn two_equal_matches_show_both_and_order_decides_nothing() {
    let text = "[listen.a]\naddress = \"[::]:80\"\n\
                [route.one]\nmatch = \"GET a.example/u/{id}\"\nto = \"http://b\"\n\
                [route.two]\nmatch = [\"/x\", \"POST,GET A.example/u/{name}\"]\nto = \"http://c\"\n";
    let expected = "\
error[C020]: routes `one` and `two` match the same requests
 --> gateway.toml:7:16
  |
4 | match = \"GET a.example/u/{id}\"
  |         ---------------------- the match of `one`
...
7 | match = [\"/x\", \"POST,GET A.example/u/{name}\"]
  |                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ neither of the two is more specific
  |
help: order decides nothing here: add a method, a host or a longer path to one of them

";
    assert_eq!(shown(text), expected);
}

#[test]
fn equal_matches_are_found_also_when_their_routes_have_other_problems() {
    let text = "[route.a]\nmatch = \"/a\"\nto = \"b\"\n[route.b]\nmatch = \"/a\"\n";
    assert_eq!(
        found(text),
        [
            "5:6: error[C022]: an upstream address needs a scheme",
            "6:1: error[C003]: [route.b] does not say what to do",
            "7:9: error[C020]: routes `a` and `b` match the same requests",
        ]
    );
}

#[test]
fn a_problem_within_a_match_points_at_its_part() {
    let text =
        "[listen.a]\naddress = \"[::]:80\"\n[route.r]\nmatch = \"GET a.example:80/u\"\nto = \"http://b\"\n";
    let expected = "\
error[C021]: a host has no port here
 --> gateway.toml:4:14
  |
4 | match = \"GET a.example:80/u\"
  |              ^^^^^^^^^^^^
  |
help: ports belong to `[listen.NAME] address`; write `a.example`

";
    assert_eq!(shown(text), expected);
}

#[test]
fn a_bare_number_gets_the_fix_proposed() {
    let text = "[listen.a]\naddress = \"[::]:80\"\nidle-timeout = 60\n";
    let expected = "\
error[C045]: `60` has no unit
 --> gateway.toml:3:16
  |
3 | idle-timeout = 60
  |                ^^ expected NUMBER and unit
  |
help: write `\"60s\"`

";
    assert_eq!(shown(text), expected);
}

/// Text behind a listener, and the only line that is said about it.
const SINGLE: &[(&str, &str)] = &[
    ("[gatewy]\n", "3:2: error[C001]: there is no table or key `gatewy`"),
    ("[gateway]\nworkers = 0\n", "4:11: error[C010]: this number is out of range"),
    ("[gateway]\nworkers = 99999999999999999999\n", "4:11: error[C010]: this number is out of range"),
    (
        "[gateway]\nworkers = 1.5\n",
        "4:11: error[C002]: found a number with a fraction, expected a whole number",
    ),
    ("[gateway]\ndrain = \"soon\"\n", "4:9: error[C040]: this is not a duration"),
    ("[gateway]\ndrain = -1\n", "4:9: error[C002]: found a whole number, expected a string with a unit"),
    (
        "[gateway]\ntrusted-proxies = [\"10.0.0.0/33\"]\n",
        "4:20: error[C026]: `10.0.0.0/33` is not a network or address",
    ),
    ("[gateway]\nstate = \"\"\n", "4:9: error[C017]: this is empty"),
    ("[listen.b]\n", "3:1: error[C003]: [listen.b] needs `address`"),
    ("[listen.b]\naddress = \"[::]:80\"\n", "4:11: error[C024]: [listen.b] and [listen.a] share an address"),
    (
        "[listen.b]\naddress = \"127.0.0.1:80\"\n",
        "4:11: error[C024]: [listen.b] and [listen.a] share an address",
    ),
    (
        "[operations]\naddress = \"0.0.0.0:80\"\n",
        "4:11: error[C024]: [operations] and [listen.a] share an address",
    ),
    (
        "[listen.b]\naddress = \"localhost:81\"\n",
        "4:11: error[C025]: `localhost:81` is not an address with a port",
    ),
    ("http2 = 1\n", "3:9: error[C002]: found a whole number, expected `true` or `false`"),
    ("tls = []\n", "3:7: error[C017]: `tls` has no certificate"),
    ("tls = { certificate = \"a\" }\n", "3:7: error[C003]: tls needs `key`"),
    ("idle-timeout = \"0s\"\n", "3:16: error[C010]: this duration cannot be zero"),
    ("max-uri = \"1B\"\n", "3:11: error[C010]: this size is out of range"),
    ("max-header-bytes = \"60 kilo\"\n", "3:20: error[C042]: this is not a size"),
    ("proxy-protocol = true\n", "1:1: error[C053]: [listen.a] has `proxy-protocol`, and no proxy is trusted"),
    (
        "[listen.\"b c\"]\naddress = \"[::]:1\"\n",
        "3:9: error[C016]: `b c` cannot be the name of a table `[listen.NAME]`",
    ),
    ("[log]\nformat = \"jsn\"\n", "4:10: error[C011]: `jsn` is not a format"),
    ("[log]\nto = \"/var/log/x\"\n", "4:6: error[C011]: the access log cannot go to `/var/log/x`"),
    ("[headers]\npreset = \"strct\"\n", "4:10: error[C011]: `preset` cannot be `strct`"),
    (
        "[headers]\nset = { Connection = \"close\" }\n",
        "4:9: error[C027]: `connection` belongs to the connection and cannot be changed",
    ),
    (
        "[headers]\nset = { X-A = \"a\\nb\" }\n",
        "4:15: error[C027]: a header field cannot hold line breaks or control characters",
    ),
    ("[headers]\nremove = [\"a b\"]\n", "4:11: error[C027]: `a b` is not the name of a header field"),
    ("[auth.a]\n", "3:1: error[C003]: [auth.a] does not say how to authenticate"),
    ("[auth.a]\njwt = \"a\"\napi-key = \"k\"\n", "5:1: error[C012]: [auth.a] has both `jwt` and `api-key`"),
    ("[auth.a]\njwt = \"my issuer\"\n", "4:7: error[C056]: `my issuer` is not an absolute http or https URL"),
    (
        "[auth.a]\napi-key = \"body:k\"\nkeys.a = \"sha256:00000000000000000000000000000000000000000000000000000000000000ab\"\n",
        "4:11: error[C057]: an API key cannot stand in `body:k`",
    ),
    ("[auth.a]\napi-key = \"X-Key\"\n", "3:1: error[C003]: [auth.a] needs `keys`"),
    ("[limit.a]\nrate = \"0/s\"\n", "4:8: error[C041]: a rate is at least 1"),
    ("[limit.a]\nrate = \"1/s\"\nby = \"ip\"\n", "5:6: error[C058]: a limit cannot count by `ip`"),
    ("[limit.a]\nrate = \"1/s\"\nby = []\n", "5:6: error[C058]: a limit counts by one to 4 parts"),
    (
        "[limit]\nrate = \"1/s\"\n",
        "4:1: error[C002]: `rate` stands in `[limit]`, which holds only tables by name",
    ),
    (
        "[shield]\nfor = \"2d\"\nup-to = \"1d\"\n",
        "5:9: error[C010]: a first ban (`for`) would last longer than bans may last (`up-to`)",
    ),
    ("[shield]\npacket-burst = 5\n", "4:1: error[C012]: `packet-burst` has no effect without `packets`"),
    ("[shield]\npackets = \"5k/min\"\n", "4:11: error[C041]: this is not a rate of packets"),
    ("[shield]\npressure = \"5k/min\"\n", "4:12: error[C041]: this is not a rate of packets"),
    ("[shield]\nclient-bandwidth = \"1Gbps\"\n", "4:20: error[C041]: this is not a bandwidth"),
    ("[shield]\nclient-bandwidth = 1000\n", "4:20: error[C045]: `1000` has no unit"),
    ("[shield]\nmanagement-ports = [22, 70000]\n", "4:25: error[C010]: this number is out of range"),
    ("[shield]\ninterface = \"a/b\"\n", "4:13: error[C054]: `a/b` cannot be the name of a network interface"),
    ("[route.r]\nto = \"http://b\"\n", "3:1: error[C003]: [route.r] needs `match`"),
    ("[route.r]\nmatch = \"/\"\n", "3:1: error[C003]: [route.r] does not say what to do"),
    ("[route.r]\nmatch = []\nto = \"http://b\"\n", "4:9: error[C017]: there is no match"),
    ("[route.r]\nmatch = \"/\"\nto = []\n", "5:6: error[C017]: there is no target"),
    (
        "[route.r]\nmatch = \"/\"\nto = \"http://b\"\nrespond = {}\n",
        "6:1: error[C012]: [route.r] has both `to` and `respond`",
    ),
    (
        "[route.r]\nmatch = \"/\"\nrespond = {}\nreplace-prefix = \"/\"\n",
        "6:1: error[C012]: `replace-prefix` has no effect beside `respond`",
    ),
    (
        "[route.r]\nmatch = \"/\"\nrespond = { status = 204, body = \"x\" }\n",
        "5:34: error[C012]: an answer with 204 has no body",
    ),
    (
        "[route.r]\nmatch = \"/\"\nrespond = { status = 100 }\n",
        "5:22: error[C010]: this number is out of range",
    ),
    (
        "[route.r]\nmatch = \"/\"\nto = \"http://b/c\"\n",
        "5:6: error[C023]: the URL of an upstream has no path",
    ),
    (
        "[route.r]\nmatch = \"/\"\nto = \"http://b\"\nreplace-prefix = \"v1\"\n",
        "6:18: error[C021]: `v1` is not a path",
    ),
    (
        "[route.r]\nmatch = \"/\"\nto = \"http://b\"\naccess = [\"permit all\"]\n",
        "6:11: error[C028]: `permit all` is not an access rule",
    ),
    (
        "[route.r]\nmatch = \"/\"\nto = \"http://b\"\naccess = [\"deny all\", \"allow ::1\"]\n",
        "6:23: warning[C029]: this rule is never tried",
    ),
    (
        "[route.r]\nmatch = \"/\"\nto = \"http://b\"\nupstream = \"u\"\n[upstream.u]\nto = \"http://c\"\n",
        "6:1: error[C012]: [route.r] has both `to` and `upstream`",
    ),
    (
        "[route.r]\nmatch = \"/\"\nupstream = \"u\"\nprotocol = \"http2\"\n[upstream.u]\nto = \"http://c\"\n",
        "6:1: error[C012]: `protocol` has no effect beside `upstream`",
    ),
    (
        "[route.r]\nmatch = \"/\"\nto = \"http://b\"\nauth = [\"none\", \"none\"]\n",
        "6:9: error[C012]: `none` together with another authentication",
    ),
    (
        "[upstream.u]\nto = \"http://c\"\n",
        "3:1: warning[C015]: upstream `u` is defined, and no route uses it",
    ),
    (
        "[route.r]\nmatch = \"/\"\nto = \"http://b\"\nlimit = \"l\"\n[limit.l]\nrate = \"1/s\"\n",
        "6:9: warning[C032]: limit `l` counts by user, which route `r` never learns",
    ),
    (
        "[route.r]\nmatch = \"/\"\nto = \"http://b\"\nlimit = \"l\"\n[limit.l]\nrate = \"1/s\"\nby = [\"address\", \"ja4\"]\n",
        "6:9: warning[C032]: limit `l` counts by what TLS clients offer, and no listener speaks TLS",
    ),
    (
        "[route.r]\nmatch = \"/\"\nto = \"http://b\"\n[log]\nformat = \"combined\"\nja4 = true\n",
        "8:1: error[C012]: only lines of the format `json` have the member `ja4`",
    ),
    (
        "[route.r]\nmatch = \"/\"\nto = \"http://b\"\nheaders = { set = 5 }\n",
        "6:19: error[C002]: found a whole number, expected a table from header field to value",
    ),
];

#[test]
fn each_problem_has_its_code_and_place() {
    for (text, line) in SINGLE {
        let found = found(text);
        assert!(found.contains(&(*line).to_owned()), "{text}\nexpected {line}\nfound {found:#?}");
        // Tables that no route refers to are warned of beside.
        let others: Vec<_> = found.iter().filter(|other| other != line && !other.contains("C015")).collect();
        assert!(others.is_empty(), "{text}\nbesides {line}\nfound {others:#?}");
    }
}

#[test]
fn tokens_and_their_keys_must_fit_each_other() {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let (public, private) = (pair.public_key_pem(), pair.serialize_pem());
    let with = |keys: &str, more: &str| {
        let text = format!(
            "[auth.a]\nkeys = \"${{KEYS}}\"\n{more}[route.r]\nmatch = \"/\"\nto = \"http://b\"\nauth = \"a\"\n"
        );
        found_with(&text, &[("KEYS", keys)])
    };
    let oct = r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#;
    assert_eq!(with(&public, "algorithms = [\"ES256\"]\n"), [""; 0]);
    assert_eq!(with(oct, "algorithms = [\"HS256\"]\n"), [""; 0]);
    assert_eq!(with(&public, ""), ["4:8: error[C035]: no accepted algorithm fits these keys"]);
    assert_eq!(
        with(&public, "algorithms = [\"ES256\", \"HS256\"]\n"),
        ["5:24: error[C035]: HS256 cannot be used with public keys"]
    );
    assert_eq!(
        with("https://a.example/jwks", "algorithms = \"HS256\"\n"),
        ["5:14: error[C035]: HS256 cannot be used with public keys"]
    );
    assert_eq!(with(&private, ""), ["4:8: error[C037]: these are not keys"]);
    assert_eq!(with("{}", ""), ["4:8: error[C037]: these are not keys"]);
    assert_eq!(with("http://10.0.0.1/jwks", ""), ["4:8: warning[C034]: these keys are fetched without TLS"]);
    assert_eq!(
        with("https://a.example/jwks", "algorithms = \"none\"\n"),
        ["5:14: error[C036]: `none` is not an algorithm"]
    );
    assert_eq!(with("https://a.example/jwks", "headers = { \"a b\" = \"x.\" }\n").len(), 2);
    let literal = format!(
        "[auth.a]\nkeys = '{oct}'\nalgorithms = [\"HS256\"]\n[route.r]\nmatch = \"/\"\nto = \"http://b\"\nauth = \"a\"\n"
    );
    assert_eq!(found(&literal), ["4:8: warning[C033]: a secret stands in the file"]);
}

#[test]
fn an_api_key_in_place_of_its_hash_is_an_error_that_gives_the_hash() {
    let text = "[listen.a]\naddress = \"[::]:80\"\n[auth.p]\napi-key = \"X-API-Key\"\n\
                keys.a = \"this-is-the-secret-itself\"\n[route.r]\nmatch = \"/\"\nto = \"http://b\"\nauth = \"p\"\n";
    let shown = shown(text);
    // printf this-is-the-secret-itself | sha256sum
    let hash = "sha256:638dd01fef0d1806d44cdc08a5a54acfbda2d14baee524a119421c7cbcce0768";
    assert!(shown.contains("error[C038]") && shown.contains(&format!("write its hash: `{hash}`")), "{shown}");
    let same = format!("keys.a = \"sha256:{0}\"\nkeys.b = \"sha256:{0}\"\n", "ab".repeat(32));
    let text = text.replace("keys.a = \"this-is-the-secret-itself\"\n", &same);
    assert_eq!(problems(&text, &[]), "gateway.toml:6:6: error[C039]: this is the same key again\n");
}

#[test]
fn an_unset_variable_points_at_itself_and_only_at_itself() {
    let text = "[gateway]\nstate = \"/var/${NO}/x\"\n";
    assert_eq!(found(text), ["4:15: error[C007]: the variable `NO` is not set"]);
    assert_eq!(found("[gateway]\nstate = \"${NO\"\n"), ["4:10: error[C009]: this is not a variable"]);
}

#[test]
fn a_problem_with_an_override_names_the_variable() {
    let variables = [("PORTCULLIS__LIMIT__L__RATE", "many"), ("PORTCULLIS__SHEILD__BAN", "5 denials in 1s")];
    let text = "[limit.l]\nrate = \"1/s\"\nby = \"address\"\n[route.r]\nmatch = \"/\"\nto = \"http://b\"\nlimit = \"l\"\n[shield]\n";
    assert_eq!(
        found_with(text, &variables),
        [
            "error[C008]: the variable `PORTCULLIS__SHEILD__BAN` names no setting",
            "$PORTCULLIS__LIMIT__L__RATE:1:1: error[C041]: this is not a rate",
        ]
    );
}

#[test]
fn routes_that_ask_nobody_are_named_where_authentication_exists() {
    let text = "[auth.a]\njwt = \"https://a.example/\"\n[route.open]\nmatch = \"/open\"\nto = \"http://b\"\n\
                [route.meant]\nmatch = \"/meant\"\nto = \"http://b\"\nauth = \"none\"\n\
                [route.closed]\nmatch = \"/closed\"\nto = \"http://b\"\nauth = \"a\"\n";
    assert_eq!(found(text), ["5:1: warning[C030]: route `open` asks nobody who they are"]);
}

#[test]
fn tables_in_double_brackets_are_told_to_use_single_ones() {
    assert_eq!(found("[[route.r]]\nmatch = \"/\"\n"), ["3:9: error[C002]: `route.r` is an array of tables"]);
    assert_eq!(
        found("[[route]]\n"),
        ["3:1: error[C002]: found an array, expected tables by name, `[route.NAME]`"]
    );
}

#[test]
fn an_empty_file_says_that_a_listener_is_needed() {
    assert_eq!(problems("", &[]), "error[C013]: there is no `[listen.NAME]`, so no request can arrive\n");
    assert_eq!(problems("listen = 5\n", &[]).lines().count(), 1);
}

#[test]
fn a_log_that_cannot_be_says_what_can() {
    let text = "[log]\nformat = \"$context.requestId $context.stauts\"\nto = \"syslog:logs:514\"\n";
    assert_eq!(
        found(text),
        [
            "4:30: error[C011]: `$context.stauts` is not a variable of the access log",
            "5:6: error[C011]: the access log cannot go to `syslog:logs:514`",
        ]
    );
    let help = shown(&format!("{HEAD}{text}"));
    assert!(help.contains("did you mean `$context.status`?"), "{help}");
    assert!(help.contains("`syslog:udp://HOST:514`"), "{help}");
    assert!(shown(&format!("{HEAD}[log]\nto = \"/dev/log\"\n")).contains("write `syslog`"));
}

#[test]
fn a_list_comes_from_one_place_and_says_how_it_is_read() {
    let list = |keys: &str| format!("[list.drop]\n{keys}");
    for (keys, problem) in [
        ("file = \"/drop.txt\"\n", None),
        ("url = \"https://drop.example/list\"\nheaders = { X-Key = \"file:/k\" }\nca = \"/ca\"\n", None),
        ("", Some("3:1: error[C003]: [list.drop] needs `file` or `url`")),
        (
            "file = \"/a\"\nurl = \"http://b/\"\n",
            Some("4:1: error[C012]: [list.drop] has both `file` and `url`"),
        ),
        ("file = \"/a\"\nca = \"/ca\"\n", Some("5:1: error[C012]: `ca` is for lists with a `url`")),
        ("url = \"ftp://b/\"\n", Some("4:7: error[C056]: `ftp://b/` is not an absolute http or https URL")),
        ("file = \"/a\"\nformat = \"txt\"\n", Some("5:10: error[C011]: `txt` is no format of lists")),
        ("file = \"/a\"\njitter = \"101%\"\n", Some("5:10: error[C010]: `101%` is no part in percent")),
        ("file = \"/a\"\nmax-entries = 0\n", Some("5:15: error[C010]: this number is out of range")),
    ] {
        assert_eq!(found(&list(keys)), problem.into_iter().collect::<Vec<_>>(), "{keys}");
    }
    let many: String =
        (0..65).map(|nth| list("file = \"/a\"\n").replace("drop", &format!("l{nth}"))).collect();
    let found = found(&many);
    assert!(found.len() == 1 && found[0].contains("error[C059]: more than 64 lists"), "{found:?}");
}

#[test]
fn two_lists_that_take_changes_from_each_other_are_told() {
    let list = |name: &str, url: &str, key: &str| {
        format!("[list.{name}]\nurl = \"https://{url}\"\nheaders = {{ x-api-key = \"{key}\" }}\n")
    };
    let stream = "lapi.example/v1/decisions/stream";
    let first = list("a", stream, "${KEY}");
    for (second, is_told) in [
        (list("b", &format!("{stream}?scopes=ip"), "${KEY}"), true),
        (list("b", stream, "${OTHER}"), false),
        (list("b", "other.example/v1/decisions/stream", "${KEY}"), false),
        (list("b", "lapi.example/v1/decisions", "${KEY}"), false),
        (list("b", stream, "${KEY}") + "format = \"text\"\n", false),
        (list("b", stream, "file:/k") + &list("c", stream, "file:/l"), false),
    ] {
        let found = found_with(&format!("{first}{second}"), &[("KEY", "one"), ("OTHER", "two")]);
        let told = ["6:1: warning[C084]: list `b` asks with the same key as list `a`"];
        assert_eq!(found, told[..usize::from(is_told)], "{second}");
    }
}

#[test]
fn a_rule_of_bans_that_could_never_be_meant_is_told() {
    let rule = |keys: &str| {
        format!("[ban.scan]\nwhen = \"9 denials in 1m\"\n{keys}[route.r]\nmatch = \"/\"\nto = \"http://b\"\n")
    };
    for (keys, problem) in [
        ("kinds = \"not-found\"\n", None),
        ("route = \"r\"\n", None),
        ("route = \"s\"\n", Some("5:9: error[C014]: ban `scan` uses route `s`, which is not defined")),
        ("kinds = \"notfound\"\n", Some("5:9: error[C011]: `notfound` is no kind of refusal")),
        ("kinds = []\n", Some("5:9: error[C017]: a rule that counts nothing is never met")),
        (
            "for = \"2d\"\nup-to = \"1d\"\n",
            Some("6:9: error[C010]: a first ban (`for`) would last longer than bans may last (`up-to`)"),
        ),
        (
            "route = \"r\"\nkinds = \"not-found\"\n",
            Some("5:1: error[C012]: what is refused before there is a route cannot be counted on one"),
        ),
    ] {
        assert_eq!(found(&rule(keys)), problem.into_iter().collect::<Vec<_>>(), "{keys}");
    }
    assert_eq!(
        found(&rule("").replace("ban.scan", "ban.shield")),
        ["3:6: error[C016]: `shield` cannot be the name of a table `[ban.NAME]`"]
    );
    let many: String = (0..9)
        .map(|nth| {
            rule("")
                .replace("scan", &format!("s{nth}"))
                .replace("[route.r]", &format!("[route.r{nth}]"))
                .replace("\"/\"", &format!("\"/{nth}\""))
        })
        .collect();
    let found = found(&many);
    assert!(
        found.len() == 1 && found[0].contains("error[C059]: more than 8 rules lead to bans"),
        "{found:?}"
    );
}
