//! HTTP/1 messages as bytes (RFC 9112): what a head says, where a body ends, and how both are written. No sockets.
//!
//! What is accepted from a sender, and what is refused:
//!
//! | in a message | here |
//! |---|---|
//! | a line that ends with LF alone | accepted in the head of an answer (RFC 9112 §2.2), refused in chunked framing |
//! | a folded field line, white space before the colon | refused (§5.1, §5.2) |
//! | a body after the answer to HEAD, in 204 and 304 | none is read; what follows closes the connection (§6.3) |
//! | `Transfer-Encoding` other than `chunked` once, or in HTTP/1.0 | refused: where it ends is unclear (§6.1) |
//! | `Transfer-Encoding` beside `Content-Length` | refused: that is how answers are smuggled (§6.3, §11.2) |
//! | several `Content-Length` | accepted if all say the same (§6.3), refused otherwise |
//! | `Content-Length` that is more than digits | refused, a sign included (RFC 9110 §8.6) |
//! | an answer that switches protocols (101) | refused: nobody asked for it |
//! | interim answers (other 1xx) | skipped, however many: the wait for the final one has a deadline |
//! | neither | the body of an answer ends with the connection |
//! | chunk extensions | skipped, up to [`chunked::OVERHEAD_MAX`] in all |
//! | space or tab after a chunk's size | skipped: old servers pad with it |

pub mod answer;
pub mod chunked;
pub mod framing;
pub mod write;
