//! The lists of the running gateway: `import`, `export`, `list` and `remove`.

use std::path::PathBuf;

use crate::admin::api::{
    DenyExported, DenyImported, DenyList, DenyLists, ExportDeny, ImportDeny, ListDeny, RemoveDeny,
};
use crate::cli::ban::{Time, time};
use crate::cli::output::changed;
use crate::cli::table::{Table, clean};
use crate::cli::{Common, Exit, Output};
use crate::feeds::{self, Format};

/// The arguments of `import`.
#[derive(Debug, clap::Args)]
pub struct Import {
    /// The list, or `-` for standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What to call it; what a list of that name held is replaced.
    #[arg(long = "as", value_name = "NAME")]
    name: String,
    /// What it is written in: auto, text, crowdsec, nft or ipset.
    #[arg(long, value_name = "FORMAT", default_value_t = Format::Auto)]
    format: Format,
    /// How long it holds, such as 25h, or `ever`; if not given, as long as the longest of its entries if each has an end,
    /// else until it is removed.
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    time: Option<Time>,
    /// Count what it would drop, and drop nothing.
    #[arg(long)]
    observe: bool,
    /// Also networks that are very wide, or that cover an address that is never to be dropped.
    #[arg(long)]
    force: bool,
    /// Only say what would happen.
    #[arg(long)]
    dry_run: bool,
}

/// The arguments of `export`.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// The list.
    name: String,
    /// What to write: text, nft, ipset or json.
    #[arg(long, value_name = "FORMAT", default_value_t = feeds::Export::Text)]
    format: feeds::Export,
}

/// The arguments of `remove`.
#[derive(Debug, clap::Args)]
pub struct Remove {
    /// The list.
    name: String,
    /// Only say what would happen.
    #[arg(long)]
    dry_run: bool,
}

/// Imports.
pub fn import(common: &Common, output: &Output, arguments: &Import) -> Exit {
    let list = match super::read(output, &arguments.file) {
        Ok(list) => list,
        Err(exit) => return exit,
    };
    let command = ImportDeny {
        name: arguments.name.clone(),
        // What is not UTF-8 is no address either, and is shown among what is skipped.
        list: String::from_utf8_lossy(&list).into_owned(),
        format: arguments.format.to_string(),
        for_s: match arguments.time {
            Some(Time::For(time)) => Some(time.as_secs().max(1)),
            Some(Time::Ever) => Some(u64::MAX),
            None => None,
        },
        observe: arguments.observe,
        force: arguments.force,
        dry_run: arguments.dry_run,
    };
    output.ask(common, &command, |reply| imported(reply, arguments.dry_run))
}

fn imported(imported: &DenyImported, dry_run: bool) -> String {
    let DenyImported { format, taken, skipped, skipped_first, guarded, guarded_first, without_room, .. } =
        imported;
    let mut text = format!("read as {format}: {taken} taken, {skipped} skipped\n");
    for bad in skipped_first {
        text.push_str(&format!("  skipped {}\n", clean(bad)));
    }
    text.push_str(&more(*skipped, skipped_first.len()));
    if *guarded > 0 {
        text.push_str(&format!("{guarded} left out:\n"));
    }
    for left_out in guarded_first {
        text.push_str(&format!("  {}\n", clean(left_out)));
    }
    text.push_str(&more(*guarded as u64, guarded_first.len()));
    if *without_room > 0 {
        text.push_str(&format!("{without_room} without room in the kernel; the gateway refuses those\n"));
    }
    text + &changed(
        &crate::admin::api::Changed { changes: imported.changes.clone(), undo: imported.undo.clone() },
        dry_run,
    )
}

fn more(count: u64, shown: usize) -> String {
    match count.saturating_sub(shown as u64) {
        0 => String::new(),
        more => format!("  and {more} more\n"),
    }
}

/// Exports: the list itself, or with `--json` what came of it too.
pub fn export(common: &Common, output: &Output, arguments: &Export) -> Exit {
    let command = ExportDeny { name: arguments.name.clone(), format: arguments.format.to_string() };
    match common.call(&command) {
        Ok(reply) => {
            let DenyExported { list, covered, .. } = &reply;
            if common.json {
                output.answer(&reply, String::new);
            } else {
                output.raw(list);
            }
            if *covered > 0 {
                output.remark(&format!("{covered} left out, for they lie within a wider one\n"));
            }
            Exit::Done
        }
        Err(error) => output.refused(&error),
    }
}

/// Lists.
pub fn list(common: &Common, output: &Output) -> Exit {
    output.ask(common, &ListDeny {}, lists)
}

fn lists(lists: &DenyLists) -> String {
    if lists.lists.is_empty() {
        return "there are no lists\n".into();
    }
    let mut table = Table::new(&["list", "id", "entries", "left out", "left", "dropped", "state", "source"]);
    for list in &lists.lists {
        table.row([
            list.name.clone(),
            list.id.to_string(),
            list.entries.to_string(),
            (list.guarded as u64 + list.skipped).to_string(),
            left(list),
            if list.observed { list.requests.max(list.packets) } else { list.packets }.to_string(),
            state(list),
            list.source.clone(),
        ]);
    }
    let mut text = table.text();
    for list in &lists.lists {
        for (what, why) in [("not read again", &list.failure), ("not in the kernel", &list.outside)] {
            if let Some(why) = why {
                text.push_str(&format!("{}: {what}: {}\n", clean(&list.name), clean(why)));
            }
        }
    }
    text
}

fn left(list: &DenyList) -> String {
    match list.left_s {
        Some(seconds) => crate::abuse::term::display(std::time::Duration::from_secs(seconds)),
        None => "ever".into(),
    }
}

fn state(list: &DenyList) -> String {
    let state = match (list.told.is_some(), list.left_s) {
        (false, _) => "never read",
        (true, Some(0)) => "over",
        (true, _) if list.observed => "counts",
        (true, _) => "drops",
    };
    state.into()
}

/// Removes.
pub fn remove(common: &Common, output: &Output, arguments: &Remove) -> Exit {
    let command = RemoveDeny { name: arguments.name.clone(), dry_run: arguments.dry_run };
    output.ask(common, &command, |reply| changed(reply, arguments.dry_run))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> DenyList {
        DenyList {
            name: name.into(),
            id: 7,
            source: "import by uid 0".into(),
            is_configured: false,
            format: "text".into(),
            observed: false,
            entries: 3,
            expected: 5,
            skipped: 1,
            guarded: 2,
            guarded_first: Vec::new(),
            without_room: 0,
            told: Some("2026-11-22T05:20:00.000Z".into()),
            until: None,
            left_s: None,
            failure: None,
            outside: None,
            packets: 9,
            bytes: 600,
            requests: 0,
        }
    }

    #[test]
    fn the_table_has_a_line_for_each_list_and_what_is_wrong_below_it() {
        let failing = DenyList {
            left_s: Some(0),
            failure: Some("the server answered with\u{1b} status 503".into()),
            ..named("feed")
        };
        let counting = DenyList { observed: true, requests: 12, packets: 0, ..named("maybe") };
        assert_eq!(
            lists(&DenyLists { lists: vec![named("drop"), failing, counting] }),
            "list   id  entries  left out  left  dropped  state   source\n\
             drop    7        3         3  ever        9  drops   import by uid 0\n\
             feed    7        3         3  0s          9  over    import by uid 0\n\
             maybe   7        3         3  ever       12  counts  import by uid 0\n\
             feed: not read again: the server answered with\\u{1b} status 503\n"
        );
        assert_eq!(lists(&DenyLists { lists: vec![] }), "there are no lists\n");
    }

    #[test]
    fn what_was_not_taken_of_an_import_is_said() {
        let reply = DenyImported {
            format: "text".into(),
            taken: 20,
            skipped: 11,
            skipped_first: vec!["line 2: x".into(); 10],
            entries: 18,
            guarded: 2,
            guarded_first: vec![
                "10.0.0.1: 10.0.0.0/8 is never banned (never)".into(),
                "64.0.0.0/7: it is wider than /8".into(),
            ],
            without_room: 0,
            changes: vec!["list drop holds 18 addresses and networks until it is removed".into()],
            undo: Some("portcullis deny remove drop".into()),
        };
        let text = imported(&reply, false);
        assert!(text.starts_with("read as text: 20 taken, 11 skipped\n  skipped line 2: x\n"), "{text}");
        assert!(text.contains("  and 1 more\n2 left out:\n  10.0.0.1: "), "{text}");
        assert!(text.ends_with("until it is removed\nundo with: portcullis deny remove drop\n"), "{text}");
        assert!(!imported(&reply, true).contains("undo"));
    }
}
