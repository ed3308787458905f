//! What the gateway does for each command, and who may have it done.

use super::api::{self, Command};
use super::peer::{Caller, Role};
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
    /// `portcullis apply`
    async fn apply(&self, request: api::Apply, author: &Author) -> Result<api::Applied, Problem>;
    /// `portcullis rollback`
    async fn roll_back(&self, request: api::RollBack, author: &Author) -> Result<api::Applied, Problem>;
    /// `portcullis history`
    async fn history(&self) -> Result<api::History, Problem>;
    /// `portcullis history show`
    async fn show_history(&self, request: api::ShowHistory) -> Result<api::Shown, Problem>;
    /// `portcullis explain`
    async fn explain(&self, request: api::Explain) -> Result<api::Explanation, Problem>;
    /// `portcullis key list`
    async fn keys(&self) -> Result<api::Keys, Problem>;
    /// `portcullis top`
    async fn top(&self) -> Result<api::Top, Problem>;
}

/// Carries a command out, if the caller may, and returns the answer's JSON.
///
/// Every command that changes something, and every one that is not permitted, leaves a line with the target `audit`.
pub async fn run<B: Backend>(
    backend: &B,
    caller: Caller,
    role: Role,
    call: Call,
) -> Result<Vec<u8>, Problem> {
    let (name, mutates, request) = (call.name(), call.mutates(), call.request());
    let Caller { uid, gid, pid } = caller;
    let pid = pid.unwrap_or_default();
    let needed = if mutates { Role::Operator } else { Role::Viewer };
    if role < needed {
        tracing::warn!(target: "audit", uid, gid, pid, command = name, request, "not permitted");
        let who = if mutates { "operators" } else { "operators and viewers" };
        return Err(Problem::forbidden(format!(
            "{name} is for root, the gateway's own user, and {who} of [admin]"
        )));
    }
    let mut changes = Vec::new();
    let result = carry_out(backend, caller, call, &mut changes).await;
    if mutates {
        match &result {
            Ok(_) => {
                let changes = in_one_line(&changes);
                tracing::info!(target: "audit", uid, gid, pid, command = name, request, changes, "done");
            }
            Err(problem) => {
                let refused = &problem.detail;
                tracing::info!(target: "audit", uid, gid, pid, command = name, request, refused, "refused");
            }
        }
    }
    result
}

/// `changes` takes what the audit log says of the change.
async fn carry_out<B: Backend>(
    backend: &B,
    caller: Caller,
    call: Call,
    changes: &mut Vec<String>,
) -> Result<Vec<u8>, Problem> {
    let keeper = backend.keeper();
    match call {
        Call::Status(_) => json(&backend.status().await?),
        Call::Bans(request) => json(&keeper.bans(request).await?),
        Call::Ban(request) => json(&keeper.ban(request, caller.uid).await?),
        Call::Unban(request) => json(&keeper.unban(request).await?),
        Call::Allow(request) => json(&keeper.allow(request).await?),
        Call::Allowed(_) => json(&keeper.allowed().await?),
        Call::Reload(request) => {
            let reloaded = backend.reload(request, &caller.author(api::Reload::NAME)).await?;
            *changes = came_of(&reloaded);
            json(&reloaded)
        }
        Call::Apply(request) => {
            let applied = backend.apply(request, &caller.author(api::Apply::NAME)).await?;
            *changes = came_of(&applied.reloaded);
            json(&applied)
        }
        Call::RollBack(request) => {
            let applied = backend.roll_back(request, &caller.author(api::RollBack::NAME)).await?;
            *changes = came_of(&applied.reloaded);
            json(&applied)
        }
        Call::History(_) => json(&backend.history().await?),
        Call::ShowHistory(request) => json(&backend.show_history(request).await?),
        Call::Explain(request) => json(&backend.explain(request).await?),
        Call::Keys(_) => json(&backend.keys().await?),
        Call::Top(_) => json(&backend.top().await?),
    }
}

/// What came of a change of the configuration, for the audit log.
fn came_of(reloaded: &api::Reloaded) -> Vec<String> {
    match reloaded.ok {
        true => reloaded.changes.clone(),
        false => vec![format!("nothing: {} problem(s)", reloaded.errors)],
    }
}

/// What changed, for the audit log: not more than a screen of it.
fn in_one_line(changes: &[String]) -> String {
    const CHANGES_MAX: usize = 40;
    let mut line = changes[..changes.len().min(CHANGES_MAX)].join("; ");
    if changes.len() > CHANGES_MAX {
        line.push_str(&format!("; and {} more", changes.len() - CHANGES_MAX));
    }
    line
}

fn json(answer: &impl serde::Serialize) -> Result<Vec<u8>, Problem> {
    let mut body = serde_json::to_vec(answer).map_err(|error| Problem::internal(error.to_string()))?;
    body.push(b'\n');
    Ok(body)
}
