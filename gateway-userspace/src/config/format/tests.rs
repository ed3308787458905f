//! Layout by examples, and what holds of any text.

use std::path::Path;

use super::*;

fn fmt(text: &str) -> String {
    let formatted = format(Path::new("a.toml"), text, true).unwrap_or_else(|error| panic!("{error}: {text}"));
    let again = format(Path::new("a.toml"), &formatted, true).unwrap();
    assert_eq!(again, formatted, "formatting twice is formatting once: {text}");
    formatted
}

#[test]
fn tables_keys_and_comments_get_their_places() {
    let text = "\n\n# The front door.\n\n\n# It listens.\n[ listen . \"http\" ]   # cleartext\n\n\naddress=\"[::]:80\"  \n \
                http2   = true# both\n\n\n\nmax-headers=100\n#about\n[gateway]\nworkers = 2";
    assert_eq!(
        fmt(text),
        "# The front door.\n\n# It listens.\n[listen.http]   # cleartext\naddress = \"[::]:80\"\n\
         http2   = true  # both\n\nmax-headers = 100\n\n#about\n[gateway]\nworkers = 2\n"
    );
}

#[test]
fn arrays_stay_on_one_line_or_have_an_item_on_each() {
    assert_eq!(
        fmt("a=[ 1,2 , 3,]\nb = [\n]\nc = [[1,2],[ ]]\n"),
        "a = [1, 2, 3]\nb = []\nc = [[1, 2], []]\n"
    );
    assert_eq!(
        fmt("a = [ # all\n'x', 'y' # why\n  # alone\n\n\n, {b=1,c=[ 2 ]}]\n"),
        "a = [  # all\n    \"x\",\n    \"y\",  # why\n    # alone\n\n    { b = 1, c = [2] },\n]\n"
    );
    assert_eq!(
        fmt("a = [[1,\n2], [3]]\nt = {x = [\n1]}\n"),
        "a = [\n    [\n        1,\n        2,\n    ],\n    [3],\n]\nt = { x = [\n    1,\n] }\n"
    );
    let long = format!("key = [{}]\n", ["\"http://10.0.0.1:3001\""; 6].join(","));
    assert_eq!(fmt(&long), format!("key = [\n{}]\n", "    \"http://10.0.0.1:3001\",\n".repeat(6)));
    let table = format!("key = {{ a = [{}] }}\n", ["\"http://10.0.0.1:3001\""; 6].join(", "));
    assert_eq!(fmt(&table), table, "an inline table stays on its line");
}

#[test]
fn quotes_go_where_they_say_nothing_and_stay_where_they_do() {
    assert_eq!(
        fmt(
            "\"plain\" = 'text'\n\"two words\" = 'say \"it\"'\n'' = 'back\\slash'\na.\"b-c\" . 'd.e' = '''x'''\n"
        ),
        "plain       = \"text\"\n\"two words\" = 'say \"it\"'\n\"\"          = 'back\\slash'\n\
         a.b-c.\"d.e\" = '''x'''\n"
    );
}

#[test]
fn texts_of_several_lines_numbers_and_dates_are_not_touched() {
    let text =
        "a = \"\"\"\n  x  \n\n\n# no comment\n\"\"\"\nb = 1979-05-27 07:32:00\nc = -3.14e+2\nd = 0xFF\n";
    assert_eq!(fmt(text), text);
}

#[test]
fn without_alignment_only_one_blank_stands_before_the_sign() {
    let text = "[a]   # x\nlong-key  = 1\nb  =   2   # y\n";
    let formatted = format(Path::new("a.toml"), text, false).unwrap();
    assert_eq!(formatted, "[a]  # x\nlong-key = 1\nb = 2  # y\n");
}

#[test]
fn line_ends_of_other_systems_and_the_mark_of_the_byte_order_go() {
    assert_eq!(
        fmt("\u{feff}a = 1\r\n\r\n# b\r\n[c]\r\nd = [\r\n1]\r\n"),
        "a = 1\n\n# b\n[c]\nd = [\n    1,\n]\n"
    );
    assert_eq!(fmt(""), "");
    assert_eq!(fmt("\n \n"), "");
    assert_eq!(fmt("# only"), "# only\n");
}

#[test]
fn what_is_not_toml_is_said_with_its_place() {
    let Err(Error::Syntax(report)) = format(Path::new("a.toml"), "a = 1\nb = \n", true) else {
        panic!("it is not TOML")
    };
    assert!(crate::diagnostic::render::lines(&report).contains("a.toml:2:"), "{report:?}");
}

#[test]
fn every_example_is_formatted() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            let text = std::fs::read_to_string(&path).unwrap();
            let formatted = fmt(&text);
            assert!(formatted == text, "run `portcullis fmt {}`:\n{formatted}", path.display());
            count += 1;
        }
    }
    assert!(count >= 7, "{count} examples");
}

/// Numbers that look like chance and are the same in each run (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }

    fn blank(&mut self) -> &'static str {
        self.pick(&["", "", " ", "  ", "\t"])
    }

    fn comment(&mut self) -> String {
        match self.roll(4) {
            0 => format!("# c{}{}", self.roll(1000), self.blank()),
            _ => String::new(),
        }
    }

    /// A line break inside an array, with or without a comment before it.
    fn breaks(&mut self) -> String {
        match self.roll(4) {
            0 => format!("{}{}\n{}", self.blank(), self.comment(), self.pick(&["", "\n", "\n\n", "\r\n"])),
            _ => self.blank().to_owned(),
        }
    }

    fn value(&mut self, depth: usize) -> String {
        let scalars = [
            "1",
            "-2.5",
            "true",
            "'a'",
            "\"b # c\"",
            "'it''",
            "1979-05-27 07:32:00",
            "\"\"\"m\n\n x\"\"\"",
            "'''\n'q' '''",
            "nan",
            "0x1F",
            "\"${NAME:-[x]}\"",
            "'\\d+'",
            "\"\\u00e9\\\"\"",
            "07:32:00.5",
            "'é, ]'",
        ];
        match self.roll(if depth > 3 { 1 } else { 4 }) {
            1 => {
                let mut text = format!("[{}", self.breaks());
                let count = self.roll(5);
                for index in 0..count {
                    let value = self.value(depth + 1);
                    let comma = if index + 1 < count || self.roll(2) == 0 { "," } else { "" };
                    text += &format!("{value}{}{comma}{}", self.breaks(), self.breaks());
                }
                text + "]"
            }
            2 => {
                let mut text = format!("{{{}", self.blank());
                let count = self.roll(4);
                for index in 0..count {
                    let value = self.value(depth + 1);
                    let comma = if index + 1 < count { "," } else { "" };
                    text += &format!(
                        "{}k{index}{}={}{value}{}{comma}",
                        self.blank(),
                        self.blank(),
                        self.blank(),
                        self.blank()
                    );
                }
                text + self.blank() + "}"
            }
            _ => match self.pick(&scalars) {
                "'it''" => "'it'".to_owned(),
                scalar => scalar.to_owned(),
            },
        }
    }

    fn document(&mut self) -> String {
        let mut text = String::new();
        for table in 0..self.roll(5) {
            if table > 0 || self.roll(2) == 0 {
                let name = self.pick(&["t", "\"t\"", "'a b'"]);
                text += &format!("{}[ {name}{table} . x ]{}{}\n", self.blank(), self.blank(), self.comment())
                    .replace("\"t\"", "\"t\" . y")
                    .replace("'a b'", "'a b' . y");
            }
            for key in 0..self.roll(6) {
                match self.roll(4) {
                    0 => text += self.pick(&["\n", "\n\n\n", "\r\n", "  \n"]),
                    1 => text += &format!("{}# alone {}\n", self.blank(), self.roll(1000)),
                    _ => {}
                }
                let name = self.pick(&["k", "key-", "\"quoted\".z", "a_b.'c'.d"]);
                let name = format!("p{key}.{name}{key}");
                let value = self.value(0);
                text += &format!(
                    "{}{name}{}={}{value}{}{}\n",
                    self.blank(),
                    self.blank(),
                    self.blank(),
                    self.blank(),
                    self.comment()
                );
            }
        }
        text
    }
}

#[test]
fn of_two_thousand_texts_none_changes_its_meaning_loses_a_comment_or_changes_twice() {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let (mut valid, mut commented) = (0, 0);
    for _ in 0..2_000 {
        let text = dice.document();
        if text.parse::<toml::Table>().is_err() {
            continue;
        }
        valid += 1;
        // `format` itself compares the meanings.
        let formatted = fmt(&text);
        assert_eq!(comments(&formatted), comments(&text), "{text}\n---\n{formatted}");
        commented += usize::from(!comments(&text).is_empty());
        let plain = format(Path::new("a.toml"), &text, false).unwrap();
        assert_eq!(fmt(&plain), formatted, "{text}");
    }
    assert!(valid > 1_400 && commented > 800, "{valid} valid, {commented} with comments");
}

/// Comments in their order, as another reader finds them: by the words that only they have.
fn comments(text: &str) -> Vec<&str> {
    let starts = text.match_indices("# c").chain(text.match_indices("# alone "));
    let mut found: Vec<(usize, &str)> = starts
        .filter(|(at, _)| {
            text[at + 3..].starts_with(|c: char| c.is_ascii_digit()) || text[*at..].starts_with("# alone")
        })
        .map(|(at, _)| (at, text[at..].lines().next().unwrap_or_default().trim_end()))
        .collect();
    found.sort();
    found.into_iter().map(|(_, comment)| comment).collect()
}
