//! The decisions that every request goes through allocate nothing when they let it pass.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use gateway_userspace::header::{ACCEPT, Fields, Name, Value};
use gateway_userspace::policy::identity_headers::IdentityHeaders;
use gateway_userspace::policy::ip_access::{Access, config};
use gateway_userspace::policy::rate_limit::gcra::Rate;
use gateway_userspace::policy::rate_limit::table::Table as LimitTable;
use gateway_userspace::request::path::{EncodedSlash, normalise};
use gateway_userspace::route::Table;
use gateway_userspace::route::pattern::{HostPattern, PathPattern, Pattern, Segment, Tail};

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
    let segments = vec![Segment::Literal("v1".into()), Segment::Parameter("id".into())];
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
