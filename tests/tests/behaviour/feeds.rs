//! Lists from a web server, whichever way it behaves.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use gateway_userspace::feeds::fetch::{self, BYTES_MAX, Error, Fetched, Source, Version};
use http::HeaderMap;
use tests::authority::Authority;
use tests::gateway::{folder, free_port};
use tests::nginx::Nginx;

const LIST: &str = "192.0.2.1\n192.0.2.2\n";
/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(60);

fn source<'a>(url: &'a str, headers: &'a HeaderMap) -> Source<'a> {
    Source { url, headers, ca: None, deadline: LONG, bytes_max: BYTES_MAX }
}

fn get(source: &Source<'_>, known: &Version) -> Result<Fetched, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(fetch::get(source, known))
}

/// The list and its version; fails the test if there is none.
fn list(source: &Source<'_>, known: &Version) -> (String, Version) {
    match get(source, known) {
        Ok(Fetched::List(list, version)) => (String::from_utf8(list).expect("UTF-8"), version),
        other => panic!("{other:?}"),
    }
}

/// A folder with the list in `drop.txt`.
fn kept() -> PathBuf {
    let folder = folder();
    fs::write(folder.join("drop.txt"), LIST).expect("a file can be written");
    folder
}

#[test]
fn a_list_is_carried_once_and_again_when_it_has_changed() {
    let folder = kept();
    let nginx = Nginx::start(&format!("location / {{ root {}; }}", folder.display()));
    let (url, headers) = (format!("{}/drop.txt", nginx.url()), HeaderMap::new());
    let source = source(&url, &headers);
    let (first, version) = list(&source, &Version::default());
    assert_eq!(first, LIST);
    assert!(version.tag.is_some() && version.modified.is_some(), "{version:?}");
    assert_eq!(get(&source, &version).expect("an answer"), Fetched::Unchanged);
    // Either is enough.
    for known in [Version { tag: None, ..version.clone() }, Version { modified: None, ..version.clone() }] {
        assert_eq!(get(&source, &known).expect("an answer"), Fetched::Unchanged);
    }
    fs::write(folder.join("drop.txt"), "192.0.2.3\n").expect("a file can be written");
    let (second, changed) = list(&source, &version);
    assert_eq!(second, "192.0.2.3\n");
    assert_ne!(changed, version);
    let statuses: Vec<_> =
        nginx.requests().iter().filter_map(|line| line.rsplit('|').next()?.parse::<u16>().ok()).collect();
    assert_eq!(statuses, [200, 304, 304, 304, 200]);
}

#[test]
fn a_key_is_sent_and_no_redirect_carries_it_elsewhere() {
    let folder = kept();
    let elsewhere = Nginx::start("location / { return 200 \"x\"; }");
    let nginx = Nginx::start(&format!(
        "location / {{ root {}; if ($http_x_api_key != \"k\") {{ return 403; }} }}\n\
         location = /moved {{ return 302 /drop.txt; }}\n\
         location = /loop {{ return 307 /loop; }}\n\
         location = /away {{ return 302 {}/; }}\n\
         location = /busy {{ return 503; }}\n\
         location = /odd {{ return 304; }}\n",
        folder.display(),
        elsewhere.url()
    ));
    let headers = HeaderMap::from_iter([
        (http::HeaderName::from_static("x-api-key"), http::HeaderValue::from_static("k")),
        (http::header::IF_NONE_MATCH, http::HeaderValue::from_static("*")),
        (http::header::HOST, http::HeaderValue::from_static("elsewhere.example")),
    ]);
    let none = HeaderMap::new();
    let url = |path: &str| format!("{}{path}", nginx.url());
    assert_eq!(list(&source(&url("/moved"), &headers), &Version::default()).0, LIST);
    let fails = |path: &str, headers| get(&source(&url(path), headers), &Version::default()).expect_err(path);
    assert!(matches!(fails("/drop.txt", &none), Error::Status(403)));
    assert!(matches!(fails("/none", &headers), Error::Status(404)));
    assert!(matches!(fails("/busy", &headers), Error::Status(503)));
    assert!(matches!(fails("/odd", &headers), Error::Status(304)), "nothing was known to be unchanged");
    assert!(matches!(fails("/loop", &headers), Error::Redirect));
    assert!(matches!(fails("/away", &headers), Error::Redirect));
    assert!(elsewhere.requests().is_empty(), "{:?}", elsewhere.requests());
    assert!(matches!(get(&source("ftp://a/b", &none), &Version::default()), Err(Error::Url(_))));
    let nobody = format!("http://127.0.0.1:{}/", free_port());
    assert!(matches!(get(&source(&nobody, &none), &Version::default()), Err(Error::Dial(_))));
}

#[test]
fn what_is_too_large_is_not_taken_whether_its_size_is_told_or_not() {
    let folder = kept();
    let files = folder.display();
    // With a filter that changes the size, nginx tells none and sends chunks.
    let nginx = Nginx::start(&format!(
        "location / {{ root {files}; }}\n\
         location /chunked/ {{ alias {files}/; types {{}} default_type text/plain; sub_filter_types *; sub_filter zzz y; }}\n\
         location /packed/ {{ alias {files}/; add_header Content-Encoding br always; }}\n"
    ));
    let headers = HeaderMap::new();
    for path in ["/drop.txt", "/chunked/drop.txt"] {
        let url = format!("{}{path}", nginx.url());
        let limited = |bytes_max| get(&Source { bytes_max, ..source(&url, &headers) }, &Version::default());
        assert!(
            matches!(limited(LIST.len()), Ok(Fetched::List(list, _)) if list == LIST.as_bytes()),
            "{path}"
        );
        assert!(matches!(limited(LIST.len() - 1), Err(Error::TooLarge(_))), "{path}");
    }
    let packed = format!("{}/packed/drop.txt", nginx.url());
    assert!(matches!(get(&source(&packed, &headers), &Version::default()), Err(Error::Encoding(_))));
}

/// Answers one request with `answer` and then nothing more; closes with the end of the test, or at once.
fn once(answer: &'static str, stays: bool) -> (String, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut request = [0; 4096];
        let _ = stream.read(&mut request);
        stream.write_all(answer.as_bytes()).expect("an answer");
        if stays {
            // Until the other side gives up.
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    (url, thread)
}

#[test]
fn a_server_that_stalls_or_breaks_off_gives_no_list() {
    let headers = HeaderMap::new();
    for stalled in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n192.0.2.1\n"] {
        let (url, thread) = once(stalled, true);
        let deadline = Duration::from_millis(300);
        let answer = get(&Source { deadline, ..source(&url, &headers) }, &Version::default());
        assert!(matches!(answer, Err(Error::Late(_))), "{stalled}: {answer:?}");
        thread.join().expect("the server ends");
    }
    let broken = [
        "",
        "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n192.0.2.1\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n192.0.2.1\n\r\n",
        "nonsense\r\n\r\n",
    ];
    for broken in broken {
        let (url, thread) = once(broken, false);
        let answer = get(&source(&url, &headers), &Version::default());
        assert!(matches!(answer, Err(Error::Http(_))), "{broken}: {answer:?}");
        thread.join().expect("the server ends");
    }
    // Nothing is kept for a size that is only told.
    let (url, thread) = once("HTTP/1.1 200 OK\r\nContent-Length: 268435457\r\n\r\n", false);
    assert!(matches!(get(&source(&url, &headers), &Version::default()), Err(Error::TooLarge(BYTES_MAX))));
    thread.join().expect("the server ends");
}

#[test]
fn a_server_is_believed_by_the_authority_that_is_named_for_it() {
    let folder = kept();
    let authority = Authority::new(&folder, "lists");
    authority.issue("server", "/CN=localhost", "DNS:localhost");
    let port = free_port();
    let (certificate, key) = (authority.path("server.pem"), authority.path("server.key"));
    let _nginx = Nginx::start(&format!(
        "listen 127.0.0.1:{port} ssl; ssl_certificate {certificate}; ssl_certificate_key {key};\n\
         location / {{ root {}; }}",
        folder.display()
    ));
    let (url, headers, ca) =
        (format!("https://localhost:{port}/drop.txt"), HeaderMap::new(), authority.path("ca.pem"));
    let trusting = Source { ca: Some(ca.as_ref()), ..source(&url, &headers) };
    assert_eq!(list(&trusting, &Version::default()).0, LIST);
    let refused = get(&source(&url, &headers), &Version::default());
    assert!(matches!(refused, Err(Error::Dial(_))), "{refused:?}");
}
