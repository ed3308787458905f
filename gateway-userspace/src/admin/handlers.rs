//! What the gateway does for each command, and who may have it done.

use super::api::{self, Command, Role};
use super::audit::{self, Asked};
use super::peer::Caller;
use super::problem::Problem;
use super::resource::{Call, TOML};
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
    /// `portcullis deny import`
    async fn import_deny(
        &self,
        request: api::ImportDeny,
        caller: &Caller,
    ) -> Result<api::DenyImported, Problem>;
    /// `portcullis deny export`
    async fn export_deny(&self, request: api::ExportDeny) -> Result<api::DenyExported, Problem>;
    /// `portcullis deny remove`
    async fn remove_deny(&self, request: api::RemoveDeny) -> Result<api::Changed, Problem>;
    /// `portcullis top`
    async fn top(&self) -> Result<api::Top, Problem>;
    /// `portcullis routes`
    async fn routes(&self, request: api::ListRoutes) -> Result<api::Routes, Problem>;
    /// `portcullis config list` and `get`
    async fn tables(&self, request: api::GetTables) -> Result<api::Tables, Problem>;
    /// `portcullis config set`
    async fn set_table(&self, request: api::SetTable, author: &Author) -> Result<api::TableChanged, Problem>;
    /// `portcullis promote RULE`
    async fn promote_rule(&self, request: api::PromoteRule, author: &Author)
    -> Result<api::Changed, Problem>;
    /// `portcullis config delete`
    async fn delete_table(
        &self,
        request: api::DeleteTable,
        author: &Author,
    ) -> Result<api::TableChanged, Problem>;
}

/// An answer, as HTTP has it.
#[derive(Debug)]
pub struct Answer {
    /// 200, or 201 for what is new.
    pub status: u16,
    /// Of what was asked for.
    pub etag: Option<String>,
    /// Media type.
    pub content_type: &'static str,
    /// Body.
    pub body: Vec<u8>,
}

/// Carries a command out, if the caller may.
///
/// Every command that changes something, and every one that is not permitted, leaves a line in the audit log.
pub async fn run<B: Backend>(
    backend: &B,
    caller: &Caller,
    role: Role,
    call: Call,
) -> Result<Answer, Problem> {
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
) -> Result<Answer, Problem> {
    let keeper = backend.keeper();
    match call {
        Call::Status(_) => json(&backend.status().await?),
        Call::Bans(request) => json(&keeper.bans(request).await?),
        Call::Shadows(_) => json(&keeper.shadows().await?),
        Call::Verify(_) => json(&keeper.verify().await?),
        Call::Ban(request) => json(&keeper.ban(request, caller.by()).await?),
        Call::Promote(request) => json(&keeper.promote(request).await?),
        Call::PromoteRule(request) => {
            let changed = backend.promote_rule(request, &caller.author(api::PromoteRule::NAME)).await?;
            changes.clone_from(&changed.changes);
            json(&changed)
        }
        Call::Unban(request) => json(&keeper.unban(request).await?),
        Call::Suppressions(_) => json(&keeper.suppressions().await?),
        Call::Unsuppress(request) => json(&keeper.unsuppress(request).await?),
        Call::Offender(request) => json(&keeper.offender(request).await?),
        Call::Allow(request) => json(&keeper.allow(request).await?),
        Call::Allowed(_) => json(&keeper.allowed().await?),
        Call::Deny(_) => json(&keeper.lists().await?),
        Call::ExportDeny { command, bare } => {
            let exported = backend.export_deny(command).await?;
            match bare {
                true => Ok(Answer {
                    status: 200,
                    etag: None,
                    content_type: "text/plain; charset=utf-8",
                    body: exported.list.into_bytes(),
                }),
                false => json(&exported),
            }
        }
        Call::ImportDeny(request) => {
            let imported = backend.import_deny(request, caller).await?;
            changes.clone_from(&imported.changes);
            json(&imported)
        }
        Call::RemoveDeny(request) => {
            let removed = backend.remove_deny(request).await?;
            changes.clone_from(&removed.changes);
            json(&removed)
        }
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
        Call::Routes(request) => json(&backend.routes(request).await?),
        Call::Tables(request) => json(&backend.tables(request).await?),
        Call::Table(request, toml) => {
            // All of a kind, or the one table that is asked for.
            let one = request.name.is_some();
            let tables = backend.tables(request).await?;
            match tables.tables.as_slice() {
                [table] if toml && (one || table.name.is_none()) => {
                    let (etag, body) = (Some(table.etag.clone()), table.toml.clone().into_bytes());
                    Ok(Answer { status: 200, etag, content_type: TOML, body })
                }
                [table] if one || table.name.is_none() => {
                    Ok(Answer { etag: Some(table.etag.clone()), ..json(table)? })
                }
                _ => json(&tables),
            }
        }
        Call::SetTable(request) => {
            let changed = backend.set_table(request, &caller.author(api::SetTable::NAME)).await?;
            table_changed(&changed, changes)
        }
        Call::DeleteTable(request) => {
            let changed = backend.delete_table(request, &caller.author(api::DeleteTable::NAME)).await?;
            table_changed(&changed, changes)
        }
    }
}

/// What came of a change of the configuration, for the audit log.
fn came_of(reloaded: &api::Reloaded) -> Vec<String> {
    match reloaded.ok {
        true => reloaded.changes.clone(),
        false => vec![format!("nothing: {} problem(s)", reloaded.errors)],
    }
}

fn table_changed(changed: &api::TableChanged, changes: &mut Vec<String>) -> Result<Answer, Problem> {
    changes.clone_from(&changed.changes);
    let status = if changed.created && changed.number.is_some() { 201 } else { 200 };
    Ok(Answer { status, etag: changed.etag.clone(), ..json(changed)? })
}

fn json(answer: &impl serde::Serialize) -> Result<Answer, Problem> {
    let mut body = serde_json::to_vec(answer).map_err(|error| Problem::internal(error.to_string()))?;
    body.push(b'\n');
    Ok(Answer { status: 200, etag: None, content_type: "application/json", body })
}
