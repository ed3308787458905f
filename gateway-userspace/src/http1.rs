//! HTTP/1 messages as bytes (RFC 9112): what a head says, where a body ends, and how both are written; and the one
//! buffer of a thread that they are read through.
//!
//! What is accepted from a sender, and what is refused:
//!
//! | in a message | from a client | from an upstream |
//! |---|---|---|
//! | a line that ends with LF alone | refused (RFC 9112 §2.2 lets one accept it) | accepted in a head, refused in chunked framing |
//! | empty lines before the first line | skipped (§2.2) | skipped |
//! | a folded field line, white space before the colon | refused (§5.1, §5.2) | refused |
//! | a version other than 1.0 and 1.1 | refused | refused |
//! | a target that is no URI | refused (§3.2) | |
//! | `Transfer-Encoding` other than `chunked` once, or in HTTP/1.0 | refused: where it ends is unclear (§6.1) | refused |
//! | `Transfer-Encoding` beside `Content-Length` | refused: that is how requests are smuggled (§6.3, §11.2) | refused |
//! | several `Content-Length` | refused | accepted if all say the same (§6.3) |
//! | `Content-Length` that is more than digits | refused, a sign included (RFC 9110 §8.6) | refused |
//! | `Content-Length` of more than 2^63 - 1 | refused: others read it into a signed number | refused |
//! | neither | no body | the body ends with the connection |
//! | a body after the answer to HEAD, in 204 and 304 | | none is read; what follows closes the connection (§6.3) |
//! | an answer that switches protocols (101) | | refused: nobody asked for it |
//! | interim answers (other 1xx) | | skipped, however many: the wait for the final one has a deadline |
//! | chunk extensions | skipped, up to [`chunked::OVERHEAD_MAX`] in all | likewise |
//! | up to 16 spaces or tabs after a chunk's size | skipped: old software pads with them | likewise |

pub mod answer;
pub mod body;
pub mod chunked;
pub mod fields;
pub mod framing;
pub mod outgoing;
pub mod partial;
pub mod read;
pub mod request;
pub mod write;
