//! The body of a request on its way to the upstream: counted, never buffered.
//!
//! Size, upload rate, pauses and parts of a multipart body are watched while the bytes pass. When a limit is reached,
//! the body fails; the upstream sees its request cut off, and [`RequestBody::watch`] tells whoever forwards it what
//! the client is to be answered. A `Content-Length` over the limit is refused before the upstream sees anything.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::hop_by_hop;
use super::incoming::Incoming;
use super::rejection::Rejection;
use crate::header::{Fields, Name};
use crate::policy::request_limits::config::Config;
use crate::policy::request_limits::meter::Meter;
use crate::policy::request_limits::parts::Counter;

/// Why a body failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// More bytes than the route allows.
    #[error("the request body is too large")]
    TooLarge,
    /// More parts than the route allows.
    #[error("the request body has too many parts")]
    TooManyParts,
    /// Slower than the least rate, or a pause that was too long.
    #[error("the request body arrived too slowly")]
    TooSlow,
    /// The client went away or broke the framing.
    #[error("the request body is incomplete")]
    Incomplete,
}

impl From<BodyFault> for Rejection {
    fn from(fault: BodyFault) -> Rejection {
        match fault {
            BodyFault::TooLarge => Rejection::BodyTooLarge,
            BodyFault::TooManyParts => Rejection::TooManyParts,
            BodyFault::TooSlow => Rejection::BodyTooSlow,
            BodyFault::Incomplete => Rejection::BodyIncomplete,
        }
    }
}

/// Where a body says how it fares; stays readable when the body is gone.
#[derive(Debug, Clone, Default)]
pub struct Watch(Option<Rc<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    fault: Cell<Option<BodyFault>>,
    bytes: Cell<u64>,
}

impl Watch {
    /// Why the body failed, if it did.
    pub fn fault(&self) -> Option<BodyFault> {
        self.0.as_ref()?.fault.get()
    }

    /// Bytes that have come so far.
    pub fn bytes(&self) -> u64 {
        self.0.as_ref().map_or(0, |seen| seen.bytes.get())
    }
}

/// A request body under the limits of its route.
///
/// A request without a body costs nothing; one with a body costs what its [`Watch`] reads, and a timer only if it
/// does not arrive at once.
#[derive(Debug)]
pub struct RequestBody {
    incoming: Incoming,
    watch: Watch,
    /// Bytes that may still come.
    left: u64,
    parts: Option<Counter>,
    limits: Arc<Config>,
    /// Begins when the body is first waited for.
    meter: Option<Meter>,
    /// When the last frame was given to a reader who has not asked for the next one.
    gave_at: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    refused_trailers: Option<Arc<[Name]>>,
}

impl RequestBody {
    /// Takes the body of a request with these fields; refuses it if the fields already say that it breaks a limit.
    pub fn new(incoming: Incoming, fields: &Fields, limits: &Arc<Config>) -> Result<RequestBody, Rejection> {
        // `Content-Length` has been checked; the least size is what it says.
        if incoming.size_hint().lower() > limits.body_bytes_max {
            return Err(Rejection::BodyTooLarge);
        }
        let empty = incoming.is_end_stream();
        let parts = match limits.parts_max {
            Some(parts_max) if !empty => {
                Counter::for_fields(fields, parts_max).map_err(|_| Rejection::BadFraming)?
            }
            _ => None,
        };
        Ok(RequestBody {
            incoming,
            watch: Watch((!empty).then(Rc::default)),
            left: limits.body_bytes_max,
            parts,
            limits: limits.clone(),
            meter: None,
            gave_at: None,
            timer: None,
            refused_trailers: None,
        })
    }

    /// Trailers that are dropped beside those that never may be any: the names of the route's identity fields.
    pub fn refuse_trailers(&mut self, names: Arc<[Name]>) {
        self.refused_trailers = Some(names);
    }

    /// Where it will say how it fares.
    pub fn watch(&self) -> Watch {
        self.watch.clone()
    }

    fn fail(&mut self, fault: BodyFault) -> BodyFault {
        if let Some(seen) = &self.watch.0 {
            seen.fault.set(Some(fault));
        }
        fault
    }

    /// Nothing is there: the client has time until the meter's deadline.
    fn poll_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let config = &self.limits;
        let meter = self.meter.get_or_insert_with(|| Meter::new(config, Instant::now().into_std()));
        loop {
            let deadline = Instant::from_std(meter.deadline());
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            // A deadline that moved away is noticed when the timer fires.
            if timer.is_elapsed() {
                timer.as_mut().reset(deadline);
            }
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
        }
    }

    /// Counts bytes that came.
    fn count(&mut self, data: &Bytes) -> Result<(), BodyFault> {
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        if let Some(seen) = &self.watch.0 {
            seen.bytes.set(seen.bytes.get().saturating_add(length));
        }
        self.left = self.left.checked_sub(length).ok_or(BodyFault::TooLarge)?;
        if let Some(meter) = &mut self.meter {
            let now = Instant::now();
            meter.step(now.into_std(), data.len()).map_err(|_| BodyFault::TooSlow)?;
            self.gave_at = Some(now);
        }
        if let Some(parts) = &mut self.parts {
            parts.step(data).map_err(|_| BodyFault::TooManyParts)?;
        }
        Ok(())
    }

    /// As in a header section, names with an underscore go: an upstream may not tell them from those with a hyphen.
    fn filter_trailers(&self, trailers: http::HeaderMap) -> http::HeaderMap {
        let refused = self.refused_trailers.as_deref().unwrap_or_default();
        let mut fields = Fields::from_raw(trailers);
        let bad = |name: &&Name| {
            !hop_by_hop::may_be_trailer(name) || name.as_str().contains('_') || refused.contains(name)
        };
        let names: Vec<Name> = fields.iter().map(|(name, _)| name).filter(bad).cloned().collect();
        for name in &names {
            fields.remove(name);
        }
        fields.into_raw()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let this = &mut *self;
        if let Some(fault) = this.watch.fault() {
            return Poll::Ready(Some(Err(fault)));
        }
        if let (Some(meter), Some(gave_at)) = (&mut this.meter, this.gave_at.take()) {
            meter.excuse(gave_at.elapsed());
        }
        let frame = match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(_))) => return Poll::Ready(Some(Err(this.fail(BodyFault::Incomplete)))),
            Poll::Pending => {
                ready!(this.poll_slow(cx));
                return Poll::Ready(Some(Err(this.fail(BodyFault::TooSlow))));
            }
        };
        let frame = match frame.into_data() {
            Ok(data) => match this.count(&data) {
                Ok(()) => Frame::data(data),
                Err(fault) => return Poll::Ready(Some(Err(this.fail(fault)))),
            },
            Err(other) => match other.into_trailers() {
                Ok(trailers) => Frame::trailers(this.filter_trailers(trailers)),
                Err(other) => other,
            },
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
