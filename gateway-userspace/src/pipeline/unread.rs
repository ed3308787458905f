//! The answer where no request could be read, or where one panicked, and what is written down about it.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::abuse::shadow::Outcome;
use crate::abuse::standing::Standing;
use crate::header::X_REQUEST_ID;
use crate::http::answer;
use crate::http::rejection::Rejection;
use crate::observe::access_log::Entry;
use crate::observe::request_id;
use crate::request::{Peer, RequestId};
use crate::response;
use crate::tls::Ja4;
use crate::worker::Worker;

/// What every answer carries, outside of any route. The line in the log has no method, host or path, for none was read;
/// a request that panicked has its line already.
pub fn refuse(worker: &Worker, peer: &Peer, rejection: &Rejection) -> (response::Head, Bytes) {
    let now = SystemTime::now();
    let view = worker.view();
    let panicked = if *rejection == Rejection::Internal { worker.panicked.take() } else { None };
    let is_written = panicked.is_some();
    let id = panicked.unwrap_or_else(|| request_id::mint(now, &worker.random));
    let errors = &view.shared.config.errors;
    let (mut head, body) = answer::render(rejection, Some(&id), "", now, errors);
    view.shared.headers.apply(&mut head);
    head.fields.set(X_REQUEST_ID, id.0.clone());
    if !is_written {
        match worker.deny.glance(peer.source.ip().to_canonical(), peer.socket_address()) {
            Standing::Free | Standing::Paroled(_) => log(worker, peer, rejection, &id, now, body.len(), None),
            Standing::Observed(shadows) => {
                shadows.count(Outcome::Refused);
                log(worker, peer, rejection, &id, now, body.len(), Some(shadows.ban()));
            }
            // A banned client's bytes are not worth a line each.
            Standing::Banned(_) => {}
        }
    }
    (head, body)
}

fn log(
    worker: &Worker,
    peer: &Peer,
    rejection: &Rejection,
    id: &RequestId,
    now: SystemTime,
    body_bytes: usize,
    shadow: Option<u32>,
) {
    let Some(log) = worker.log() else { return };
    let appearance = rejection.appearance();
    log.write(&Entry {
        time: now,
        method: "",
        scheme: if peer.tls.is_some() { "https" } else { "http" },
        host: "",
        path: "",
        version: "",
        route: None,
        status: appearance.status,
        duration: Duration::ZERO,
        response_bytes: body_bytes as u64,
        request_bytes: 0,
        client: peer.source.ip().to_canonical(),
        user_agent: None,
        referer: None,
        ja4: peer.ja4().map(Ja4::as_str),
        user: None,
        request_id: id.as_str(),
        trace: None,
        upstream: None,
        limit: None,
        shadow,
        ban: None,
        reason: Some(appearance.reason),
        detail: None,
    });
}
