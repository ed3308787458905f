//! `portcullis demo`: the gateway at work, with everything that it needs made for the occasion.

use crate::demo::{self, Error, Options};

use super::{Exit, Output};

/// The arguments.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// End after the last step; exits with 1 if a step did not happen.
    #[arg(long)]
    once: bool,
    /// No colours.
    #[arg(long)]
    no_color: bool,
}

/// Plays it.
pub fn run(output: &Output, arguments: &Arguments) -> Exit {
    let options = Options { once: arguments.once, colour: output.colour && !arguments.no_color };
    match demo::run(options) {
        Ok(()) => Exit::Done,
        Err(error) => {
            output.error(&error);
            if matches!(error, Error::NotRoot) { Exit::Privilege } else { Exit::Failed }
        }
    }
}
