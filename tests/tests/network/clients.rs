//! One abuser among fifty clients behind one address: the ban is of the one, and of the address only where it is alone.

use std::time::{Duration, Instant};

use tests::kernel::Kernel;

use crate::stage::Stage;

const CLIENTS: usize = 50;
const ABUSER: usize = 49;
const SOON: Duration = Duration::from_millis(700);

#[test]
fn the_key_of_one_abuser_is_refused_and_forty_nine_others_behind_its_address_are_served() {
    if Kernel::load().is_none() {
        return;
    }
    let keys: String = (0..CLIENTS).map(|n| format!("keys.c{n} = \"sha256:{}\"\n", digest(n))).collect();
    let routes = format!(
        "[auth.users]\napi-key = \"X-API-Key\"\n{keys}[limit.each]\nrate = \"5/h\"\n\
         [route.api]\nmatch = \"/api\"\nrespond = {{ status = 200 }}\nauth = \"users\"\nlimit = \"each\"\n"
    );
    let stage = Stage::new(180, 2, "ban = \"20 denials in 30s\"", &routes);
    let (shared, alone) = (0, 1);
    let ask = |host, client: usize| {
        let key = format!("X-API-Key: secret-{client}");
        stage.get_with(host, &["-H", &key], "/api")
    };
    for client in 0..ABUSER {
        assert_eq!(ask(shared, client).status, 200, "client {client}");
    }
    for request in 0..5 + 20 {
        assert_eq!(ask(shared, ABUSER).status, if request < 5 { 200 } else { 429 }, "request {request}");
    }
    until_refused(|| ask(shared, ABUSER).status);
    assert_eq!(ask(alone, ABUSER).status, 403, "it carries its key along");
    for client in 0..ABUSER {
        assert_eq!(ask(shared, client).status, 200, "client {client}");
    }
    let ban = &stage.gateway.cli_json(&["bans"])["bans"][0];
    assert_eq!((&ban["target"], &ban["enforced"]), (&"client users/c49".into(), &"gateway".into()), "{ban}");
    assert_eq!(ban["others"]["good"], 49, "{ban}");
    assert_eq!(stage.gateway.cli_json(&["status"])["kernel"]["entries"], 0);

    let address = stage.address(shared).to_string();
    let refused = stage.gateway.cli(&["ban", &address]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success()
            && said.contains("would cut 50 good clients: users/c0, users/c1 and 48 more"),
        "{said}"
    );

    // Elsewhere it is alone, and there the kernel is the tool that cuts nobody else.
    assert!(stage.gateway.cli(&["unban", "1"]).status.success());
    for _ in 0..20 {
        assert_eq!(ask(alone, ABUSER).status, 429);
    }
    std::thread::sleep(Duration::from_millis(100));
    assert!(!stage.connects(alone, SOON), "the abuser's SYN must time out");
    assert_eq!(stage.gateway.cli_json(&["status"])["kernel"]["entries"], 1);
    assert_eq!(ask(shared, 0).status, 200);

    // What `unban` prints bans the client again, word for word.
    let again = stage.gateway.cli(&["ban", &address, "--client", "users/c0", "--for", "1h"]);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    until_refused(|| ask(shared, 0).status);
    assert_eq!(ask(shared, 1).status, 200);
}

/// The keeper decides after the answer has gone.
fn until_refused(ask: impl Fn() -> u16) {
    let asked = Instant::now();
    while ask() != 403 {
        assert!(asked.elapsed() < Duration::from_secs(5), "the client is banned");
    }
}

fn digest(client: usize) -> String {
    let secret = format!("secret-{client}");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
