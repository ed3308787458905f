//! What a browser lets a page of another origin read of the gateway's answers.

use tests::chromium;
use tests::gateway::{Gateway, free_port};
use tests::nginx::Nginx;
use tests::privilege::skip;

/// Asks for each path in turn and writes down status and readable fields of the answers; `0` is an answer that the
/// browser keeps to itself. Requests are synchronous, so that the document is complete when the page has loaded.
const SCRIPT: &str = r#"
const answers = ASKED.map(([path, credentials]) => {
    const request = new XMLHttpRequest();
    request.open("GET", "http://127.0.0.1:PORT" + path, false);
    request.withCredentials = credentials;
    try { request.send(); } catch (refused) { return { status: 0 }; }
    const answer = { status: request.status };
    for (const line of request.getAllResponseHeaders().trim().split("\r\n")) {
        const colon = line.indexOf(":");
        answer[line.slice(0, colon)] = line.slice(colon + 1).trim();
    }
    return answer;
});
document.body.innerHTML = "<pre>" + JSON.stringify(answers) + "</pre>";
"#;

/// A gateway whose page, from a listener of its own and so of another origin, asks for these paths; and what it saw.
fn seen(asked: &str, routes: &str) -> Vec<serde_json::Value> {
    let page_port = free_port();
    let gateway = Gateway::start_with(|_, port| {
        let script = SCRIPT.replace("ASKED", asked).replace("PORT", &port.to_string());
        format!(
            "[listen.main]\naddress = \"127.0.0.1:{port}\"\n[listen.page]\naddress = \"127.0.0.1:{page_port}\"\n{}\
             [route.page]\nmatch = \"/page\"\nrespond = {{ status = 200, content-type = \"text/html\", body = '''\
             <!doctype html><body><script>{script}</script></body>''' }}\n",
            routes.replace("PAGE", &format!("http://127.0.0.1:{page_port}"))
        )
    });
    let document = chromium::document(&format!("http://127.0.0.1:{page_port}/page"));
    drop(gateway);
    let (_, rest) = document.split_once("<pre>").unwrap_or_else(|| panic!("no answers in {document}"));
    let (answers, _) = rest.split_once("</pre>").expect("the end of the answers");
    serde_json::from_str(answers).expect("JSON")
}

#[test]
fn a_page_of_another_origin_reads_how_much_is_left_and_why_it_was_refused() {
    if !chromium::installed() {
        return skip("cross_origin::a_page_of_another_origin", "there is no chromium");
    }
    let answers = seen(
        r#"[["/open", false], ["/open", false], ["/closed", false]]"#,
        "[limit.tight]\nrate = \"1/h\"\nby = \"address\"\n\
         [route.open]\nmatch = \"/open\"\nlimit = \"tight\"\nrespond = { status = 200, body = \"ok\" }\n\
         headers = { set = { Access-Control-Allow-Origin = \"PAGE\", X-Hidden = \"1\" } }\n\
         [route.closed]\nmatch = \"/closed\"\nrespond = { status = 200, body = \"ok\" }\n",
    );
    let [passed, refused, closed] = &answers[..] else { panic!("three answers: {answers:?}") };

    assert_eq!(passed["status"], 200);
    assert_eq!((&passed["x-ratelimit-limit"], &passed["x-ratelimit-remaining"]), (&"1".into(), &"0".into()));
    assert!(
        passed["x-ratelimit-reset"].as_str().is_some_and(|reset| reset.parse::<u64>().is_ok()),
        "{passed}"
    );
    assert_eq!(passed["ratelimit-policy"], "\"tight\";q=1;w=3600");
    assert!(
        passed["ratelimit"].as_str().is_some_and(|left| left.starts_with("\"tight\";r=0;t=")),
        "{passed}"
    );
    assert!(passed["x-request-id"].is_string(), "{passed}");
    assert!(passed["x-hidden"].is_null(), "the browser keeps back what is not listed: {passed}");

    assert_eq!((&refused["status"], &refused["x-gateway-reason"]), (&429.into(), &"rate-limited".into()));
    assert!(refused["retry-after"].as_str().is_some_and(|wait| wait.parse::<u64>().is_ok()), "{refused}");
    assert_eq!(refused["x-ratelimit-remaining"], "0");
    assert!(refused["x-request-id"].is_string(), "{refused}");

    assert_eq!(closed["status"], 0, "without Access-Control-Allow-Origin nothing is readable: {closed}");
}

#[test]
fn the_lists_of_upstreams_are_completed_also_where_credentials_make_a_wildcard_a_name() {
    if !chromium::installed() {
        return skip("cross_origin::the_lists_of_upstreams", "there is no chromium");
    }
    let nginx = Nginx::start(
        "location /listed { add_header Access-Control-Allow-Origin *; add_header X-Total 7;\n\
         add_header Access-Control-Expose-Headers X-Total; return 200 ok; }\n\
         location /credentials { add_header Access-Control-Allow-Origin $http_origin;\n\
         add_header Access-Control-Allow-Credentials true; add_header X-Total 7;\n\
         add_header Access-Control-Expose-Headers *; return 200 ok; }",
    );
    let answers = seen(
        r#"[["/listed", false], ["/credentials", true]]"#,
        &format!(
            "[limit.wide]\nrate = \"100/h\"\nby = \"address\"\n\
             [route.all]\nmatch = \"/*\"\nlimit = \"wide\"\nto = \"{}\"\n",
            nginx.url()
        ),
    );
    let [listed, credentials] = &answers[..] else { panic!("two answers: {answers:?}") };
    assert_eq!((&listed["status"], &listed["x-total"]), (&200.into(), &"7".into()));
    assert_eq!(listed["x-ratelimit-limit"], "100");
    assert_eq!((&credentials["status"], &credentials["x-ratelimit-limit"]), (&200.into(), &"100".into()));
    assert!(credentials["x-total"].is_null(), "`*` is no wildcard with credentials: {credentials}");
}
