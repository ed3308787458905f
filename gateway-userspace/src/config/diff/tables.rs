//! The tables of a configuration, to be found again by name in another one.

use std::fmt;

use super::same;
use super::settings::{
    auth, log, of_admin, of_ban, of_errors, of_gateway, of_headers, of_limit, of_list, of_listen,
    of_operations, of_route, of_shield, of_upstream,
};
use crate::config::model::{
    Admin, Auth, Ban, Config, Gateway, List, Listen, Log, Operations, Route, Shield, Sink,
};
use crate::http::error_body;
use crate::policy::{rate_limit, response_headers, signed_identity};
use crate::upstream;

/// One table.
#[derive(Clone, Copy)]
pub enum Table<'c> {
    Gateway(&'c Gateway),
    Listen(&'c Listen),
    Route(&'c Route),
    Upstream(&'c upstream::config::Config),
    Auth(&'c Auth),
    Identity(&'c signed_identity::Config),
    Limit(&'c rate_limit::config::Config),
    Headers(&'c response_headers::config::Config),
    Errors(&'c error_body::Config),
    Shield(&'c Shield),
    Ban(&'c Ban),
    List(&'c List),
    Log(&'c Log),
    Sink(&'c Sink),
    Operations(&'c Operations),
    Admin(&'c Admin),
}

/// What a table is found again by, in the order in which tables are told: its kind's place in the reference, its kind,
/// and its name, if it has one.
pub type Key<'c> = (usize, &'static str, &'c str);

/// Every table of a configuration.
pub fn tables(config: &Config) -> impl Iterator<Item = Table<'_>> {
    let Config {
        gateway,
        listen,
        operations,
        admin,
        log,
        sink,
        headers,
        errors,
        auth,
        identity,
        limit,
        upstream,
        route,
        shield,
        ban,
        list,
    } = config;
    let single = [
        Table::Gateway(gateway),
        Table::Headers(headers),
        Table::Errors(errors),
        Table::Log(log),
        Table::Admin(admin),
    ];
    single
        .into_iter()
        .chain(listen.iter().map(Table::Listen))
        .chain(route.iter().map(Table::Route))
        .chain(upstream.iter().map(|upstream| Table::Upstream(&upstream.value)))
        .chain(auth.iter().map(Table::Auth))
        .chain(identity.iter().map(Table::Identity))
        .chain(limit.iter().map(|limit| Table::Limit(&limit.value)))
        .chain(shield.iter().map(Table::Shield))
        .chain(ban.iter().map(Table::Ban))
        .chain(list.iter().map(Table::List))
        .chain(sink.iter().map(Table::Sink))
        .chain(operations.iter().map(Table::Operations))
}

impl<'c> Table<'c> {
    /// See [`Key`].
    pub fn key(self) -> Key<'c> {
        match self {
            Table::Gateway(_) => (0, "gateway", ""),
            Table::Listen(listen) => (1, "listen", &listen.name),
            Table::Route(route) => (2, "route", &route.name),
            Table::Upstream(upstream) => (3, "upstream", &upstream.name),
            Table::Auth(auth) => (4, "auth", &auth.name),
            Table::Identity(_) => (4, "identity", ""),
            Table::Limit(limit) => (5, "limit", &limit.name),
            Table::Headers(_) => (6, "headers", ""),
            Table::Errors(_) => (6, "errors", ""),
            Table::Shield(_) => (7, "shield", ""),
            Table::Ban(ban) => (7, "ban", &ban.name),
            Table::List(list) => (7, "list", &list.name),
            Table::Log(_) => (8, "log", ""),
            Table::Sink(sink) => (9, "sink", &sink.name),
            Table::Operations(_) => (10, "operations", ""),
            Table::Admin(_) => (11, "admin", ""),
        }
    }

    /// Its keys and values as texts.
    pub fn values(self) -> Vec<(String, String)> {
        match self {
            Table::Gateway(gateway) => of_gateway(gateway),
            Table::Listen(listen) => of_listen(listen),
            Table::Route(route) => of_route(route),
            Table::Upstream(upstream) => of_upstream(upstream),
            Table::Auth(auth) => auth::of_auth(auth),
            Table::Identity(identity) => auth::of_identity(identity),
            Table::Limit(limit) => of_limit(limit),
            Table::Headers(headers) => of_headers("", headers),
            Table::Errors(errors) => of_errors(errors),
            Table::Shield(shield) => of_shield(shield),
            Table::Ban(ban) => of_ban(ban),
            Table::List(list) => of_list(list),
            Table::Log(log) => log::of_log(log),
            Table::Sink(sink) => log::of_sink(sink),
            Table::Operations(operations) => of_operations(operations),
            Table::Admin(admin) => of_admin(admin),
        }
    }

    /// Whether two tables surely say the same, which is told without their texts. Of the kinds that there are thousands
    /// of; for the others the texts tell.
    pub fn is_surely(self, other: Table<'_>) -> bool {
        match (self, other) {
            (Table::Route(one), Table::Route(other)) => same::route(one, other),
            (Table::Upstream(one), Table::Upstream(other)) => same::upstream(one, other),
            (Table::Limit(one), Table::Limit(other)) => one == other,
            _ => false,
        }
    }
}

/// `limit per-user`
impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key() {
            (_, kind, "") => f.write_str(kind),
            (_, kind, name) => write!(f, "{kind} {name}"),
        }
    }
}
