//! What the admin API asks of the gateway beside bans.

use std::time::{Instant, SystemTime};

use super::Gateway;
use super::feeds::{Fault, Import};
use crate::abuse::keeper;
use crate::admin::api;
use crate::admin::handlers::Backend;
use crate::admin::peer::Caller;
use crate::admin::problem::Problem;
use crate::config::history::Author;
use crate::config::model::AuthKind;

/// Sources that `top` shows.
const TOP_SOURCES: usize = 20;

impl Backend for Gateway {
    fn keeper(&self) -> &keeper::Handle {
        &self.keeper
    }

    async fn status(&self) -> Result<api::Status, Problem> {
        let (generation, snapshot) = self.live.current();
        let totals = self.registry.totals();
        let shared: Vec<_> = self.listeners.borrow().values().cloned().collect();
        let listeners = shared.iter().map(|listener| {
            let settings = listener.settings();
            api::ListenerStatus {
                name: settings.name.to_string(),
                address: listener.address().to_string(),
                tls: settings.tls.is_some(),
            }
        });
        let mut listeners: Vec<_> = listeners.collect();
        listeners.sort_by(|one, other| one.name.cmp(&other.name));
        let upstreams = snapshot.plans.iter().map(|plan| api::UpstreamStatus {
            name: plan.config.name.to_string(),
            targets: plan.config.targets.iter().map(|target| target.authority.to_string()).collect(),
        });
        let kernel = self.keeper.kernel_status().await.map_err(keeper::Refusal::from)?;
        let saved = self.keeper.saved().await.map_err(keeper::Refusal::from)?;
        Ok(api::Status {
            saved,
            version: String::from(env!("CARGO_PKG_VERSION")),
            pid: std::process::id(),
            uptime_s: self.started.elapsed().as_secs(),
            draining: self.readiness.is_draining(),
            config: self.path.display().to_string(),
            generation,
            last_reload_error: self.last_reload.error(),
            workers: self.workers.count(),
            listeners,
            admin: self.remote.address().map(|address| address.to_string()),
            kernel,
            requests: totals.requests,
            connections: totals.connections,
            bans: usize::try_from(
                self.keeper.counters().bans_active.load(std::sync::atomic::Ordering::Relaxed),
            )
            .unwrap_or(usize::MAX),
            upstreams: upstreams.collect(),
            resident_bytes: resident_bytes(),
        })
    }

    async fn reload(&self, request: api::Reload, author: &Author) -> Result<api::Reloaded, Problem> {
        let before = self.history.newest();
        let result = self.reload(author, request.dry_run);
        let before = before.filter(|before| !request.dry_run && self.history.newest() != Some(*before));
        Ok(super::configuration::reloaded(self.live.generation(), result, before))
    }

    async fn apply(&self, request: api::Apply, author: &Author) -> Result<api::Applied, Problem> {
        self.apply_command(request, author)
    }

    async fn roll_back(&self, request: api::RollBack, author: &Author) -> Result<api::Applied, Problem> {
        self.roll_back_command(request, author)
    }

    async fn history(&self) -> Result<api::History, Problem> {
        self.history_command()
    }

    async fn show_history(&self, request: api::ShowHistory) -> Result<api::Shown, Problem> {
        self.show_history_command(request)
    }

    async fn explain(&self, request: api::Explain) -> Result<api::Explanation, Problem> {
        super::explain::explain(self, request).await
    }

    async fn keys(&self) -> Result<api::Keys, Problem> {
        let (_, snapshot) = self.live.current();
        let keys = snapshot.config.auth.iter().flat_map(|auth| match &auth.kind {
            AuthKind::Jwt(_) => Vec::new(),
            AuthKind::ApiKey(config) => config
                .keys
                .iter()
                .map(|key| api::KeyView {
                    auth: auth.name.to_string(),
                    id: key.id.to_string(),
                    consumer: key.consumer.to_string(),
                    fingerprint: key.sha256[..4].iter().map(|byte| format!("{byte:02x}")).collect(),
                    state: key.terms.state(SystemTime::now()).into(),
                    expires: key.terms.expires.map(crate::observe::timestamp::format),
                })
                .collect(),
        });
        Ok(api::Keys { keys: keys.collect() })
    }

    async fn routes(&self, request: api::ListRoutes) -> Result<api::Routes, Problem> {
        self.routes_command(&request)
    }

    async fn tables(&self, request: api::GetTables) -> Result<api::Tables, Problem> {
        self.tables_command(&request)
    }

    async fn set_table(&self, request: api::SetTable, author: &Author) -> Result<api::TableChanged, Problem> {
        self.set_table_command(request, author)
    }

    async fn promote_rule(
        &self,
        request: api::PromoteRule,
        author: &Author,
    ) -> Result<api::Changed, Problem> {
        self.promote_rule_command(request, author).await
    }

    async fn delete_table(
        &self,
        request: api::DeleteTable,
        author: &Author,
    ) -> Result<api::TableChanged, Problem> {
        self.delete_table_command(request, author)
    }

    async fn import_deny(
        &self,
        request: api::ImportDeny,
        caller: &Caller,
    ) -> Result<api::DenyImported, Problem> {
        let own = caller.holder().map(|holder| holder.address.ip());
        let import = Import { request, by: format!("import by {caller}"), own };
        Ok(self.feeds.import(import).await?)
    }

    async fn export_deny(&self, request: api::ExportDeny) -> Result<api::DenyExported, Problem> {
        Ok(self.feeds.export(request).await?)
    }

    async fn remove_deny(&self, request: api::RemoveDeny) -> Result<api::Changed, Problem> {
        Ok(self.feeds.remove(request).await?)
    }

    async fn top(&self) -> Result<api::Top, Problem> {
        let stopped = keeper::Refusal::from;
        let kernel = self.keeper.kernel_status().await.map_err(stopped)?;
        let sources = self.keeper.sources(TOP_SOURCES).await.map_err(stopped)?;
        let shed = self.keeper.shed(TOP_SOURCES).await.map_err(stopped)?;
        let totals = self.registry.totals();
        let routes = self.registry.routes().into_iter().map(|route| api::RouteTop {
            route: if route.name.is_empty() { String::from("(none)") } else { route.name.to_string() },
            by_class: route.by_class,
            seconds: route.seconds,
        });
        Ok(api::Top {
            at_ms: u64::try_from(Instant::now().duration_since(self.started).as_millis()).unwrap_or(u64::MAX),
            routes: routes.collect(),
            kernel: kernel.counters,
            sources,
            shed,
            connections: totals.connections,
        })
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Problem {
        let detail = super::chain(&fault);
        match fault {
            Fault::Name(_) | Fault::Format(_) | Fault::NoTime | Fault::Unfit(_) => {
                Problem::bad_request(detail)
            }
            Fault::Unknown(_) => Problem::not_found(detail),
            Fault::Configured { .. } => Problem::conflict(detail),
            Fault::Kept(..) => Problem::internal(detail),
            Fault::Refused(refusal) => refusal.into(),
            Fault::Stopped => Problem::unavailable(detail),
        }
    }
}

/// Resident memory of this process.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let resident = pages.and_then(|statm| statm.split(' ').nth(1)?.parse::<u64>().ok());
    resident.unwrap_or(0) * rustix::param::page_size() as u64
}
