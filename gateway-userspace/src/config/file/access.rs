//! `access` of a listener or a route: which client addresses are admitted.

use crate::config::codes;
use crate::config::decode::Decoder;
use crate::config::tree::Node;
use crate::config::value::{self, Type};
use crate::diagnostic::Problem;
use crate::policy::ip_access::config::{Config, Rule};

/// Most rules of one table.
const RULES_MAX: usize = 1024;

/// The type of `access`.
pub const RULES: Type<Config> =
    Type { describe: "an array of rules, such as `[\"allow 10.0.0.0/8\", \"deny all\"]`", decode: rules };

fn rules(d: &mut Decoder<'_>, node: &Node) -> Option<Config> {
    let rules = value::one_or_many(d, node, |d, node| Some((rule(d, node)?, node.place.clone())))?;
    if rules.len() > RULES_MAX {
        let message = format!("more than {RULES_MAX} access rules");
        d.report.push(Problem::error(codes::TOO_MANY, message, node.place.clone()));
        return None;
    }
    let last = rules.iter().position(|(rule, _)| rule.prefix.is_none());
    if let Some((last, (_, place))) = last.and_then(|last| Some((last, rules.get(last + 1)?))) {
        let problem = Problem::warning(codes::UNREACHABLE_ACCESS, "this rule is never tried", place.clone());
        d.report.push(problem.related(rules[last].1.clone(), "this one matches every address"));
    }
    Some(Config { rules: rules.into_iter().map(|(rule, _)| rule).collect() })
}

fn rule(d: &mut Decoder<'_>, node: &Node) -> Option<Rule> {
    let text = d.text(node, "a rule such as `allow 10.0.0.0/8`")?;
    let rule = text.trim().split_once(' ').and_then(|(verb, what)| {
        let allow = match verb {
            "allow" => true,
            "deny" => false,
            _ => return None,
        };
        let prefix = match what.trim() {
            "all" => None,
            prefix => Some(value::parse_prefix(prefix)?),
        };
        Some(Rule { allow, prefix })
    });
    if rule.is_none() {
        let message = format!("`{text}` is not an access rule");
        let problem = Problem::error(codes::BAD_ACCESS, message, node.place.clone());
        d.report
            .push(problem.help("write `allow` or `deny`, and a network, an address or `all`: \"deny all\""));
    }
    rule
}
