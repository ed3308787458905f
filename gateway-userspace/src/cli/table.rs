//! Columns of text, as wide as they need to be.

/// A table with a head.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    pub fn new(head: &[&str]) -> Table {
        Table { rows: vec![head.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    /// Adds a row. Control characters, which a client may have sent, are shown and not obeyed.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| clean(&cell)).collect());
    }

    /// Whether there is no row below the head.
    pub fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// The table as text, two spaces between columns, numbers to the right.
    pub fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cell = |row: &'_ [String], column: usize| row.get(column).map_or(0, |cell| cell.chars().count());
        let widths: Vec<usize> = (0..columns)
            .map(|column| self.rows.iter().map(|row| cell(row, column)).max().unwrap_or(0))
            .collect();
        let right: Vec<bool> = (0..columns)
            .map(|column| {
                let mut below = self.rows[1..].iter().filter_map(|row| row.get(column)).peekable();
                below.peek().is_some() && below.all(|cell| is_number(cell))
            })
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells = row.iter().enumerate().map(|(column, cell)| match right[column] {
                true => format!("{cell:>width$}", width = widths[column]),
                false => format!("{cell:<width$}", width = widths[column]),
            });
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

/// An address, which has more than one point, is none.
fn is_number(text: &str) -> bool {
    text.matches('.').count() < 2
        && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'%'))
}

/// Text from outside, safe for a terminal.
pub fn clean(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_numbers_stand_to_the_right() {
        let mut table = Table::new(&["route", "requests"]);
        table.row(["users".into(), "5".into()]);
        table.row(["a-long-name".into(), "12345".into()]);
        assert_eq!(table.text(), "route        requests\nusers               5\na-long-name     12345\n");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let mut table = Table::new(&["path"]);
        table.row(["/\u{1b}[2J\n".into()]);
        assert_eq!(table.text(), "path\n/\\u{1b}[2J\\n\n");
    }
}
