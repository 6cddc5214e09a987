//! The control file format: stanzas of fields (Debian policy chapter 5, deb822(5)).

use anyhow::{Context as _, Result, bail};

/// A stanza: its fields, and the line at which it begins, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stanza<'a> {
    /// Line of its first field.
    pub line: usize,
    text: &'a str,
    fields: Vec<Field<'a>>,
}

/// A field: its name, and from where to where its value stands in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field<'a> {
    name: &'a str,
    start: usize,
    end: usize,
}

impl<'a> Stanza<'a> {
    /// The field of that name, in whatever case, without outer white space; lines after the first
    /// follow as they stand.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        let found = self.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
        self.text.get(found.start..found.end).map(str::trim)
    }

    /// The field of that name.
    ///
    /// # Errors
    /// There is none; the message tells the line of the stanza.
    pub fn need(&self, name: &str) -> Result<&'a str> {
        let missing = || format!("the entry at line {} has no field `{name}`", self.line);
        self.get(name).filter(|value| !value.is_empty()).with_context(missing)
    }
}

/// The stanzas of `text`, in order.
pub fn stanzas(text: &str) -> Stanzas<'_> {
    Stanzas { text, offset: 0, line: 0 }
}

/// Iterator over stanzas; ends after the first error.
pub struct Stanzas<'a> {
    text: &'a str,
    offset: usize,
    line: usize,
}

impl<'a> Stanzas<'a> {
    /// The next line, without its end, and where it begins.
    fn next_line(&mut self) -> Option<(usize, &'a str)> {
        let rest = self.text.get(self.offset..).filter(|rest| !rest.is_empty())?;
        let start = self.offset;
        let length = rest.find('\n').unwrap_or(rest.len());
        (self.offset, self.line) = (start + length + 1, self.line + 1);
        Some((start, &rest[..length]))
    }

    fn read(&mut self) -> Result<Option<Stanza<'a>>> {
        let mut stanza = Stanza { line: 0, text: self.text, fields: Vec::new() };
        loop {
            match self.next_line() {
                Some((_, line)) if line.starts_with('#') => {}
                Some((start, line)) if !line.trim().is_empty() => {
                    self.add(&mut stanza, start, line)?;
                }
                Some(_) if stanza.fields.is_empty() => {}
                None if stanza.fields.is_empty() => return Ok(None),
                _ => return Ok(Some(stanza)),
            }
        }
    }

    /// Adds a field, or a further line to the last one.
    fn add(&self, stanza: &mut Stanza<'a>, start: usize, line: &'a str) -> Result<()> {
        let (number, end) = (self.line, start + line.len());
        if line.starts_with([' ', '\t']) {
            let last = stanza.fields.last_mut();
            let last = last.with_context(|| {
                format!("line {number}: a further line of a field, but no field before it")
            })?;
            last.end = end;
            return Ok(());
        }
        let name = line.split_once(':').map(|(name, _)| name).filter(|name| is_name(name));
        let Some(name) = name else {
            let shown: String = line.chars().take(60).collect();
            bail!("line {number}: expected `Field: value`, found {shown:?}");
        };
        if stanza.fields.iter().any(|field| field.name.eq_ignore_ascii_case(name)) {
            bail!("line {number}: the field `{name}` stands there twice");
        }
        if stanza.fields.is_empty() {
            stanza.line = number;
        }
        stanza.fields.push(Field { name, start: start + name.len() + 1, end });
        Ok(())
    }
}

/// Policy 5.1: printable, no space and no colon.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic())
}

impl<'a> Iterator for Stanzas<'a> {
    type Item = Result<Stanza<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = self.read().transpose();
        if matches!(read, Some(Err(_))) {
            self.offset = self.text.len();
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lines_and_comments() {
        let text = "\n# head\nPackage: a\nDescription: one\n two\n .\nSize:\t3\r\n\n\nPackage: b";
        let read: Vec<_> = stanzas(text).map(|stanza| stanza.expect("sound")).collect();
        assert_eq!(read.iter().map(|stanza| stanza.line).collect::<Vec<_>>(), [3, 10]);
        assert_eq!(read[0].get("package"), Some("a"));
        assert_eq!(read[0].get("Description"), Some("one\n two\n ."));
        assert_eq!(read[0].get("Size"), Some("3"));
        assert_eq!(read[0].get("Version"), None);
        let missing = read[1].need("Version").expect_err("missing").to_string();
        assert_eq!(missing, "the entry at line 10 has no field `Version`");
    }

    #[test]
    fn what_is_no_stanza_names_its_line() {
        let refused = |text: &str| {
            let mut stanzas = stanzas(text);
            let error = stanzas.find_map(Result::err).expect("refused").to_string();
            assert!(stanzas.next().is_none(), "nothing after an error");
            error
        };
        assert_eq!(
            refused("A: 1\n\nno colon here\nB: 2"),
            "line 3: expected `Field: value`, found \"no colon here\""
        );
        assert_eq!(refused("A: 1\na: 2"), "line 2: the field `a` stands there twice");
        assert!(refused(" x: 1").starts_with("line 1: a further line of a field"));
        assert!(refused("ä b: 1").starts_with("line 1: expected `Field: value`"));
        assert!(stanzas("").next().is_none());
    }
}
