//! What the gateway does for each command, and who may have it done.

use super::api::{self, Command, Role};
use super::audit::{self, Asked};
use super::peer::Caller;
use super::problem::Problem;
use super::resource::Call;
use crate::abuse::keeper;
use crate::config::history::Author;

/// The gateway behind the admin API. One thread calls it, so nothing in it needs to be `Send`.
///
/// What is about bans goes to the keeper as it is; the rest is composed by the gateway.
#[expect(async_fn_in_trait, reason = "the server is generic over it and stays on the control thread")]
pub trait Backend: 'static {
    /// The abuse loop.
    fn keeper(&self) -> &keeper::Handle;
    /// `portcullis status`
    async fn status(&self) -> Result<api::Status, Problem>;
    /// `portcullis reload`
    async fn reload(&self, request: api::Reload, author: &Author) -> Result<api::Reloaded, Problem>;
    /// `portcullis explain`
    async fn explain(&self, request: api::Explain) -> Result<api::Explanation, Problem>;
    /// `portcullis key list`
    async fn keys(&self) -> Result<api::Keys, Problem>;
    /// `portcullis top`
    async fn top(&self) -> Result<api::Top, Problem>;
}

/// Carries a command out, if the caller may, and returns the answer's JSON.
///
/// Every command that changes something, and every one that is not permitted, leaves a line in the audit log.
pub async fn run<B: Backend>(
    backend: &B,
    caller: &Caller,
    role: Role,
    call: Call,
) -> Result<Vec<u8>, Problem> {
    let (signature, request) = (call.signature(), call.request());
    let asked = Asked { caller, role: Some(role), command: signature.name, request: &request };
    if role < signature.role {
        audit::not_permitted(&asked);
        return Err(Problem::forbidden(signature.name, caller, Some(role), signature.role));
    }
    let mut changes = Vec::new();
    let result = carry_out(backend, caller, call, &mut changes).await;
    if signature.mutates {
        match &result {
            Ok(_) => audit::done(&asked, &changes),
            Err(problem) => audit::refused(&asked, problem),
        }
    }
    result
}

/// `changes` takes what the audit log says of the change.
async fn carry_out<B: Backend>(
    backend: &B,
    caller: &Caller,
    call: Call,
    changes: &mut Vec<String>,
) -> Result<Vec<u8>, Problem> {
    let keeper = backend.keeper();
    match call {
        Call::Status(_) => json(&backend.status().await?),
        Call::Bans(request) => json(&keeper.bans(request).await?),
        Call::Ban(request) => json(&keeper.ban(request, caller.by()).await?),
        Call::Unban(request) => json(&keeper.unban(request).await?),
        Call::Allow(request) => json(&keeper.allow(request).await?),
        Call::Allowed(_) => json(&keeper.allowed().await?),
        Call::Reload(request) => {
            let reloaded = backend.reload(request, &caller.author(api::Reload::NAME)).await?;
            changes.clone_from(&reloaded.changes);
            json(&reloaded)
        }
        Call::Explain(request) => json(&backend.explain(request).await?),
        Call::Keys(_) => json(&backend.keys().await?),
        Call::Top(_) => json(&backend.top().await?),
    }
}

fn json(answer: &impl serde::Serialize) -> Result<Vec<u8>, Problem> {
    let mut body = serde_json::to_vec(answer).map_err(|error| Problem::internal(error.to_string()))?;
    body.push(b'\n');
    Ok(body)
}
