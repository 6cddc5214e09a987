//! The difference of two texts, line by line, as `diff -u` shows it.

/// Lines of a text beyond which it is only said that it differs: the comparison grows with the
/// square.
const MANY: usize = 2000;

/// Lines around a change that are shown with it.
const CONTEXT: usize = 2;

/// Lines of a difference that are shown.
const SHOWN: usize = 200;

/// A line of both texts, of the first alone, or of the second alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line<'a> {
    Both(&'a str),
    Gone(&'a str),
    New(&'a str),
}

/// The lines that differ, with their surroundings, and of texts of one line the words; nothing where
/// the bytes are no text, or equal.
pub(super) fn diff(before: &[u8], after: &[u8]) -> Option<String> {
    let (before, after) = (text(before)?, text(after)?);
    let (mut a, mut b): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    if a.len() <= 1 && b.len() <= 1 {
        (a, b) = (before.trim_end().split(' ').collect(), after.trim_end().split(' ').collect());
    }
    let start = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let (a_rest, b_rest) = (&a[start..], &b[start..]);
    let end = a_rest.iter().rev().zip(b_rest.iter().rev()).take_while(|(x, y)| x == y).count();
    let (a_rest, b_rest) = (&a_rest[..a_rest.len() - end], &b_rest[..b_rest.len() - end]);
    if a_rest.len() > MANY || b_rest.len() > MANY {
        return Some(format!("({} lines instead of {})", b.len(), a.len()));
    }
    let mut lines: Vec<_> = a[..start].iter().map(|line| Line::Both(line)).collect();
    lines.extend(changed(a_rest, b_rest));
    lines.extend(a[a.len() - end..].iter().map(|line| Line::Both(line)));
    let shown = shown(&lines);
    (!shown.is_empty()).then(|| shown.join("\n"))
}

/// UTF-8 without control characters that a terminal would obey.
fn text(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let control = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    (!text.contains(control)).then_some(text)
}

/// Lines between the common start and end, paired by longest common subsequence.
fn changed<'a>(a: &[&'a str], b: &[&'a str]) -> Vec<Line<'a>> {
    let mut length = vec![vec![0_u16; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            length[i][j] = match a[i] == b[j] {
                true => length[i + 1][j + 1] + 1,
                false => length[i + 1][j].max(length[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            lines.push(Line::Both(a[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && length[i + 1][j] >= length[i][j + 1]) {
            lines.push(Line::Gone(a[i]));
            i += 1;
        } else {
            lines.push(Line::New(b[j]));
            j += 1;
        }
    }
    lines
}

/// The changed lines and those close to them.
fn shown(lines: &[Line<'_>]) -> Vec<String> {
    let differs = |line: &Line<'_>| !matches!(line, Line::Both(_));
    let close = |index: usize| {
        let from = index.saturating_sub(CONTEXT);
        lines[from..lines.len().min(index + CONTEXT + 1)].iter().any(differs)
    };
    let mut shown = Vec::new();
    let mut last = None;
    for index in (0..lines.len()).filter(|index| close(*index)) {
        if shown.len() == SHOWN {
            shown.push("…".to_string());
            break;
        }
        if last.is_some_and(|last: usize| last + 1 != index) {
            shown.push("…".to_string());
        }
        last = Some(index);
        shown.push(match lines[index] {
            Line::Both(line) => format!("  {line}"),
            Line::Gone(line) => format!("- {line}"),
            Line::New(line) => format!("+ {line}"),
        });
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_lines_stand_among_their_neighbours() {
        let before = b"1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let after = b"1\n2\n3\n4\nfive\n6\n7\n8\n9\nten\n";
        let expected = "  3\n  4\n- 5\n+ five\n  6\n  7\n  8\n  9\n+ ten";
        assert_eq!(diff(before, after).as_deref(), Some(expected));
        assert_eq!(diff(before, before), None);
        assert_eq!(diff(b"\x7fELF\0", b"text"), None);
    }

    #[test]
    fn of_one_line_the_words_are_told() {
        let found = diff(b"console=ttyS0 quiet panic=-1", b"console=ttyS0 panic=-1 ro");
        assert_eq!(found.as_deref(), Some("  console=ttyS0\n- quiet\n  panic=-1\n+ ro"));
    }

    #[test]
    fn a_long_text_is_not_compared_line_by_line() {
        let lines = |word: &str| (0..3000).map(|n| format!("{word}{n}\n")).collect::<String>();
        let found = diff(lines("a").as_bytes(), lines("b").as_bytes());
        assert_eq!(found.as_deref(), Some("(3000 lines instead of 3000)"));
    }
}
