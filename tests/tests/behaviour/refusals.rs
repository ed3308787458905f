//! What refusals have in common (OB-8, RT-8, TX-9).

use tests::curl::curl;
use tests::gateway::{Gateway, free_port};

#[test]
fn every_refusal_says_who_refused_and_why_in_one_shape() {
    let nobody = free_port();
    let gateway = Gateway::start(&format!(
        "[limit.one]\nrate = \"1/h\"\nby = \"address\"\n[auth.k]\napi-key = \"X-Key\"\nkeys.a = \"sha256:{}\"\n\
         [route.closed]\nmatch = \"/closed\"\nrespond = {{ status = 200 }}\naccess = [\"deny all\"]\n\
         [route.limited]\nmatch = \"/limited\"\nrespond = {{ status = 200 }}\nlimit = \"one\"\n\
         [route.keyed]\nmatch = \"/keyed\"\nrespond = {{ status = 200 }}\nauth = \"k\"\n\
         [route.post]\nmatch = \"POST /post\"\nrespond = {{ status = 200 }}\n\
         [route.gone]\nmatch = \"/gone\"\nto = \"http://127.0.0.1:{nobody}\"\n",
        "0".repeat(64)
    ));
    assert_eq!(curl(&[&gateway.url("/limited")]).status, 200);
    for (path, status, reason) in [
        ("/nowhere", 404, "no-route"),
        ("/closed", 403, "address-denied"),
        ("/limited", 429, "rate-limited"),
        ("/keyed", 401, "no-key"),
        ("/post", 405, "method-not-allowed"),
        ("/%00", 400, "bad-target"),
        ("/%", 400, "bad-target"),
    ] {
        let answer = curl(&[&gateway.url(path)]);
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("x-gateway-reason"), reason, "{path}");
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
        let body = answer.json();
        assert_eq!(body["type"], format!("urn:portcullis:{reason}"), "{path}");
        assert_eq!(body["status"], status, "{path}");
        assert!(body["error"].is_string() && body["title"].is_string(), "{path}");
        assert_eq!(body["requestId"].as_str(), Some(answer.header("x-request-id")), "{path}");
    }
    let gone = curl(&[&gateway.url("/gone")]);
    assert!(matches!(gone.status, 502 | 503));
    assert!(!gone.body.contains(&nobody.to_string()), "nothing internal: {}", gone.body);

    let head = curl(&["-X", "HEAD", "--head", &gateway.url("/nowhere")]);
    assert_eq!((head.status, head.body.as_str()), (404, ""));
}
