//! Printing. Whoever reads us may stop at any line: that is the end of the work, not an error.

use std::io::{self, IsTerminal, Write};
use std::process;

/// Prints text and a line break.
pub(crate) fn line(text: impl AsRef<str>) {
    let mut out = io::stdout().lock();
    end_on_closed(writeln!(out, "{}", text.as_ref()));
}

/// Prints text as it is.
pub(crate) fn text(text: impl AsRef<str>) {
    let mut out = io::stdout().lock();
    end_on_closed(out.write_all(text.as_ref().as_bytes()).and_then(|()| out.flush()));
}

fn end_on_closed(written: io::Result<()>) {
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => process::exit(0),
        Err(error) => {
            eprintln!("qqrelay: cannot print: {error}");
            process::exit(1);
        }
    }
}

/// Whether to use colour: on a terminal, unless the user has said no.
#[must_use]
pub(crate) fn is_coloured() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A colour of the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    /// What is of less interest.
    Dim,
    /// What is good.
    Green,
    /// What is to be looked at.
    Yellow,
    /// What is wrong.
    Red,
    /// What stands out.
    Cyan,
}

/// Text in a colour, or as it is.
#[must_use]
pub(crate) fn ink(text: &str, ink: Ink, coloured: bool) -> String {
    if !coloured {
        return text.to_owned();
    }
    let code = match ink {
        Ink::Dim => 2,
        Ink::Red => 31,
        Ink::Green => 32,
        Ink::Yellow => 33,
        Ink::Cyan => 36,
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// Text for one line of a terminal: no control characters, and no longer than `width`.
#[must_use]
pub(crate) fn one_line(text: &str, width: usize) -> String {
    let mut shown: String = text
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .take(width)
        .collect();
    if text.chars().count() > width {
        shown.pop();
        shown.push('…');
    }
    shown
}

/// Rows in columns as wide as their widest cell; the first row is the head.
#[must_use]
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let padding = width - cell.chars().count();
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', padding + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_its_cells() {
        let rows = [["BOT", "STATE"], ["102000001", "live"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "BOT        STATE\n102000001  live\n");
    }

    #[test]
    fn what_a_user_wrote_stays_on_its_line() {
        assert_eq!(one_line("a\u{1b}[31m\nb", 40), "a [31m b");
        assert_eq!(one_line("abcdef", 4), "abc…");
    }
}
