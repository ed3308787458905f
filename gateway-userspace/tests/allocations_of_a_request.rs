//! How often the worker allocates for one plain proxied request: the real gateway, HTTP/1.1 over loopback on both
//! sides, connections that stand.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// For each request: its record, its id, and the count of who shares that. What is read lies in blocks that many messages
/// share, and tables of fields are used again.
const ALLOCATIONS: usize = 3;
/// Allocations beyond that in [`REQUESTS`] requests: those blocks, and buffers of the log.
const SPARE: usize = 250;
const REQUESTS: usize = 1000;
const WARM_UP: usize = 200;
const PATIENCE: Duration = Duration::from_secs(30);

const REQUEST: &[u8] =
    b"GET /v20/users/42?fields=name HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: bench/1.0\r\n\
                         Accept: application/json\r\nAccept-Encoding: gzip\r\n\r\n";
const BODY_BYTES: usize = 1024;

/// The system's allocator, counting what one thread asks of it.
struct Counting;

/// The thread that is watched, by its id in the kernel; 0: none.
static WATCHED: AtomicI32 = AtomicI32::new(0);
static COUNT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static OWN_ID: Cell<i32> = const { Cell::new(0) };
}

fn count() {
    let watched = WATCHED.load(Ordering::Relaxed);
    if watched == 0 {
        return;
    }
    let _ = OWN_ID.try_with(|id| {
        if id.get() == 0 {
            // SAFETY: it has no arguments and cannot fail.
            id.set(unsafe { libc::gettid() });
        }
        if id.get() == watched {
            COUNT.fetch_add(1, Ordering::Relaxed);
        }
    });
}

// SAFETY: every call goes to the system's allocator as it came; counting touches atomics and a thread-local cell
// without a destructor, which allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and the pointer came from the same allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of a thread while something is done, here or there.
fn allocations(thread: i32, work: impl FnOnce()) -> usize {
    COUNT.store(0, Ordering::Relaxed);
    WATCHED.store(thread, Ordering::Relaxed);
    work();
    WATCHED.store(0, Ordering::Relaxed);
    COUNT.load(Ordering::Relaxed)
}

/// One test, so that nothing else is counted: first that the counter counts, then the request.
#[test]
fn a_plain_request_takes_few_allocations_of_its_worker_and_always_as_many() {
    // SAFETY: it has no arguments and cannot fail.
    let own = unsafe { libc::gettid() };
    assert_eq!(allocations(own, || drop(std::hint::black_box(Box::new(7)))), 1);
    assert_eq!(allocations(own, || {}), 0);

    let folder = std::env::temp_dir().join(format!("portcullis-allocations-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let address = start_gateway(&folder, start_origin());
    let mut client = connect(address);
    ask(&mut client, WARM_UP);
    let worker = thread_named("worker-0");
    let first = allocations(worker, || ask(&mut client, REQUESTS));
    let second = allocations(worker, || ask(&mut client, REQUESTS));
    let _ = fs::remove_dir_all(&folder);
    for total in [first, second] {
        println!("{total} allocations for {REQUESTS} requests");
        let most = ALLOCATIONS * REQUESTS + SPARE;
        assert!(total <= most, "{total} allocations for {REQUESTS} requests, at most {most}");
        let least = ALLOCATIONS * REQUESTS;
        assert!(
            total >= least,
            "only {total} for {REQUESTS} requests: lower ALLOCATIONS, to keep what was won"
        );
    }
}

/// An upstream that answers every header section that ends, on a thread for each connection.
fn start_origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = listener.local_addr().expect("an address");
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {BODY_BYTES}\r\n\r\n");
    let answer = [head.into_bytes(), vec![b'x'; BODY_BYTES]].concat();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || serve(stream, &answer));
        }
    });
    address
}

fn serve(mut stream: TcpStream, answer: &[u8]) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        request.extend_from_slice(&buffer[..read]);
        if request.ends_with(b"\r\n\r\n") {
            request.clear();
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    }
}

/// The gateway with one worker, in this process until it ends.
fn start_gateway(folder: &Path, upstream: SocketAddr) -> SocketAddr {
    let address =
        TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
    let file = folder.join("gateway.toml");
    let config = format!(
        "[gateway]\nworkers = 1\nstate = {folder:?}\n[admin]\nsocket = {:?}\n[log]\nto = {:?}\n\
         [listen.web]\naddress = \"{address}\"\n\
         [route.all]\nmatch = \"/*\"\nto = [\"http://{upstream}\"]\nauth = \"none\"\n",
        folder.join("admin.sock"),
        format!("file:{}", folder.join("access.log").display()),
    );
    fs::write(&file, config).expect("a file");
    std::thread::spawn(move || {
        if let Err(error) = gateway_userspace::gateway::run(&file, |_warnings| {}) {
            eprintln!("the gateway ended: {error}");
        }
    });
    address
}

fn connect(address: SocketAddr) -> TcpStream {
    let started = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                return stream;
            }
            Err(error) => {
                assert!(started.elapsed() < PATIENCE, "the gateway does not listen: {error}");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Sends requests one after the other, and reads each answer to its end.
fn ask(client: &mut TcpStream, requests: usize) {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    for _ in 0..requests {
        client.write_all(REQUEST).expect("sent");
        answer.clear();
        loop {
            let read = client.read(&mut buffer).expect("an answer");
            assert_ne!(read, 0, "the connection was closed");
            answer.extend_from_slice(&buffer[..read]);
            let head = answer.windows(4).position(|window| window == b"\r\n\r\n");
            if head.is_some_and(|end| answer.len() >= end + 4 + BODY_BYTES) {
                break;
            }
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&answer));
    }
}

/// The id of this process's thread with this name.
fn thread_named(name: &str) -> i32 {
    let tasks = fs::read_dir("/proc/self/task").expect("threads").flatten();
    let found = tasks
        .filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name))
        .find_map(|task| task.file_name().to_str()?.parse().ok());
    found.unwrap_or_else(|| panic!("no thread {name}"))
}
