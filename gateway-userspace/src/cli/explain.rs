//! `portcullis explain`: what a code means, or what would happen to a request.

use std::net::IpAddr;

use crate::admin::api::{Explain, Explanation};
use crate::config::codes;

use super::table::{Table, clean};
use super::{Common, Exit, Output};

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// A code such as C014, or the method of a request.
    #[arg(value_name = "CODE|METHOD")]
    subject: String,
    /// The request's absolute URL.
    url: Option<String>,
    /// A header field of the request, as in curl: `-H 'Name: value'`.
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    headers: Vec<String>,
    /// The client's address.
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
}

/// Explains.
pub fn run(common: &Common, output: &Output, arguments: &Arguments) -> Exit {
    let Some(url) = &arguments.url else { return code(output, &arguments.subject) };
    let mut headers = Vec::new();
    for header in &arguments.headers {
        let Some((name, value)) = header.split_once(':') else {
            output.complain(format!("`{header}` is not a header field; write `Name: value`"));
            return Exit::Usage;
        };
        headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    let method = arguments.subject.to_ascii_uppercase();
    let command = Explain { method, url: url.clone(), from: arguments.from, headers };
    output.ask(common, &command, text)
}

fn code(output: &Output, code: &str) -> Exit {
    match codes::find(code) {
        Some(entry) => {
            output.raw(&format!(
                "{}\n\n{}\n",
                output.bold(&format!("{}: {}", entry.code.0, entry.title)),
                entry.text
            ));
            Exit::Done
        }
        None => {
            output.complain(format!(
                "`{code}` is not a code; for a request write `portcullis explain METHOD URL`"
            ));
            Exit::Usage
        }
    }
}

fn text(explanation: &Explanation) -> String {
    let mut table = Table::new(&["step", "finding"]);
    for step in &explanation.steps {
        table.row([step.step.clone(), step.finding.clone()]);
    }
    format!("{}\n=> {}\n", table.text(), clean(&explanation.outcome))
}
