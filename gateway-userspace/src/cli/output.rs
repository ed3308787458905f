//! Printing: text or JSON, with or without colour. A reader that goes away (`portcullis bans | head`) is no error.

use std::fmt::Display;
use std::io::{self, Write};

use clap::ColorChoice;
use serde::Serialize;

use crate::admin::api::{Changed, Command};
use crate::admin::client;

use super::table::clean;
use super::{Common, Exit};

/// Where and how a verb prints.
pub struct Output {
    json: bool,
    quiet: bool,
    /// Whether standard output takes colours.
    pub colour: bool,
    /// Whether standard error takes colours.
    pub colour_of_errors: bool,
}

impl Output {
    /// As the common flags say.
    pub fn new(common: &Common) -> Output {
        let colour = |auto: anstream::ColorChoice| match common.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => auto != anstream::ColorChoice::Never,
        };
        Output {
            json: common.json,
            quiet: common.quiet,
            colour: colour(anstream::AutoStream::choice(&io::stdout())),
            colour_of_errors: colour(anstream::AutoStream::choice(&io::stderr())),
        }
    }

    /// Prints text in every case.
    pub fn raw(&self, text: &str) {
        let mut stdout = io::stdout().lock();
        let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    }

    /// Prints an error with its causes.
    pub fn error(&self, error: &dyn std::error::Error) {
        self.complain(crate::gateway::chain(error));
    }

    /// Prints a text as an error.
    pub fn complain(&self, text: impl Display) {
        let (on, off) = if self.colour_of_errors { ("\u{1b}[1;31m", "\u{1b}[0m") } else { ("", "") };
        let _ = writeln!(io::stderr(), "{on}error{off}: {text}");
    }

    /// Prints a text beside the answer, to standard error.
    pub fn remark(&self, text: &str) {
        if !self.quiet {
            let _ = io::stderr().write_all(text.as_bytes());
        }
    }

    /// Bold text where there are colours.
    pub fn bold(&self, text: &str) -> String {
        if self.colour { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Prints the answer as JSON if that is asked for, else by `text`.
    pub fn answer<T: Serialize>(&self, answer: &T, text: impl FnOnce() -> String) {
        if self.json {
            let json = serde_json::to_string_pretty(answer).expect("the API's types are always JSON");
            self.raw(&format!("{json}\n"));
        } else if !self.quiet {
            self.raw(&text());
        }
    }

    /// Asks the gateway and prints its answer; the exit code of a refusal is the caller's.
    pub fn ask<C: Command>(
        &self,
        common: &Common,
        command: &C,
        text: impl FnOnce(&C::Reply) -> String,
    ) -> Exit {
        match common.call(command) {
            Ok(reply) => {
                self.answer(&reply, || text(&reply));
                Exit::Done
            }
            Err(error) => self.refused(&error),
        }
    }

    /// Prints why the gateway gave no answer.
    pub fn refused(&self, error: &client::Error) -> Exit {
        self.error(error);
        Exit::of(error)
    }
}

/// What a change did, or would do, and how to undo it.
pub fn changed(changed: &Changed, dry_run: bool) -> String {
    let mut text = String::new();
    for change in &changed.changes {
        text.push_str(&format!("{}\n", clean(change)));
    }
    if changed.changes.is_empty() {
        text.push_str("nothing to do\n");
    }
    if let (Some(undo), false) = (&changed.undo, dry_run) {
        text.push_str(&format!("undo with: {undo}\n"));
    }
    text
}
