//! `portcullis offender`: from a client to its addresses, from an address to its clients, and the bans of either.

use std::net::IpAddr;

use crate::abuse::target::Subject;
use crate::admin::api::{GetOffender, Offender};

use super::bans;
use super::table::clean;
use super::{Common, Exit, Output};

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A client by the `[auth.AUTH]` that knows it and its name there, or an address.
    #[arg(value_name = "AUTH/NAME|ADDRESS", value_parser = whom)]
    whom: Whom,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Whom {
    Client(Subject),
    Address(IpAddr),
}

/// Looks.
pub fn run(common: &Common, output: &Output, arguments: &Arguments) -> Exit {
    let command = match arguments.whom.clone() {
        Whom::Client(client) => GetOffender { client: Some(client), address: None },
        Whom::Address(address) => GetOffender { client: None, address: Some(address) },
    };
    output.ask(common, &command, |offender| show(&arguments.whom, offender))
}

fn show(whom: &Whom, offender: &Offender) -> String {
    let list = |names: Vec<String>| {
        if names.is_empty() { String::from("nobody is known") } else { clean(&names.join(", ")) }
    };
    let mut text = match whom {
        Whom::Client(_) => {
            let sources = offender.sources.iter().map(|source| crate::abuse::source::display(*source));
            format!(
                "served in the last hour at: {}\n",
                list(sources.collect()).replace("nobody is known", "no address")
            )
        }
        Whom::Address(_) => {
            format!("clients served there in the last hour: {}\n", list(offender.clients.clone()))
        }
    };
    text.push_str(&bans::list(&offender.bans));
    text
}

fn whom(text: &str) -> Result<Whom, String> {
    match text.parse() {
        Ok(address) => Ok(Whom::Address(address)),
        Err(_) => text.parse().map(Whom::Client).map_err(|_| "expected an address or AUTH/NAME".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_no_client() {
        assert_eq!(whom("2001:db8::1"), Ok(Whom::Address("2001:db8::1".parse().unwrap())));
        assert_eq!(whom("users/alice"), Ok(Whom::Client("users/alice".parse().unwrap())));
        assert!(whom("alice").is_err());
    }

    #[test]
    fn either_way_it_is_said_where_and_who() {
        let offender = |sources: &[&str], clients: &[&str]| Offender {
            sources: sources.iter().map(|source| source.parse().unwrap()).collect(),
            clients: clients.iter().map(|client| (*client).to_owned()).collect(),
            bans: Vec::new(),
        };
        let text = show(&whom("users/alice").unwrap(), &offender(&["203.0.113.9/32", "2001:db8::/64"], &[]));
        assert_eq!(text, "served in the last hour at: 203.0.113.9, 2001:db8::/64\nnobody is banned\n");
        let text = show(&whom("203.0.113.9").unwrap(), &offender(&["203.0.113.9/32"], &["users/alice"]));
        assert_eq!(text, "clients served there in the last hour: users/alice\nnobody is banned\n");
    }
}
