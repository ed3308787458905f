//! `portcullis deny`: lists of addresses that others keep.

mod lists;

use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use crate::feeds::parse::{self, ENTRIES_MAX, Outcome};
use crate::feeds::write::{Written, settle, write};
use crate::feeds::{Export, Format};

use super::table::clean;
use super::{Common, Exit, Output};

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

/// What to do with lists.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Drop whom a list names; a list that has the name is replaced.
    Import(lists::Import),
    /// Print a list that is in force.
    Export(lists::Export),
    /// Say which lists there are.
    List,
    /// Drop no longer whom a list names.
    Remove(lists::Remove),
    /// Print a list in another format, and on standard error what of it was skipped; needs no gateway.
    Convert(Convert),
}

/// The arguments of `convert`.
#[derive(Debug, clap::Args)]
struct Convert {
    /// The list, or `-` for standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What it is written in: auto, text, crowdsec, nft or ipset.
    #[arg(long, value_name = "FORMAT", default_value_t = Format::Auto)]
    format: Format,
    /// What to write: text, nft, ipset or json; if not given, text, or json with --json.
    #[arg(long, value_name = "FORMAT")]
    to: Option<Export>,
    /// Most addresses and networks; ranges count as the networks that they are made of.
    #[arg(long, value_name = "NUMBER", default_value_t = ENTRIES_MAX)]
    max_entries: usize,
}

/// Most bytes of a list.
const BYTES_MAX: u64 = 256 << 20;

/// Does it.
pub fn run(common: &Common, output: &Output, arguments: &Arguments) -> Exit {
    match &arguments.verb {
        Verb::Import(arguments) => lists::import(common, output, arguments),
        Verb::Export(arguments) => lists::export(common, output, arguments),
        Verb::List => lists::list(common, output),
        Verb::Remove(arguments) => lists::remove(common, output, arguments),
        Verb::Convert(arguments) => convert(common, output, arguments),
    }
}

fn convert(common: &Common, output: &Output, arguments: &Convert) -> Exit {
    let to = arguments.to.unwrap_or(if common.json { Export::Json } else { Export::Text });
    let list = match read(output, &arguments.file) {
        Ok(list) => list,
        Err(exit) => return exit,
    };
    let (items, outcome) = match parse::read(&list, arguments.format, arguments.max_entries) {
        Ok(read) => read,
        Err(error) => {
            output.complain(format!("{error}; --max-entries takes more"));
            return Exit::Data;
        }
    };
    let gone = items.iter().filter(|item| item.gone).count() as u64;
    output.remark(&what_was_read(&outcome));
    if outcome.taken == 0 {
        output.complain(format!("nothing in it could be taken as an entry of {}", outcome.format));
        return Exit::Data;
    }
    let mut out = BufWriter::new(io::stdout().lock());
    match write(&settle(items), to, &mut out).and_then(|written| out.flush().map(|()| written)) {
        Ok(written) => {
            output.remark(&what_was_written(&written, to, gone));
            Exit::Done
        }
        // `| head`
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(error) => {
            output.complain(format!("standard output cannot be written: {error}"));
            Exit::Failed
        }
    }
}

fn is_piped(file: &Path) -> bool {
    file == Path::new("-")
}

/// The bytes of a list; why not is said.
fn read(output: &Output, file: &Path) -> Result<Vec<u8>, Exit> {
    read_all(file).map_err(|error| {
        let name = if is_piped(file) { Path::new("standard input") } else { file };
        output.complain(format!("{} cannot be read: {error}", name.display()));
        Exit::Failed
    })
}

fn read_all(file: &Path) -> io::Result<Vec<u8>> {
    let source: Box<dyn Read> = match is_piped(file) {
        true => Box::new(io::stdin().lock()),
        false => Box::new(std::fs::File::open(file)?),
    };
    let mut list = Vec::new();
    source.take(BYTES_MAX + 1).read_to_end(&mut list)?;
    match list.len() as u64 > BYTES_MAX {
        true => Err(io::Error::other(format!("it is larger than {BYTES_MAX} bytes"))),
        false => Ok(list),
    }
}

fn what_was_read(outcome: &Outcome) -> String {
    let Outcome { format, taken, skipped, first_bad } = outcome;
    let mut text = format!("read as {format}: {taken} taken, {skipped} skipped\n");
    for bad in first_bad {
        text.push_str(&format!("  skipped {}: {}\n", bad.place, clean(&bad.text)));
    }
    match skipped - first_bad.len() as u64 {
        0 => {}
        more => text.push_str(&format!("  and {more} more\n")),
    }
    text
}

fn what_was_written(written: &Written, to: Export, gone: u64) -> String {
    let mut text = format!("written as {to}: {}", written.entries);
    for (count, what) in [
        (gone, "left out, for the list says that they are gone"),
        (written.covered, "left out, for they lie within a wider one"),
        (written.shortened, "with the longest time that the format has"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {count} {what}"));
        }
    }
    text + "\n"
}
