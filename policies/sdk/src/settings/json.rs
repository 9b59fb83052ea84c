//! JSON text, as people write settings, to the compact form that [`super::form`] reads. No number becomes a float.

use super::form::Tag;
use crate::problem::Problem;
use alloc::{format, string::String, vec::Vec};

/// Deeper nesting than this is refused, so that the module's small stack is enough.
const DEEPEST: u32 = 24;

/// The compact form of JSON text.
pub(crate) fn compact(text: &str) -> Result<Vec<u8>, Problem> {
    let mut reader = Reader { text, at: 0, depth: 0, form: Vec::with_capacity(text.len()) };
    let done = reader.value().and_then(|()| {
        reader.skip_space();
        if reader.at == text.len() { Ok(()) } else { Err("unexpected text after the settings") }
    });
    match done {
        Ok(()) => Ok(reader.form),
        Err(detail) => {
            let (line, column) = reader.position();
            let detail = format!("not JSON at line {line}, column {column}: {detail}");
            Err(Problem { pointer: String::new(), detail })
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
    form: Vec<u8>,
}

type Read = Result<(), &'static str>;

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn position(&self) -> (usize, usize) {
        let before = self.text.as_bytes().get(..self.at).unwrap_or_default();
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        (before.iter().filter(|byte| **byte == b'\n').count() + 1, self.at - line_start + 1)
    }

    fn value(&mut self) -> Read {
        self.skip_space();
        match self.peek() {
            Some(b'{') => self.nested(Tag::Object, b'}'),
            Some(b'[') => self.nested(Tag::List, b']'),
            Some(b'"') => {
                self.form.push(Tag::Text as u8);
                self.text()
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => [("null", Tag::Null), ("true", Tag::True), ("false", Tag::False)]
                .into_iter()
                .find(|(word, _)| self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)))
                .map(|(word, tag)| {
                    self.at += word.len();
                    self.form.push(tag as u8);
                })
                .ok_or("expected a value"),
        }
    }

    /// A list or an object, between brackets.
    fn nested(&mut self, tag: Tag, close: u8) -> Read {
        self.at += 1;
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("nested too deeply");
        }
        self.form.push(tag as u8);
        self.measured(|reader| {
            reader.skip_space();
            if reader.take(close) {
                return Ok(());
            }
            loop {
                if close == b'}' {
                    reader.skip_space();
                    if reader.peek() != Some(b'"') {
                        return Err("expected a field name in double quotes");
                    }
                    reader.text()?;
                    reader.skip_space();
                    if !reader.take(b':') {
                        return Err("expected a colon");
                    }
                }
                reader.value()?;
                reader.skip_space();
                if reader.take(close) {
                    return Ok(());
                }
                if !reader.take(b',') {
                    return Err("expected a comma or the closing bracket");
                }
            }
        })?;
        self.depth -= 1;
        Ok(())
    }

    /// Puts the length of what `write` adds before it.
    fn measured(&mut self, write: impl FnOnce(&mut Self) -> Read) -> Read {
        let start = self.form.len();
        self.form.extend_from_slice(&[0; 4]);
        write(self)?;
        let length = u32::try_from(self.form.len() - start - 4).map_err(|_| "too long")?;
        if let Some(place) = self.form.get_mut(start..start + 4) {
            place.copy_from_slice(&length.to_le_bytes());
        }
        Ok(())
    }

    fn text(&mut self) -> Read {
        self.at += 1;
        self.measured(|reader| {
            loop {
                let start = reader.at;
                while !matches!(reader.peek(), None | Some(b'"' | b'\\' | 0..=0x1f)) {
                    reader.at += 1;
                }
                reader
                    .form
                    .extend_from_slice(reader.text.as_bytes().get(start..reader.at).unwrap_or_default());
                match reader.peek() {
                    Some(b'"') => {
                        reader.at += 1;
                        return Ok(());
                    }
                    Some(b'\\') => reader.escape()?,
                    Some(_) => return Err("control characters in text must be escaped"),
                    None => return Err("text without an end"),
                }
            }
        })
    }

    fn escape(&mut self) -> Read {
        self.at += 1;
        let letter = self.peek();
        self.at += 1;
        let character = match letter {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let mut code = self.four_digits()?;
                // A character beyond the first 65,536 is written as two halves.
                if (0xd800..0xdc00).contains(&code) && self.take(b'\\') && self.take(b'u') {
                    let low = self.four_digits()?;
                    if (0xdc00..0xe000).contains(&low) {
                        code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                    }
                }
                char::from_u32(code).ok_or("half of an escaped character")?
            }
            _ => return Err("unknown escape"),
        };
        self.form.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    fn four_digits(&mut self) -> Result<u32, &'static str> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            code = code * 16 + digit.ok_or("expected four hexadecimal digits")?;
            self.at += 1;
        }
        Ok(code)
    }

    fn number(&mut self) -> Read {
        let negative = self.take(b'-');
        let start = self.at;
        let mut value: u64 = 0;
        while let Some(byte @ b'0'..=b'9') = self.peek() {
            value = value
                .checked_mul(10)
                .and_then(|value| value.checked_add(u64::from(byte - b'0')))
                .ok_or("a whole number beyond 64 bits")?;
            self.at += 1;
        }
        let digits = self.at - start;
        if digits == 0 || (digits > 1 && self.text.as_bytes().get(start) == Some(&b'0')) {
            return Err("malformed number");
        }
        if matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
            return Err("numbers must be whole: write a decimal in quotes, such as \"12.5\"");
        }
        if negative {
            let value = 0_i64.checked_sub_unsigned(value).ok_or("a whole number beyond 64 bits")?;
            self.form.push(Tag::Negative as u8);
            self.form.extend_from_slice(&value.to_le_bytes());
        } else {
            self.form.push(Tag::Number as u8);
            self.form.extend_from_slice(&value.to_le_bytes());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_text_is_refused_with_its_place() {
        for (text, detail) in [
            ("", "line 1, column 1: expected a value"),
            ("{\"a\":1,}", "line 1, column 8: expected a field name"),
            ("{\n \"a\" 1}", "line 2, column 6: expected a colon"),
            ("[1 2]", "expected a comma or the closing bracket"),
            ("[1] 2", "unexpected text after the settings"),
            ("\"a", "text without an end"),
            ("\"a\nb\"", "control characters"),
            ("\"\\x\"", "unknown escape"),
            ("\"\\ud800\"", "half of an escaped character"),
            ("\"\\ud800\\u0041\"", "half of an escaped character"),
            ("1.5", "write a decimal in quotes"),
            ("01", "malformed number"),
            ("-", "malformed number"),
            ("18446744073709551616", "beyond 64 bits"),
            ("nul", "expected a value"),
        ] {
            let problem = compact(text).unwrap_err();
            assert!(problem.detail.contains(detail), "{text}: {}", problem.detail);
        }
        assert!(compact(&"[".repeat(10_000)).unwrap_err().detail.contains("nested too deeply"));
    }
}
