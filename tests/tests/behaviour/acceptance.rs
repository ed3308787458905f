//! The whole way at once: TLS, a rotated JWKS, a real nginx behind the gateway.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use gateway_userspace::demo::issuer::Issuer;
use gateway_userspace::demo::services::Service;
use tests::curl::{Answer, curl};
use tests::gateway::Gateway;
use tests::nginx::Nginx;

#[test]
fn curl_gets_nginxs_answer_over_tls_with_a_token_of_a_key_that_was_rotated_in_meanwhile() {
    let nginx = Nginx::start("location / { return 200 \"nginx saw $http_x_user_id at $request_uri\\n\"; }");
    let served: Arc<Mutex<String>> = Arc::default();
    let answered = served.clone();
    let keys = Service::start(Arc::new(move |path| match path {
        "/jwks.json" => (200, "application/json", answered.lock().unwrap().clone()),
        _ => (404, "text/plain", String::new()),
    }))
    .unwrap();
    let issuer_url = "https://issuer.test";
    let old = Issuer::new(issuer_url, "2026-10").unwrap();
    *served.lock().unwrap() = old.jwks();

    let gateway = Gateway::start_with(|folder, port| {
        let made = rcgen::generate_simple_self_signed(["api.test".to_owned()]).unwrap();
        std::fs::write(folder.join("c.pem"), made.cert.pem()).unwrap();
        std::fs::write(folder.join("k.pem"), made.signing_key.serialize_pem()).unwrap();
        let f = folder.display();
        format!(
            "[listen.main]\naddress = \"0.0.0.0:{port}\"\ntls = {{ certificate = \"{f}/c.pem\", key = \"{f}/k.pem\" }}\n\
             [auth.users]\njwt = \"{issuer_url}\"\nkeys = \"http://{}/jwks.json\"\naudience = \"api\"\nheaders = {{ X-User-Id = \"sub\" }}\n\
             [route.users]\nmatch = \"GET api.test/v1/users/*\"\nto = \"{}\"\nauth = \"users\"\nreplace-prefix = \"/\"\n",
            keys.address,
            nginx.url()
        )
    });
    let get = |token: &str| -> Answer {
        let ca = gateway.folder.join("c.pem");
        curl(&[
            "--cacert",
            ca.to_str().unwrap(),
            "--resolve",
            &format!("api.test:{}:127.0.0.1", gateway.port),
            "-H",
            &format!("Authorization: Bearer {token}"),
            &format!("https://api.test:{}/v1/users/42?x=1", gateway.port),
        ])
    };
    let minute = Duration::from_secs(60);
    let answer = get(&old.token("alice", minute).unwrap());
    assert_eq!((answer.status, answer.body.as_str()), (200, "nginx saw alice at /42?x=1\n"));

    let new = Issuer::new(issuer_url, "2026-11").unwrap();
    *served.lock().unwrap() = new.jwks();
    let answer = get(&new.token("bob", minute).unwrap());
    assert_eq!((answer.status, answer.body.as_str()), (200, "nginx saw bob at /42?x=1\n"));
    assert_eq!(get(&old.token("carol", minute).unwrap()).status, 401, "the withdrawn key is out");

    let forger = Issuer::new(issuer_url, "2026-11").unwrap();
    assert_eq!(get(&forger.token("mallory", minute).unwrap()).status, 401);
}
