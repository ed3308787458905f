//! The decisions that every request goes through allocate nothing when they let it pass, nor does taking note of it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gateway_userspace::header::{ACCEPT, Fields, Name, Value};
use gateway_userspace::keyring::key::{Key, Material};
use gateway_userspace::observe::access_log::{Entry, Format, Sink, Target, Template, Writer};
use gateway_userspace::observe::metrics::{Finished, Registry};
use gateway_userspace::policy::identity_headers::IdentityHeaders;
use gateway_userspace::policy::ip_access::{Access, config};
use gateway_userspace::policy::jwt::cache::{Known, TokenCache};
use gateway_userspace::policy::jwt::claims::Validity;
use gateway_userspace::policy::rate_limit::gcra::Rate;
use gateway_userspace::policy::rate_limit::table::Table as LimitTable;
use gateway_userspace::request::Identity;
use gateway_userspace::request::head::Version;
use gateway_userspace::request::identity::Credential;
use gateway_userspace::request::path::{EncodedSlash, normalise};
use gateway_userspace::route::Table;
use gateway_userspace::route::pattern::{HostPattern, Kind, PathPattern, Pattern, Segment, Tail};

/// The system's allocator, counting what each thread asks of it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came; counting touches a thread-local cell without a
// destructor, which allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`, and the pointer came from the same allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations that a call makes on this thread.
fn allocations<T>(call: impl FnOnce() -> T) -> (usize, T) {
    let before = ALLOCATIONS.get();
    let result = call();
    (ALLOCATIONS.get() - before, result)
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| Box::new(7)).0, 1);
}

#[test]
fn finding_a_route_its_parameters_and_its_upstream_path_allocates_nothing() {
    let segments = vec![Segment::Literal("v1".into()), Segment::Parameter("id".into(), Kind::Any)];
    let path = PathPattern { segments, tail: Tail::Prefix, text: Arc::from("/v1/{id}/*") };
    let host = HostPattern::Wildcard("example.com".into());
    let table = Table::new([(Pattern { methods: vec!["GET".into()], host, path }, 0)]);
    for path in ["/v1/7/x", "/v1;a=1/7%3A"] {
        let (count, value) = allocations(|| {
            let found = table.lookup("api.example.com", path, "GET").ok()?;
            Some((found.parameter(path, "id")?, found.replace_prefix(path, "/").len()))
        });
        assert!(value.is_some());
        assert_eq!(count, 0, "{path}");
    }
    assert_eq!(allocations(|| table.lookup("other", "/v1/7", "GET").is_err()), (0, true));
}

#[test]
fn a_path_in_normal_form_is_not_copied() {
    let (count, normal) = allocations(|| normalise("/v1/users/a%20b/.well-known", EncodedSlash::Reject));
    assert_eq!((count, normal), (0, Ok(None)));
}

#[test]
fn counting_a_request_allocates_nothing_for_known_keys_and_strangers() {
    let table = LimitTable::new(1);
    let rate = Rate::new(10, Duration::from_secs(1), 0);
    let (count, passed) = allocations(|| {
        let outcomes = (0..1000_u128).map(|i| table.take(1 + i % 20, 1_000_000_000, rate));
        outcomes.filter(|outcome| outcome.wait_ns.is_none()).count()
    });
    assert_eq!(count, 0);
    assert!((20..1000).contains(&passed), "{passed}");
}

#[test]
fn address_rules_and_clean_identity_headers_allocate_nothing() {
    let rule = config::Rule { allow: false, prefix: "10.0.0.0/8".parse().ok() };
    let access = Access::new(&config::Config { rules: vec![rule] }).expect("a rule");
    assert_eq!(allocations(|| access.check([192, 0, 2, 1].into()).is_ok()), (0, true));

    let headers = IdentityHeaders::new([Name::from_static("x-user-id")]);
    let mut fields = Fields::default();
    fields.add(ACCEPT, Value::from_static("*/*"));
    assert_eq!(allocations(|| headers.apply(&mut fields, None)).0, 0);
}

#[test]
fn a_token_that_is_remembered_is_answered_without_allocating() {
    let cache = TokenCache::default();
    let key = Arc::new(Key::new(None, None, &Material::Secret(&[1; 32])).expect("a key"));
    let identity = Arc::new(Identity {
        auth: Arc::from("users"),
        principal: Arc::from("alice"),
        credential: Credential::Token,
        claims: Default::default(),
        headers: Box::new([]),
    });
    let (good, forged) = ([b'g'; 800], [b'f'; 800]);
    cache.accept(&good, identity, key.clone(), Validity { from_ms: 0, until_ms: 2000 }, 1000);
    cache.forge(&forged, key);
    for _ in 0..10 {
        let (count, known) = allocations(|| cache.get(&good, 1500));
        assert!(matches!(known, Some(Known::Accepted(_))));
        assert_eq!(count, 0);
        let (count, known) = allocations(|| cache.get(&forged, 1500));
        assert!(matches!(known, Some(Known::Forged)));
        assert_eq!(count, 0);
        assert_eq!(allocations(|| cache.get(&[b'u'; 800], 1500).is_none()), (0, true));
    }
}

#[test]
fn counting_a_request_a_second_time_allocates_nothing() {
    let registry = Registry::new();
    let (cells, route) = (registry.cells(), registry.label("users"));
    let count = || {
        cells.request_started();
        cells.upstream_answered(route, Duration::from_millis(3));
        cells.limit_decided(route, false);
        cells.request_finished(&Finished {
            route,
            method: "GET",
            version: Version::Http2,
            status: 429,
            duration: Duration::from_millis(5),
            rejection: Some("rate-limited"),
        });
    };
    count();
    assert_eq!(allocations(|| (0..1000).for_each(|_| count())).0, 0);
}

#[test]
fn a_line_of_the_access_log_allocates_nothing() {
    let template =
        Template::parse("$context.requestId $context.path $context.requestTime").expect("a template");
    for format in [Format::Json, Format::Seed, Format::Combined, Format::Custom(template)] {
        let writer = Writer::default();
        let sink = Sink::File("/dev/null".into());
        let target = Target { name: "null".into(), format: format.clone(), sink };
        writer.adopt(writer.prepare(vec![target]).expect("it opens").expect("it is new"));
        let log = writer.log().expect("there is a sink");
        let entry = Entry {
            time: SystemTime::UNIX_EPOCH,
            method: "GET",
            scheme: "https",
            host: "api.example.com",
            path: "/v1/users/7",
            version: "2",
            route: Some("users"),
            status: 200,
            duration: Duration::from_millis(5),
            response_bytes: 1024,
            request_bytes: 0,
            client: [2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(),
            user_agent: Some(b"curl/8 \x1b[31m\xff"),
            referer: None,
            ja4: Some("t13d1516h2_8daaf6152771_e5627efa2ab1"),
            user: Some("alice"),
            request_id: "01991234-5678-7000-8000-000000000000",
            trace: None,
            upstream: None,
            limit: None,
            shadow: None,
            ban: None,
            reason: None,
            detail: None,
        };
        log.write(&entry);
        assert_eq!(allocations(|| (0..20).for_each(|_| log.write(&entry))).0, 0, "{format:?}");
    }
}
