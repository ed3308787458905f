//! What every answer carries, and what answers without content must not.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use tests::curl::curl;
use tests::gateway::{Gateway, free_port};
use tests::nginx::Nginx;

#[test]
fn the_gateways_fields_are_on_every_answer_and_a_routes_own_do_not_displace_them() {
    let nginx = Nginx::start(
        "location / { add_header X-Powered-By leak; return 200 ok; } location /304 { return 304; }",
    );
    let gateway = Gateway::start(&format!(
        "[headers]\nset = {{ X-Frame-Options = \"SAMEORIGIN\", X-Content-Type-Options = \"nosniff\" }}\nremove = [\"X-Powered-By\"]\n\
         [route.all]\nmatch = \"/*\"\nto = \"{0}\"\n\
         [route.own]\nmatch = \"/own/*\"\nto = \"{0}\"\nheaders = {{ set = {{ X-Own = \"1\" }} }}\n\
         [route.closed]\nmatch = \"/closed\"\nto = \"{0}\"\naccess = [\"deny all\"]\n\
         [route.static]\nmatch = \"/static\"\nrespond = {{ status = 200, body = \"healthy\\n\", content-type = \"text/plain\" }}\n",
        nginx.url()
    ));
    for (path, status) in [("/", 200), ("/own/x", 200), ("/304", 304), ("/closed", 403), ("/static", 200)] {
        let answer = curl(&[&gateway.url(path)]);
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("x-frame-options"), "SAMEORIGIN", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("x-powered-by"), "", "{path}");
    }
    assert_eq!(curl(&[&gateway.url("/own/x")]).header("x-own"), "1");
    let malformed = curl(&["-H", "Host:", &gateway.url("/")]);
    assert_eq!(malformed.status, 400);
}

#[test]
fn a_static_answer_has_one_content_type_and_no_body_where_none_may_be() {
    let gateway = Gateway::start(
        "[route.health]\nmatch = \"/health\"\nlog = false\nrespond = { status = 200, body = \"healthy\\n\", content-type = \"text/plain\" }\n\
         [route.empty]\nmatch = \"/empty\"\nrespond = { status = 204 }\n",
    );
    let answer = curl(&[&gateway.url("/health")]);
    assert_eq!((answer.status, answer.body.as_str()), (200, "healthy\n"));
    assert_eq!(answer.header("content-type"), "text/plain");

    let empty = curl(&[&gateway.url("/empty")]);
    assert_eq!((empty.status, empty.body.as_str()), (204, ""));
    assert_eq!(empty.header("transfer-encoding"), "");

    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    stream.write_all(b"HEAD /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut head = String::new();
    stream.read_to_string(&mut head).unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "a HEAD answer has no body: {head}");
}

#[test]
fn the_gateways_fields_are_on_answers_to_every_method_and_version_and_on_a_panic() {
    let nginx = Nginx::start(
        "location / { if ($request_method = OPTIONS) { return 204; } return 200 ok; } location /304 { return 304; }",
    );
    let gateway = Gateway::start_with_variables(
        &[("PORTCULLIS_FAULT_PANIC", "/own/panics")],
        &format!(
            "[headers]\npreset = \"strict\"\nset = {{ X-XSS-Protection = \"1; mode=block\" }}\n\
             [limit.one]\nrate = \"1/h\"\nby = \"address\"\n\
             [route.all]\nmatch = [\"/\", \"/304\"]\nto = \"{0}\"\n\
             [route.own]\nmatch = \"/own/*\"\nto = \"{0}\"\nheaders = {{ set = {{ X-Own = \"1\", X-Frame-Options = \"DENY\" }} }}\n\
             [route.limited]\nmatch = \"/limited\"\nto = \"{0}\"\nlimit = \"one\"\n\
             [route.get]\nmatch = \"GET /get\"\nto = \"{0}\"\n\
             [route.down]\nmatch = \"/down\"\nto = \"http://127.0.0.1:{1}\"\n",
            nginx.url(),
            free_port()
        ),
    );
    assert_eq!(curl(&[&gateway.url("/limited")]).status, 200);
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        for (method, path, status) in [
            ("GET", "/", 200),
            ("HEAD", "/", 200),
            ("OPTIONS", "/", 204),
            ("GET", "/304", 304),
            ("GET", "/own/x", 200),
            ("OPTIONS", "/own/x", 204),
            ("GET", "/limited", 429),
            ("POST", "/get", 405),
            ("OPTIONS", "/get", 405),
            ("GET", "/%00", 400),
            ("GET", "/down", 502),
            ("GET", "/own/panics", 500),
        ] {
            let method = if method == "HEAD" { vec!["--head"] } else { vec!["-X", method] };
            let preflight = ["-H", "Origin: https://app.test", "-H", "Access-Control-Request-Method: GET"];
            let answer = curl(&[&[version][..], &method, &preflight, &[&gateway.url(path)]].concat());
            let what = format!("{version} {method:?} {path}");
            assert!(
                answer.status == status || (answer.status, path) == (503, "/down"),
                "{what}: {}",
                answer.status
            );
            assert_eq!(answer.header("x-content-type-options"), "nosniff", "{what}");
            assert_eq!(answer.header("x-xss-protection"), "1; mode=block", "{what}");
            assert_eq!(answer.header("content-security-policy"), "frame-ancestors 'self'", "{what}");
            let own = path.starts_with("/own/x");
            assert_eq!(answer.header("x-frame-options"), if own { "DENY" } else { "SAMEORIGIN" }, "{what}");
            assert_eq!(answer.header("x-own"), if own { "1" } else { "" }, "{what}");
        }
    }
}

#[test]
fn answers_without_content_have_no_body_and_no_framing_of_one_in_either_version() {
    // An upstream that frames what has no body.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let status = if request.contains("/204") {
                "204 No Content"
            } else if request.contains("/304") {
                "304 Not Modified"
            } else {
                "200 OK"
            };
            let framing = if status.starts_with("204") { "" } else { "Content-Length: 5\r\n" };
            let body = if status.starts_with("200") && !request.starts_with("HEAD") { "hello" } else { "" };
            let _ = stream.write_all(
                format!("HTTP/1.1 {status}\r\n{framing}Connection: close\r\n\r\n{body}").as_bytes(),
            );
        }
    });
    let gateway = Gateway::start(&format!(
        "[route.up]\nmatch = \"/up/*\"\nto = \"http://{address}\"\n\
         [route.empty]\nmatch = \"/own/204\"\nrespond = {{ status = 204 }}\n\
         [route.same]\nmatch = \"/own/304\"\nrespond = {{ status = 304 }}\n\
         [route.text]\nmatch = \"/own/200\"\nrespond = {{ status = 200, body = \"hello\" }}\nheaders = {{ set = {{ Access-Control-Allow-Origin = \"*\" }} }}\n"
    ));
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        for (method, path, status, body) in [
            ("GET", "/up/204", 204, ""),
            ("GET", "/up/304", 304, ""),
            ("HEAD", "/up/200", 200, ""),
            ("GET", "/up/200", 200, "hello"),
            ("GET", "/own/204", 204, ""),
            ("POST", "/own/204", 204, ""),
            ("GET", "/own/304", 304, ""),
            ("HEAD", "/own/200", 200, ""),
            ("GET", "/own/200", 200, "hello"),
        ] {
            let method_arguments = if method == "HEAD" { vec!["--head"] } else { vec!["-X", method] };
            let answer = curl(&[&[version][..], &method_arguments, &[&gateway.url(path)]].concat());
            let what = format!("{version} {method} {path}");
            assert_eq!((answer.status, &*answer.body, answer.exit), (status, body, 0), "{what}");
            assert_eq!(answer.header("transfer-encoding"), "", "{what}");
            if status == 204 {
                assert_eq!(answer.header("content-length"), "", "{what}");
            }
            if path == "/own/200" {
                assert_eq!(answer.header("access-control-allow-origin"), "*", "{what}");
                assert_eq!(answer.header("content-length"), "5", "{what}");
            }
        }
    }
    // On one connection, each answer begins where the one before it ends.
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    let head = |method: &str, path: &str| format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let requests = [
        head("HEAD", "/own/200"),
        head("GET", "/own/204"),
        head("GET", "/up/304"),
        head("GET", "/nowhere").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"),
    ];
    stream.write_all(requests.concat().as_bytes()).unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    let statuses: Vec<&str> = all.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "204", "304", "404"], "{all}");
}
