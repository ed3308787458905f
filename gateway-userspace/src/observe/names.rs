//! Every metric name, once. What each means, with its labels, is in `docs/metrics-reference.md`.

/// Time from the end of a request's head to the end of the response, seconds.
pub const HTTP_SERVER_REQUEST_DURATION: &str = "http_server_request_duration_seconds";
/// Requests being served now.
pub const HTTP_SERVER_ACTIVE_REQUESTS: &str = "http_server_active_requests";
/// Time the upstream took to begin its answer, seconds.
pub const HTTP_CLIENT_REQUEST_DURATION: &str = "http_client_request_duration_seconds";
/// Requests that the gateway itself ended, by reason.
pub const REJECTIONS: &str = "portcullis_rejections_total";
/// Decisions of a limit, by limit and result.
pub const LIMIT_DECISIONS: &str = "portcullis_limit_decisions_total";
/// Client connections open now.
pub const CONNECTIONS_ACTIVE: &str = "portcullis_connections_active";
/// Client connections accepted.
pub const CONNECTIONS: &str = "portcullis_connections_total";
/// TLS handshakes that failed, by reason.
pub const TLS_HANDSHAKES_FAILED: &str = "portcullis_tls_handshakes_failed_total";
/// Packets seen by the kernel stage, by verdict.
pub const XDP_PACKETS: &str = "portcullis_xdp_packets_total";
/// Bytes of these packets.
pub const XDP_BYTES: &str = "portcullis_xdp_bytes_total";
/// Whether the kernel stage is attached, by interface and mode.
pub const XDP_ATTACHED: &str = "portcullis_xdp_attached";
/// Whether something presses on this machine.
pub const PRESSURE: &str = "portcullis_pressure";
/// What was found in the kernel otherwise than it was written, and put right, since the start, by kind.
pub const BANS_DRIFT: &str = "portcullis_bans_drift";
/// Addresses in the kernel's denylist, by family.
pub const DENYLIST_ENTRIES: &str = "portcullis_denylist_entries";
/// Addresses that the kernel's denylist has room for, by family.
pub const DENYLIST_CAPACITY: &str = "portcullis_denylist_capacity";
/// Bans in force.
pub const BANS_ACTIVE: &str = "portcullis_bans_active";
/// Bans made, by who made them.
pub const BANS: &str = "portcullis_bans_total";
/// CPU time spent on what was refused, by reason.
pub const REFUSED_CPU_SECONDS: &str = "portcullis_refused_cpu_seconds_total";
/// Offences after which nobody was banned, by why.
pub const BANS_REFUSED: &str = "portcullis_bans_refused_total";
/// Bans whose client was let through on parole, by what came of it.
pub const PAROLES: &str = "portcullis_paroles_total";
/// Requests that shadow bans would have kept out, by what became of them.
pub const SHADOW_REQUESTS: &str = "portcullis_shadow_requests_total";
/// Addresses and networks of a list that are in force.
pub const LIST_ENTRIES: &str = "portcullis_list_entries";
/// What a list names and is not in force, by why.
pub const LIST_SKIPPED: &str = "portcullis_list_skipped";
/// Attempts to read a list, by result.
pub const LIST_REFRESHES: &str = "portcullis_list_refreshes_total";
/// How long a list holds still, seconds.
pub const LIST_LEASE_SECONDS: &str = "portcullis_list_lease_seconds";
/// Abuse signals lost because the queue was full.
pub const ABUSE_SIGNALS_DROPPED: &str = "portcullis_abuse_signals_dropped_total";
/// Bans by rule, by the seconds from the denial that filled the score to the entry in the kernel (`le`, cumulative).
pub const BAN_LATENCY_BUCKETS: &str = "portcullis_ban_latency_seconds_bucket";
/// Age of an issuer's keys, seconds.
pub const JWKS_AGE: &str = "portcullis_jwks_age_seconds";
/// Fetches of an issuer's keys, by result.
pub const JWKS_FETCHES: &str = "portcullis_jwks_fetches_total";
/// Access log lines that a sink has taken.
pub const ACCESS_LOG_WRITTEN: &str = "portcullis_access_log_written_total";
/// Access log lines that were lost, by sink and reason.
pub const ACCESS_LOG_DROPPED: &str = "portcullis_access_log_dropped_total";
/// Bytes of access log that wait for a receiver in the network.
pub const ACCESS_LOG_WAITING_BYTES: &str = "portcullis_access_log_waiting_bytes";
/// Generation of the configuration in force.
pub const CONFIG_GENERATION: &str = "portcullis_config_generation";
/// 1 if the last reload succeeded.
pub const CONFIG_LAST_RELOAD_SUCCESS: &str = "portcullis_config_last_reload_success";
/// Version of this build.
pub const BUILD_INFO: &str = "portcullis_build_info";

#[cfg(test)]
mod tests {
    /// What stands between backticks at the beginning of a table's row.
    fn documented() -> Vec<&'static str> {
        let rows = include_str!("../../../docs/metrics-reference.md").lines();
        rows.filter_map(|row| row.strip_prefix("| `")?.split_once("` |").map(|(name, _)| name))
            .filter(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
            .collect()
    }

    /// The values of this file's constants.
    fn named() -> Vec<&'static str> {
        let lines = include_str!("names.rs").lines().filter(|line| line.starts_with("pub const "));
        lines.filter_map(|line| line.split('"').nth(1)).collect()
    }

    #[test]
    fn every_metric_is_in_the_reference_and_the_reference_has_no_other() {
        let (mut documented, mut named) = (documented(), named());
        assert!(named.len() > 15, "{named:?}");
        documented.sort_unstable();
        named.sort_unstable();
        assert_eq!(documented, named);
    }
}
