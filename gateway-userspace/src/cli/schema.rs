//! `portcullis schema`: the JSON Schema of the configuration, for editors.

use crate::config::schema::schema;

use super::{Exit, Output};

/// Prints the schema.
pub fn run(output: &Output) -> Exit {
    output.raw(&format!("{:#}\n", schema()));
    Exit::Done
}
