//! Whether two tables say the same, wherever they stand in their files.
//!
//! Every struct is taken apart field by field, so that a new field does not compile until it is compared too.

use crate::config::model::{Action, Route, UpstreamRef};
use crate::diagnostic::Located;
use crate::upstream;

/// Of `[route.NAME]`.
pub fn route(one: &Route, other: &Route) -> bool {
    let Route {
        name,
        place: _,
        matches,
        action,
        auth,
        public,
        limits,
        access,
        requests,
        headers,
        upstream_headers,
        login,
        log,
    } = one;
    *name == other.name
        && values(matches, &other.matches)
        && self::action(action, &other.action)
        && values(auth, &other.auth)
        && *public == other.public
        && values(limits, &other.limits)
        && *access == other.access
        && *requests == other.requests
        && *headers == other.headers
        && *upstream_headers == other.upstream_headers
        && *login == other.login
        && *log == other.log
}

/// Of `[upstream.NAME]`.
pub fn upstream(one: &upstream::config::Config, other: &upstream::config::Config) -> bool {
    let upstream::config::Config {
        name,
        targets,
        protocol,
        proxy_protocol,
        host,
        connect_timeout,
        response_timeout,
        idle_timeout,
        keep_alive,
        idle_connections,
        ca,
    } = one;
    *name == other.name
        && *targets == other.targets
        && *protocol == other.protocol
        && *proxy_protocol == other.proxy_protocol
        && *host == other.host
        && *connect_timeout == other.connect_timeout
        && *response_timeout == other.response_timeout
        && *idle_timeout == other.idle_timeout
        && *keep_alive == other.keep_alive
        && *idle_connections == other.idle_connections
        && *ca == other.ca
}

fn action(one: &Action, other: &Action) -> bool {
    match (one, other) {
        (
            Action::Forward { upstream, replace_prefix },
            Action::Forward { upstream: other_upstream, replace_prefix: other_prefix },
        ) => upstream_ref(upstream, other_upstream) && replace_prefix == other_prefix,
        (
            Action::Respond { status, body, content_type },
            Action::Respond { status: other_status, body: other_body, content_type: other_type },
        ) => status == other_status && body == other_body && content_type == other_type,
        (Action::Forward { .. }, Action::Respond { .. })
        | (Action::Respond { .. }, Action::Forward { .. }) => false,
    }
}

fn upstream_ref(one: &UpstreamRef, other: &UpstreamRef) -> bool {
    match (one, other) {
        (UpstreamRef::Named(one), UpstreamRef::Named(other)) => one.value == other.value,
        (UpstreamRef::Inline(one), UpstreamRef::Inline(other)) => upstream(one, other),
        (UpstreamRef::Named(_), UpstreamRef::Inline(_)) | (UpstreamRef::Inline(_), UpstreamRef::Named(_)) => {
            false
        }
    }
}

fn values<T: PartialEq>(one: &[Located<T>], other: &[Located<T>]) -> bool {
    one.iter().map(|located| &located.value).eq(other.iter().map(|located| &located.value))
}

#[cfg(test)]
mod tests {
    use crate::config::tests::load_ok;

    #[test]
    fn a_table_that_stands_elsewhere_is_the_same() {
        let text = "[listen.a]\naddress = \"[::]:80\"\n[upstream.u]\nto = \"http://b\"\n\
                    [limit.l]\nrate = \"1/s\"\nby = \"address\"\n\
                    [route.named]\nmatch = \"/a\"\nupstream = \"u\"\nlimit = \"l\"\n\
                    [route.inline]\nmatch = \"/b\"\nto = \"http://b\"\n";
        let (one, other) = (load_ok(text), load_ok(&format!("# Further down.\n{text}")));
        assert_ne!(one.route[0].place, other.route[0].place);
        assert!(one.route.iter().zip(&other.route).all(|(one, other)| super::route(one, other)));
        assert!(super::upstream(&one.upstream[0].value, &other.upstream[0].value));
    }
}
