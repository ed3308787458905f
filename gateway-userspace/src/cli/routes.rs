//! `portcullis routes`: which routes there are, and all that holds for one of them.

use crate::admin::api::{ListRoutes, RouteView, Routes};

use super::table::{Table, clean};
use super::{Common, Exit, Output};

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// What to show.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the routes in force.
    List,
    /// Show one with every setting that holds for it.
    Show {
        /// The name, as in logs, metrics and errors.
        name: String,
    },
}

/// Shows one, or all.
pub fn run(common: &Common, output: &Output, arguments: &Arguments) -> Exit {
    match &arguments.verb {
        Some(Verb::Show { name }) => output.ask(common, &ListRoutes { name: Some(name.clone()) }, one),
        Some(Verb::List) | None => output.ask(common, &ListRoutes { name: None }, list),
    }
}

fn list(routes: &Routes) -> String {
    let mut table = Table::new(&["name", "match", "to", "requests", "at"]);
    for route in &routes.routes {
        let requests: u64 = route.requests.iter().sum();
        let at = route.at.clone().unwrap_or_else(|| "-".into());
        let row = [route.name.clone(), route.matches.join(", "), route.to.clone(), requests.to_string(), at];
        table.row(row);
    }
    if table.is_empty() { "there are no routes\n".into() } else { table.text() }
}

fn one(routes: &Routes) -> String {
    routes.routes.iter().map(show).collect()
}

fn show(route: &RouteView) -> String {
    let counted =
        ["1xx", "2xx", "3xx", "4xx", "5xx"].iter().zip(route.requests).filter(|(_, count)| *count > 0);
    let counted: Vec<String> = counted.map(|(class, count)| format!("{count} × {class}")).collect();
    let requests = if counted.is_empty() { "none".to_owned() } else { counted.join(", ") };
    let at = route.at.clone().unwrap_or_else(|| "no file any more; a reload removes it".into());
    let head =
        [("route".to_owned(), route.name.clone()), ("at".to_owned(), at), ("requests".to_owned(), requests)];
    let settings = route.settings.iter().filter(|(_, value)| !value.is_empty()).cloned();
    let width = route.settings.iter().map(|(key, _)| key.len()).max().unwrap_or_default().max(8);
    let line = |(key, value): (String, String)| format!("{key:<width$}  {}\n", clean(&value));
    head.into_iter().chain(settings).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_shown_with_what_holds_for_it() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let route = RouteView {
            name: "shop".into(),
            at: Some("conf.d/managed.toml:3".into()),
            matches: vec!["/shop".into()],
            to: "http://h:1".into(),
            settings: vec![pair("match", "/shop"), pair("auth", ""), pair("max-body", "1MiB")],
            requests: [0, 7, 0, 2, 0],
        };
        assert_eq!(
            show(&route),
            "route     shop\nat        conf.d/managed.toml:3\nrequests  7 × 2xx, 2 × 4xx\nmatch     /shop\nmax-body  1MiB\n"
        );
    }
}
