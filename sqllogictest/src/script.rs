//! Rewrites files of SQLite's corpus into the crate's language. Line numbers stay.
//!
//! * `skipif mysql # note` loses its note: conditions are one word here.
//! * Results are one value a line unless the file says otherwise, and hashed above eight values.
//! * `onlyif X` with `halt` stops the file if X is us, and is dropped otherwise.
//! * `hash-threshold` may be given in the middle; that is the crate's own form.

const LABEL: &str = "postgresql";

pub fn rewritten(text: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    let mut source = text.lines().peekable();
    while let Some(line) = source.next() {
        let Some(condition) = Condition::of(line) else {
            lines.push(line.trim_end_matches('\r'));
            continue;
        };
        let halts = source.peek().is_some_and(|next| next.trim() == "halt");
        if !halts {
            lines.push(condition.line);
            continue;
        }
        if condition.holds() {
            break;
        }
        // Two empty lines keep the numbers of the rest.
        lines.extend(["", ""]);
        source.next();
    }
    lines.join("\n") + "\n"
}

/// What the dialect assumes at the beginning of a file.
pub const PROLOGUE: &str = "hash-threshold 8\n\ncontrol resultmode valuewise\n";

struct Condition<'a> {
    /// Without the note.
    line: &'a str,
    only: bool,
    label: &'a str,
}

impl<'a> Condition<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let without_note = line.split('#').next()?.trim_end();
        let (word, label) = without_note.split_once(' ')?;
        let only = match word {
            "onlyif" => true,
            "skipif" => false,
            _ => return None,
        };
        Some(Self { line: without_note, only, label: label.trim() })
    }

    fn holds(&self) -> bool {
        self.only == (self.label == LABEL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_and_foreign_halts_go() {
        let text = "skipif mysql # not there\nquery I\nSELECT 1 # kept\n----\n1\n\nonlyif mssql\nhalt\n\nstatement ok\nSELECT 2\n";
        let expected = "skipif mysql\nquery I\nSELECT 1 # kept\n----\n1\n\n\n\n\nstatement ok\nSELECT 2\n";
        assert_eq!(rewritten(text), expected);
        assert_eq!(rewritten(text).lines().count(), text.lines().count());
    }

    #[test]
    fn our_own_halt_ends_the_file() {
        assert_eq!(
            rewritten("statement ok\nSELECT 1\n\nonlyif postgresql # here\nhalt\n\njunk\n"),
            "statement ok\nSELECT 1\n\n"
        );
        assert_eq!(
            rewritten("skipif postgresql\nhalt\nstatement ok\nSELECT 1\n"),
            "\n\nstatement ok\nSELECT 1\n"
        );
    }
}
