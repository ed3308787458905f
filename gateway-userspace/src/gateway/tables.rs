//! Tables of the configuration by the admin API: looked up in the files, changed in the one file that is kept for that,
//! and put in force as a whole by [`Gateway::apply`].

use std::collections::HashMap;
use std::path::PathBuf;

use super::Gateway;
use super::apply::{Applied, Refused};
use crate::admin::api;
use crate::admin::problem::Problem;
use crate::config::file::SECTIONS;
use crate::config::files::{Files, Fingerprint};
use crate::config::history::Author;
use crate::config::overlay::Overlay;
use crate::config::store::{Edit, Expected};
use crate::config::tables::{self, Table};
use crate::config::{diff, managed};
use crate::diagnostic::render;

/// Settings that say whom the gateway obeys are not for those whom it obeys: a certificate that somebody stole must not
/// be able to admit another.
const BY_HAND_ONLY: &str = "admin";

/// A table that is to be changed.
struct Target {
    kind: &'static str,
    name: Option<String>,
    /// As it is; none if it is not there.
    found: Option<Table>,
    /// The file that the API writes, relative to the main file's folder, and its text, if it is there.
    path: PathBuf,
    text: Option<String>,
}

impl Gateway {
    /// `portcullis config list` and `get`
    pub fn tables_command(&self, request: &api::GetTables) -> Result<api::Tables, Problem> {
        if let Some(kind) = &request.kind {
            known(kind, request.name.as_deref())?;
        }
        let managed = self.managed();
        let (_, found) = self.found();
        let wanted = |table: &Table| {
            request.kind.as_deref().is_none_or(|kind| kind == table.kind)
                && (request.name.is_none() || request.name == table.name)
        };
        let tables: Vec<_> = found.into_iter().filter(wanted).map(|table| view(table, &managed)).collect();
        match (&request.kind, &request.name) {
            (Some(kind), name) if tables.is_empty() && (name.is_some() || !is_named(kind)) => {
                Err(missing(kind, name.as_deref()))
            }
            _ => Ok(api::Tables { tables }),
        }
    }

    /// `portcullis config set`
    pub fn set_table_command(
        &self,
        request: api::SetTable,
        author: &Author,
    ) -> Result<api::TableChanged, Problem> {
        let api::SetTable { kind, name, toml, values, only, dry_run } = request;
        let target = self.target(&kind, name, &only)?;
        let table = match (toml, values) {
            (Some(text), None) => managed::from_toml(&text),
            (None, Some(values)) => managed::from_json(&values),
            _ => return Err(Problem::bad_request("a table comes as `toml` or as `values`, one of them")),
        };
        let text = target.text.as_deref().unwrap_or_default();
        let text = managed::put(text, target.kind, target.name.as_deref(), table.map_err(unusable)?);
        let text = text.map_err(unusable)?;
        self.change_table(target, Some(text), author, dry_run)
    }

    /// `portcullis config delete`
    pub fn delete_table_command(
        &self,
        request: api::DeleteTable,
        author: &Author,
    ) -> Result<api::TableChanged, Problem> {
        let api::DeleteTable { kind, name, only, dry_run } = request;
        let target = self.target(&kind, name, &only)?;
        if target.found.is_none() {
            return Err(missing(&kind, target.name.as_deref()));
        }
        let text = target.text.as_deref().unwrap_or_default();
        let text = managed::remove(text, target.kind, target.name.as_deref()).map_err(unusable)?;
        self.change_table(target, text, author, dry_run)
    }

    /// `portcullis promote RULE`: the file first, so that a reload does not disarm it, then the bans that it has made.
    pub async fn promote_rule_command(
        &self,
        request: api::PromoteRule,
        author: &Author,
    ) -> Result<api::Changed, Problem> {
        let api::PromoteRule { rule, force, dry_run } = request;
        let counted = self.keeper.may_arm(rule.clone(), force).await?;
        let (_, found) = self.found();
        let found = found.into_iter().find(|table| table.kind == "ban" && table.name.as_ref() == Some(&rule));
        let table = found.ok_or_else(|| missing("ban", Some(&rule)))?;
        if table.file != self.managed() {
            return Err(Problem::conflict(format!(
                "[ban.{rule}] stands at {}:{}, a file that is written by hand; have `mode = \"enforce\"` there and run \
                 portcullis reload ({counted})",
                table.file.display(),
                table.line
            )));
        }
        let mut toml = managed::from_toml(&table.toml).map_err(unusable)?;
        toml.insert("mode", toml_edit::value("enforce"));
        let only = api::Precondition { if_match: Some(table.etag), if_none_match: None };
        let (kind, name) = (String::from("ban"), Some(rule.clone()));
        let set = api::SetTable { kind, name, toml: Some(toml.to_string()), values: None, only, dry_run };
        let set = self.set_table_command(set, author)?;
        let mut changes = set.changes;
        changes.push(counted);
        if !dry_run {
            changes.extend(self.keeper.arm(rule, force).await?);
        }
        Ok(api::Changed { changes, undo: set.undo })
    }

    /// `portcullis routes`
    pub fn routes_command(&self, request: &api::ListRoutes) -> Result<api::Routes, Problem> {
        let (_, snapshot) = self.live.current();
        let (_, found) = self.found();
        let found = found.iter().filter(|table| table.kind == "route");
        let found: HashMap<_, _> =
            found.map(|table| (table.name.as_deref().unwrap_or_default(), table)).collect();
        let counted = self.registry.routes();
        let counted: HashMap<&str, _> = counted.iter().map(|route| (&*route.name, route)).collect();
        let mut routes: Vec<_> = snapshot
            .config
            .route
            .iter()
            .filter(|route| request.name.as_deref().is_none_or(|name| *name == *route.name))
            .map(|route| {
                let settings = diff::settings::of_route(route);
                let value = |key: &str| {
                    let found = settings.iter().find(|(name, _)| name == key);
                    found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
                };
                let table = found.get(&*route.name);
                let requests = counted.get(&*route.name);
                api::RouteView {
                    name: route.name.to_string(),
                    at: table.map(|table| format!("{}:{}", table.file.display(), table.line)),
                    matches: route
                        .matches
                        .iter()
                        .map(|pattern| diff::settings::show_pattern(&pattern.value))
                        .collect(),
                    to: ["upstream", "to", "respond"].iter().find_map(|key| value(key)).unwrap_or_default(),
                    requests: requests.map(|route| route.by_class).unwrap_or_default(),
                    settings,
                }
            })
            .collect();
        routes.sort_by(|one, other| one.name.cmp(&other.name));
        match &request.name {
            Some(name) if routes.is_empty() => {
                Err(Problem::not_found(format!("there is no route `{name}` in force")))
            }
            _ => Ok(api::Routes { routes }),
        }
    }

    /// The file that the API writes, relative to the main file's folder.
    fn managed(&self) -> PathBuf {
        let (_, snapshot) = self.live.current();
        snapshot.config.admin.managed.clone()
    }

    /// The files on the disk and the tables in them.
    fn found(&self) -> (Files, Vec<Table>) {
        let files = Files::read(&self.path, &Overlay::default());
        let tables = tables::tables(&files);
        (files, tables)
    }

    /// Looks a table up that is to be changed, and whether it may be.
    fn target(&self, kind: &str, name: Option<String>, only: &api::Precondition) -> Result<Target, Problem> {
        let kind = known(kind, name.as_deref())?;
        if kind == BY_HAND_ONLY {
            return Err(Problem::conflict(
                "[admin] is changed by hand only: whom the gateway obeys is not for those whom it obeys",
            ));
        }
        one(kind, name.as_deref())?;
        let path = self.managed();
        let (files, found) = self.found();
        let found = found.into_iter().find(|table| table.kind == kind && table.name == name);
        if let Some(table) = found.as_ref().filter(|table| table.file != path) {
            let title = title(kind, name.as_deref());
            let (file, line) = (table.file.display(), table.line);
            return Err(Problem::conflict(format!(
                "{title} stands at {file}:{line}, a file that is written by hand; edit it there and run portcullis \
                 reload, or move it to {}",
                path.display()
            )));
        }
        let etag = found.as_ref().map(|table| table.etag.as_str());
        holds(only, etag).map_err(|detail| {
            Problem::precondition_failed(format!("{} {detail}", title(kind, name.as_deref())))
        })?;
        let text = files.iter().find(|file| file.path == path).map(|file| file.text.to_string());
        Ok(Target { kind, name, found, path, text })
    }

    fn change_table(
        &self,
        target: Target,
        text: Option<String>,
        author: &Author,
        dry_run: bool,
    ) -> Result<api::TableChanged, Problem> {
        let expected = match &target.text {
            Some(text) => Expected::Is(Fingerprint::of(text.as_bytes())),
            None => Expected::Absent,
        };
        let edit = Edit { path: target.path.clone(), expected, text };
        let Applied { reloaded, number, before } = match self.apply(&[edit], author, dry_run) {
            Ok(applied) => applied,
            Err(Refused::Invalid(report)) => return Err(Problem::invalid(&report, &self.path)),
            Err(refused) => return Err(refused.into()),
        };
        let Target { kind, name, found, path, .. } = target;
        let arguments = name.as_deref().map_or_else(|| kind.to_owned(), |name| format!("{kind} {name}"));
        let created = found.is_none();
        let undo = match (&found, before) {
            (None, _) => Some(format!("portcullis config delete {arguments}")),
            // What is hidden here is in the history.
            (Some(table), before) if table.toml.contains(managed::CONCEALED) => {
                before.map(|before| format!("portcullis rollback {before}"))
            }
            (Some(table), _) => {
                Some(format!("portcullis config set {arguments} --toml {}", quoted(&table.toml)))
            }
        };
        let etag = if dry_run { None } else { self.etag_of(kind, name.as_deref()) };
        Ok(api::TableChanged {
            created,
            changes: reloaded.changes,
            report: render::human(&reloaded.report, false),
            generation: self.live.generation(),
            number,
            etag,
            file: path.display().to_string(),
            undo: undo.filter(|_| !dry_run),
        })
    }

    fn etag_of(&self, kind: &str, name: Option<&str>) -> Option<String> {
        let (_, found) = self.found();
        let found = found.into_iter().find(|table| table.kind == kind && table.name.as_deref() == name);
        found.map(|table| table.etag)
    }
}

fn view(table: Table, managed: &std::path::Path) -> api::Table {
    api::Table {
        managed: table.file == *managed && table.kind != BY_HAND_ONLY,
        kind: table.kind.to_owned(),
        name: table.name,
        file: table.file.display().to_string(),
        line: table.line,
        etag: table.etag,
        values: table.values,
        toml: table.toml,
    }
}

fn is_named(kind: &str) -> bool {
    tables::section(kind).is_some_and(|section| section.named)
}

/// The kind, if there is one of that name and it takes a name or none.
fn known(kind: &str, name: Option<&str>) -> Result<&'static str, Problem> {
    let Some(section) = tables::section(kind) else {
        let kinds: Vec<&str> = SECTIONS.iter().map(|section| section.name).collect();
        return Err(Problem::not_found(format!("there is no kind `{kind}`; there are {}", kinds.join(", "))));
    };
    match (section.named, name) {
        (false, Some(_)) => Err(Problem::not_found(format!("there is only one [{kind}], without a name"))),
        _ => Ok(section.name),
    }
}

/// Without a name the whole section would be replaced: every table of it.
fn one(kind: &str, name: Option<&str>) -> Result<(), Problem> {
    match is_named(kind) && name.is_none() {
        true => Err(Problem::bad_request(format!("[{kind}] holds tables by name: say which"))),
        false => Ok(()),
    }
}

fn title(kind: &str, name: Option<&str>) -> String {
    name.map_or_else(|| format!("[{kind}]"), |name| format!("[{kind}.{name}]"))
}

/// For a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.trim_end().replace('\'', "'\\''"))
}

/// Whether a table with this tag, or none, is what the caller wants it to be (RFC 9110 §13.1.1, §13.1.2).
fn holds(only: &api::Precondition, etag: Option<&str>) -> Result<(), &'static str> {
    let is_listed = |list: &str| {
        let mut tags = list.split(',').map(|tag| tag.trim().trim_start_matches("W/").trim_matches('"'));
        etag.is_some_and(|etag| tags.any(|tag| tag == "*" || tag == etag))
    };
    match (&only.if_match, &only.if_none_match) {
        (Some(list), _) if !is_listed(list) && etag.is_none() => Err("is not there"),
        (Some(list), _) if !is_listed(list) => Err("is not what it was; look at it again"),
        (_, Some(list)) if is_listed(list) => Err("is there already"),
        _ => Ok(()),
    }
}

fn missing(kind: &str, name: Option<&str>) -> Problem {
    Problem::not_found(format!("{} is not in the configuration", title(kind, name)))
}

fn unusable(error: managed::Error) -> Problem {
    let detail = super::chain(&error);
    match error {
        managed::Error::File(_) => Problem::conflict(detail),
        _ => Problem::bad_request(detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_kind_with_names_only_one_table_can_be_changed() {
        let problem = one("route", None).unwrap_err();
        assert_eq!((problem.status, &*problem.detail), (400, "[route] holds tables by name: say which"));
        assert!(one("route", Some("a")).is_ok() && one("shield", None).is_ok());
    }

    #[test]
    fn preconditions_hold_as_http_says() {
        let only = |if_match: Option<&str>, if_none_match: Option<&str>| api::Precondition {
            if_match: if_match.map(str::to_owned),
            if_none_match: if_none_match.map(str::to_owned),
        };
        for (only, etag, is) in [
            (only(None, None), None, true),
            (only(Some("\"a\""), None), Some("a"), true),
            (only(Some("b, \"a\""), None), Some("a"), true),
            (only(Some("\"b\""), None), Some("a"), false),
            (only(Some("*"), None), Some("a"), true),
            (only(Some("*"), None), None, false),
            (only(None, Some("*")), None, true),
            (only(None, Some("*")), Some("a"), false),
            (only(None, Some("\"b\"")), Some("a"), true),
        ] {
            assert_eq!(holds(&only, etag).is_ok(), is, "{only:?} {etag:?}");
        }
    }

    #[test]
    fn an_undo_can_be_pasted_into_a_shell() {
        let text = "match = '/it'\nrespond = { body = \"$(rm) `x`\" }\n";
        let output =
            std::process::Command::new("sh").args(["-c", &format!("printf %s {}", quoted(text))]).output();
        assert_eq!(String::from_utf8(output.unwrap().stdout).unwrap(), text.trim_end());
    }
}
