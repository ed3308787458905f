//! The client's body.

#[path = "../../../../../gateway-userspace/src/upstream/body/request.rs"]
#[expect(dead_code, reason = "the gateway watches how far a body has come")]
mod request;

pub(super) use gateway_userspace::upstream::body::ClientBody;
pub(super) use request::RequestBody;
