//! W3C Trace Context (Recommendation of 23 November 2021): a trace that comes in goes on.
//!
//! With a valid `traceparent` the upstream gets the same trace with a span of the gateway's own as parent; the log
//! line names trace, span and parent, so the span can be made from the log. Without one nothing is sent: a context made
//! up here would decide about sampling in place of the upstream's own sampler, whichever flag it carried. An invalid
//! one is removed together with `tracestate` (§3.2.2.3 and §3.3.1: a vendor must not go on with either).

use super::random::{Random, write_hex};
use crate::header::{self, Fields, Value};

/// Where a request stands in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: [u8; 32],
    parent_id: [u8; 16],
    span_id: [u8; 16],
    flags: u8,
}

impl TraceContext {
    /// The trace's id, 32 hexadecimal digits.
    pub fn trace_id(&self) -> &str {
        digits(&self.trace_id)
    }

    /// The span that called the gateway, 16 hexadecimal digits.
    pub fn parent_id(&self) -> &str {
        digits(&self.parent_id)
    }

    /// The gateway's own span, 16 hexadecimal digits.
    pub fn span_id(&self) -> &str {
        digits(&self.span_id)
    }

    /// Whether the caller records the trace.
    pub fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }

    /// The `traceparent` for the upstream.
    fn traceparent(&self) -> Value {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        text[3..35].copy_from_slice(&self.trace_id);
        text[36..52].copy_from_slice(&self.span_id);
        write_hex(&[self.flags], &mut text[53..]);
        Value::parse(&text).expect("hexadecimal digits and hyphens may stand in a field")
    }
}

/// Reads the trace of a request and makes its fields fit for the upstream.
pub fn carry_on(fields: &mut Fields, random: &Random) -> Option<TraceContext> {
    if !fields.contains(&header::TRACEPARENT) {
        fields.remove(&header::TRACESTATE);
        return None;
    }
    let parsed = fields.single(&header::TRACEPARENT).ok().and_then(|value| parse(value.as_bytes()));
    let Some((trace_id, parent_id, flags)) = parsed else {
        fields.remove(&header::TRACEPARENT);
        fields.remove(&header::TRACESTATE);
        return None;
    };
    let mut span_id = [0; 16];
    // An id of zeros is invalid; one set bit keeps it from that.
    write_hex(&(random.bits() | 1).to_be_bytes(), &mut span_id);
    let context = TraceContext { trace_id, parent_id, span_id, flags };
    fields.set(header::TRACEPARENT, context.traceparent());
    Some(context)
}

/// Trace id, parent id and flags of a valid `traceparent` (§3.2.2). Versions after 00 may have more fields behind.
fn parse(value: &[u8]) -> Option<([u8; 32], [u8; 16], u8)> {
    let version = hex_byte(value.get(..2)?)?;
    let known = value.get(..55)?;
    match version {
        0xff => return None,
        0 if value.len() != 55 => return None,
        _ if value.len() > 55 && value[55] != b'-' => return None,
        _ => {}
    }
    if known[2] != b'-' || known[35] != b'-' || known[52] != b'-' {
        return None;
    }
    let trace_id: [u8; 32] = known[3..35].try_into().ok()?;
    let parent_id: [u8; 16] = known[36..52].try_into().ok()?;
    let is_id = |id: &[u8]| id.iter().all(|byte| is_digit(*byte)) && id.iter().any(|byte| *byte != b'0');
    if !is_id(&trace_id) || !is_id(&parent_id) {
        return None;
    }
    // Only the flags that version 00 defines are passed on (§3.2.2.5); others must be zero.
    Some((trace_id, parent_id, hex_byte(&known[53..55])? & 1))
}

fn hex_byte(pair: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(pair).ok()?;
    if !pair.iter().all(|byte| is_digit(*byte)) {
        return None;
    }
    u8::from_str_radix(text, 16).ok()
}

/// Upper case is invalid (§3.2.2).
fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

fn digits(text: &[u8]) -> &str {
    std::str::from_utf8(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn carry(traceparent: &[&str], tracestate: &[&str]) -> (Option<TraceContext>, Fields) {
        let mut fields = Fields::default();
        for value in traceparent {
            fields.add(header::TRACEPARENT, Value::parse(value.as_bytes()).expect("a field value"));
        }
        for value in tracestate {
            fields.add(header::TRACESTATE, Value::parse(value.as_bytes()).expect("a field value"));
        }
        let context = carry_on(&mut fields, &Random::new());
        (context, fields)
    }

    #[test]
    fn a_trace_goes_on_with_a_span_of_our_own() {
        let (context, fields) = carry(&[GOOD], &["a=1", "b=2"]);
        let context = context.expect("a valid trace");
        assert_eq!(context.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(context.parent_id(), "b7ad6b7169203331");
        assert!(context.is_sampled());
        let sent = fields.single(&header::TRACEPARENT).expect("one").to_str().expect("text").to_owned();
        assert_eq!(sent, format!("00-{}-{}-01", context.trace_id(), context.span_id()));
        assert_ne!(context.span_id(), context.parent_id());
        assert_eq!(fields.get_all(&header::TRACESTATE).count(), 2);
    }

    #[test]
    fn a_later_version_is_read_as_far_as_we_know_it() {
        let (context, fields) = carry(&["cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03-more"], &[]);
        assert!(context.expect("a valid trace").is_sampled());
        let sent = fields.single(&header::TRACEPARENT).expect("one").to_str().expect("text").to_owned();
        assert!(sent.starts_with("00-") && sent.ends_with("-01") && sent.len() == 55, "{sent}");
    }

    #[test]
    fn an_invalid_trace_is_removed_with_its_state() {
        let upper = GOOD.to_uppercase();
        let longer = format!("{GOOD}-x");
        for bad in [
            &["00-00000000000000000000000000000000-b7ad6b7169203331-01"][..],
            &["00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"],
            &["ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
            &["cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x"],
            &["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g"],
            &["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-+1"],
            &["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"],
            &["00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01"],
            &[&upper],
            &[&longer],
            &[GOOD, GOOD],
            &[""],
            &["0"],
        ] {
            let (context, fields) = carry(bad, &["a=1"]);
            assert_eq!(context, None, "{bad:?}");
            assert!(fields.is_empty(), "{bad:?}");
        }
    }

    #[test]
    fn no_trace_is_made_up() {
        let (context, fields) = carry(&[], &["a=1"]);
        assert_eq!(context, None);
        assert!(fields.is_empty(), "a state without a parent means nothing");
    }
}
