//! What the demo shows: steps as lines, and a table of what happened to each client, redrawn in place on a terminal.

use std::io::{self, Write};
use std::time::Instant;

/// What happened to one client's requests so far.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Answered by a service.
    pub allowed: u32,
    /// Refused with 401.
    pub unauthenticated: u32,
    /// Refused with 429.
    pub limited: u32,
    /// No answer to the SYN.
    pub timed_out: u32,
    /// Anything else.
    pub other: u32,
}

/// One row of the table.
#[derive(Debug, Clone)]
pub struct Row {
    /// Who.
    pub client: String,
    /// What happened.
    pub tally: Tally,
    /// Packets that the kernel dropped.
    pub dropped: u64,
    /// `-`, or the ban.
    pub ban: String,
}

/// The terminal.
pub struct Screen {
    started: Instant,
    live: bool,
    colour: bool,
    table_lines: usize,
}

impl Screen {
    /// `live` redraws the table in place; without it, the table is printed only when asked for.
    pub fn new(live: bool, colour: bool) -> Screen {
        Screen { started: Instant::now(), live, colour, table_lines: 0 }
    }

    /// A step that was done.
    pub fn step(&mut self, text: &str) {
        self.table_lines = 0;
        let elapsed = self.started.elapsed().as_secs_f32();
        let mark = self.paint("32", "✓");
        self.print(&format!("{mark} {elapsed:5.1}s  {text}\n"));
    }

    /// A plain line.
    pub fn line(&mut self, text: &str) {
        self.table_lines = 0;
        self.print(&format!("{text}\n"));
    }

    /// The table as it stands now; on a terminal it takes the place of the last one.
    pub fn table(&mut self, rows: &[Row]) {
        if self.live {
            self.draw(rows);
        }
    }

    /// The table, to stay.
    pub fn final_table(&mut self, rows: &[Row]) {
        self.draw(rows);
        self.table_lines = 0;
    }

    fn draw(&mut self, rows: &[Row]) {
        let mut text = String::new();
        if self.table_lines > 0 {
            text.push_str(&format!("\x1b[{}A\x1b[J", self.table_lines));
        }
        text.push_str(&self.paint(
            "1",
            &format!(
                "  {:<22} {:>8} {:>6} {:>6} {:>10} {:>15}  {}",
                "client", "allowed", "401", "429", "timed out", "dropped by XDP", "ban"
            ),
        ));
        text.push('\n');
        for Row { client, tally, dropped, ban } in rows {
            let dropped_text = format!("{dropped:>15}");
            let dropped_text = if *dropped > 0 { self.paint("31", &dropped_text) } else { dropped_text };
            text.push_str(&format!(
                "  {client:<22} {:>8} {:>6} {:>6} {:>10} {dropped_text}  {ban}\n",
                tally.allowed, tally.unauthenticated, tally.limited, tally.timed_out
            ));
        }
        self.table_lines = rows.len() + 1;
        self.print(&text);
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn print(&self, text: &str) {
        let mut out = io::stdout().lock();
        // A reader that went away (`| head`) ends the showing, not the demo's cleaning up.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}
