//! The JSON Schema of the settings as a module carries it: without the spaces that people read it by. A fresh instance copies all
//! data of its module, so each byte of it costs fuel in every decision.

/// The length of JSON text without the spaces between its parts.
pub const fn packed_len(text: &str) -> usize {
    let (mut rest, mut place, mut length) = (text.as_bytes(), Place::Between, 0);
    while let [byte, after @ ..] = rest {
        let kept;
        (place, kept) = place.next(*byte);
        length += kept as usize;
        rest = after;
    }
    length
}

/// JSON text without the spaces between its parts.
#[allow(clippy::indexing_slicing)] // Evaluated by the compiler only, where a wrong index stops the build.
pub const fn pack<const N: usize>(text: &str) -> [u8; N] {
    let mut packed = [b' '; N];
    let (mut rest, mut place, mut length) = (text.as_bytes(), Place::Between, 0);
    while let [byte, after @ ..] = rest {
        let kept;
        (place, kept) = place.next(*byte);
        if kept {
            packed[length] = *byte;
            length += 1;
        }
        rest = after;
    }
    packed
}

#[derive(Clone, Copy)]
enum Place {
    /// Where spaces mean nothing.
    Between,
    /// Within a text.
    Text,
    /// Within a text, behind a backslash.
    Escaped,
}

impl Place {
    /// Where the next byte stands, and whether this one is kept.
    const fn next(self, byte: u8) -> (Self, bool) {
        match (self, byte) {
            (Self::Between, b' ' | b'\n' | b'\r' | b'\t') => (Self::Between, false),
            (Self::Text, b'\\') => (Self::Escaped, true),
            (Self::Between, b'"') | (Self::Escaped, _) => (Self::Text, true),
            (Self::Text, b'"') | (Self::Between, _) => (Self::Between, true),
            (Self::Text, _) => (Self::Text, true),
        }
    }
}

/// The text of a schema's file, such as `settings_schema!("../settings.schema.json")`, without the spaces that only people need.
#[macro_export]
macro_rules! settings_schema {
    ($path:literal) => {{
        const TEXT: &str = include_str!($path);
        const PACKED: [u8; $crate::schema::packed_len(TEXT)] = $crate::schema::pack(TEXT);
        const SCHEMA: &str = match ::core::str::from_utf8(&PACKED) {
            Ok(schema) => schema,
            Err(_) => TEXT,
        };
        SCHEMA
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_spaces_between_parts_go() {
        const TEXT: &str = "{ \"a b\" : [ 1,\n\t\"\\\" \\\\\", true ],\r\n \"\u{e9} \": \"  \" }\n";
        const PACKED: [u8; packed_len(TEXT)] = pack(TEXT);
        assert_eq!(core::str::from_utf8(&PACKED), Ok("{\"a b\":[1,\"\\\" \\\\\",true],\"\u{e9} \":\"  \"}"));
    }
}
