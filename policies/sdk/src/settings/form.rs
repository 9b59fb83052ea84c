//! The compact form of settings, and serde's way into it. [`super::json`] makes it when settings are checked; a decision
//! parses no text, and what the caller does not ask for is skipped without a look.
//!
//! A value is a [`Tag`] and its body: eight bytes for a number, a four-byte length and that many bytes for text, a
//! list (values) or an object (names as bare text, each followed by its value). All integers are little-endian.

use crate::problem::Problem;
use alloc::{
    borrow::ToOwned,
    boxed::Box,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;
use serde::de::{self, DeserializeSeed, Deserializer, Expected, Unexpected, Visitor};

/// What a value is.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Tag {
    Null,
    False,
    True,
    Number,
    Negative,
    Text,
    List,
    Object,
}

/// Why settings do not fit their type. In a box, since every step of reading hands it on.
#[derive(Debug)]
pub struct FormError(Box<Misfit>);

/// Text for people, and the way to the place, innermost step first.
#[derive(Debug)]
struct Misfit {
    detail: String,
    steps: Vec<String>,
}

impl FormError {
    #[cold]
    #[inline(never)]
    fn new(detail: String) -> Self {
        Self(Box::new(Misfit { detail, steps: Vec::new() }))
    }

    #[cold]
    #[inline(never)]
    fn at(mut self, step: &str) -> Self {
        self.0.steps.push(step.to_owned());
        self
    }
}

impl From<FormError> for Problem {
    fn from(error: FormError) -> Self {
        let mut pointer = String::new();
        for step in error.0.steps.iter().rev() {
            pointer.push('/');
            pointer.push_str(&step.replace('~', "~0").replace('/', "~1"));
        }
        Self { pointer, detail: error.0.detail }
    }
}

impl fmt::Display for FormError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.detail)
    }
}

impl core::error::Error for FormError {}

// Serde's own texts for these print floats too, which would double the size of a small module.
impl de::Error for FormError {
    fn custom<T: fmt::Display>(detail: T) -> Self {
        Self::new(detail.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Bool(_) => "true or false",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a number",
            Unexpected::Str(_) => "text",
            Unexpected::Unit | Unexpected::Option => "null",
            Unexpected::Seq => "a list",
            Unexpected::Map => "an object",
            _ => "something else",
        };
        Self::custom(format_args!("must be {expected}, not {found}"))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format_args!("must be {expected}"))
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Self::custom(format_args!("must be {expected}"))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(format_args!("unknown value \"{variant}\", must be one of: {}", expected.join(", ")))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(format_args!("unknown field, must be one of: {}", expected.join(", ")))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom(format_args!("field \"{field}\" is missing"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::custom(format_args!("field \"{field}\" is given twice"))
    }
}

/// Reads a value of the form.
///
/// # Errors
/// When the form is cut off or the value does not fit the type; the error knows where.
pub fn read<'de, T: de::Deserialize<'de>>(form: &'de [u8]) -> Result<T, FormError> {
    T::deserialize(&mut Form { rest: form })
}

/// An object's form without some of its fields; any other value as it is.
///
/// # Errors
/// When the form is cut off.
pub fn without(form: &[u8], fields: &[&str]) -> Result<Vec<u8>, FormError> {
    let mut whole = Form { rest: form };
    if whole.tag()? != Tag::Object {
        return Ok(form.to_vec());
    }
    let mut object = Form { rest: whole.body()? };
    let mut kept = Vec::with_capacity(form.len());
    while !object.rest.is_empty() {
        let field = object.rest;
        let name = object.text()?;
        object.skip()?;
        if !fields.contains(&name) {
            kept.extend_from_slice(field.get(..field.len() - object.rest.len()).unwrap_or_default());
        }
    }
    let length = u32::try_from(kept.len()).map_err(|_| cut_off())?;
    Ok([&[Tag::Object as u8][..], &length.to_le_bytes(), &kept].concat())
}

struct Form<'de> {
    rest: &'de [u8],
}

impl<'de> Form<'de> {
    fn bytes(&mut self, length: usize) -> Result<&'de [u8], FormError> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or_else(cut_off)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FormError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or_else(cut_off)?;
        self.rest = rest;
        Ok(*bytes)
    }

    /// The body of text, a list or an object.
    #[inline(never)]
    fn body(&mut self) -> Result<&'de [u8], FormError> {
        let length = u32::from_le_bytes(self.array()?);
        self.bytes(usize::try_from(length).map_err(|_| cut_off())?)
    }

    #[inline(never)]
    fn text(&mut self) -> Result<&'de str, FormError> {
        core::str::from_utf8(self.body()?).map_err(|_| cut_off())
    }

    #[inline(never)]
    fn tag(&mut self) -> Result<Tag, FormError> {
        const TAGS: [Tag; 8] =
            [Tag::Null, Tag::False, Tag::True, Tag::Number, Tag::Negative, Tag::Text, Tag::List, Tag::Object];
        let [tag] = self.array()?;
        TAGS.get(usize::from(tag)).copied().ok_or_else(cut_off)
    }

    fn list<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, FormError> {
        let mut list = List { items: Form { rest: self.body()? }, index: 0 };
        let value = visitor.visit_seq(&mut list)?;
        if list.items.rest.is_empty() { Ok(value) } else { Err(de::Error::custom("the list is too long")) }
    }

    fn object<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, FormError> {
        visitor.visit_map(Object { fields: Form { rest: self.body()? }, name: "" })
    }

    /// Text names a variant without content; an object with one field is a variant and its content.
    #[inline(never)]
    fn variant(&mut self, variants: &[&str]) -> Result<Variant<'de>, FormError> {
        let unfit = || FormError::new(format!("must hold exactly one of: {}", variants.join(", ")));
        match self.tag()? {
            Tag::Text => Ok(Variant { name: self.text()?, content: None }),
            Tag::Object => {
                let mut fields = Form { rest: self.body()? };
                if fields.rest.is_empty() {
                    return Err(unfit());
                }
                let name = fields.text()?;
                let mut after = Form { rest: fields.rest };
                after.skip()?;
                if after.rest.is_empty() { Ok(Variant { name, content: Some(fields) }) } else { Err(unfit()) }
            }
            _ => Err(FormError::new(format!("must be one of: {}", variants.join(", ")))),
        }
    }

    #[inline(never)]
    fn skip(&mut self) -> Result<(), FormError> {
        match self.tag()? {
            Tag::Null | Tag::False | Tag::True => Ok(()),
            Tag::Number | Tag::Negative => self.bytes(8).map(drop),
            Tag::Text | Tag::List | Tag::Object => self.body().map(drop),
        }
    }
}

#[cold]
fn cut_off() -> FormError {
    FormError::new("the prepared settings are damaged".to_owned())
}

#[cold]
#[inline(never)]
fn unlike(found: Tag, expected: &dyn Expected) -> FormError {
    let found = match found {
        Tag::Null => Unexpected::Unit,
        Tag::False | Tag::True => Unexpected::Bool(found == Tag::True),
        Tag::Number | Tag::Negative => Unexpected::Unsigned(0),
        Tag::Text => Unexpected::Str(""),
        Tag::List => Unexpected::Seq,
        Tag::Object => Unexpected::Map,
    };
    de::Error::invalid_type(found, expected)
}

// Compiled once for each settings type, this is most of a small module: what can be shared is kept out of line. The
// methods for one kind of value take only that kind, so that a type's code for the others is not compiled in.
impl<'de> Deserializer<'de> for &mut Form<'de> {
    type Error = FormError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        match self.tag()? {
            Tag::Null => visitor.visit_unit(),
            Tag::False => visitor.visit_bool(false),
            Tag::True => visitor.visit_bool(true),
            Tag::Number => visitor.visit_u64(u64::from_le_bytes(self.array()?)),
            Tag::Negative => visitor.visit_i64(i64::from_le_bytes(self.array()?)),
            Tag::Text => visitor.visit_borrowed_str(self.text()?),
            Tag::List => self.list(visitor),
            Tag::Object => self.object(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        match self.tag()? {
            Tag::Text => visitor.visit_borrowed_str(self.text()?),
            other => Err(unlike(other, &visitor)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        match self.tag()? {
            Tag::List => self.list(visitor),
            other => Err(unlike(other, &"a list")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        match self.tag()? {
            Tag::Object => self.object(visitor),
            other => Err(unlike(other, &"an object")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FormError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        if self.rest.first() == Some(&(Tag::Null as u8)) {
            self.skip()?;
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, FormError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FormError> {
        visitor.visit_enum(self.variant(variants)?)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FormError> {
        self.skip()?;
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct
    }
}

struct List<'de> {
    items: Form<'de>,
    index: usize,
}

impl<'de> de::SeqAccess<'de> for List<'de> {
    type Error = FormError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, FormError> {
        if self.items.rest.is_empty() {
            return Ok(None);
        }
        let index = self.index;
        self.index += 1;
        seed.deserialize(&mut self.items).map(Some).map_err(|error| error.at(&index.to_string()))
    }
}

struct Object<'de> {
    fields: Form<'de>,
    /// The name of the field whose value comes next.
    name: &'de str,
}

impl<'de> de::MapAccess<'de> for Object<'de> {
    type Error = FormError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, FormError> {
        if self.fields.rest.is_empty() {
            return Ok(None);
        }
        self.name = self.fields.text()?;
        let name = de::value::BorrowedStrDeserializer::new(self.name);
        seed.deserialize(name).map(Some).map_err(|error: FormError| error.at(self.name))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, FormError> {
        seed.deserialize(&mut self.fields).map_err(|error| error.at(self.name))
    }
}

struct Variant<'de> {
    name: &'de str,
    content: Option<Form<'de>>,
}

impl<'de> Variant<'de> {
    /// What the variant holds, which must be something.
    fn content(&mut self) -> Result<&mut Form<'de>, FormError> {
        self.content
            .as_mut()
            .ok_or_else(|| FormError::new(format!("\"{}\" must be an object with one field", self.name)))
    }
}

impl<'de> de::EnumAccess<'de> for Variant<'de> {
    type Error = FormError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), FormError> {
        let name = de::value::BorrowedStrDeserializer::new(self.name);
        // A name that stands alone is the place itself; one that has content is a step towards it.
        let place = |error: FormError| if self.content.is_some() { error.at(self.name) } else { error };
        Ok((seed.deserialize(name).map_err(place)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'de> {
    type Error = FormError;

    fn unit_variant(self) -> Result<(), FormError> {
        match self.content {
            None => Ok(()),
            Some(_) => Err(FormError::new("holds nothing: write the name alone".to_owned()).at(self.name)),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(mut self, seed: T) -> Result<T::Value, FormError> {
        seed.deserialize(self.content()?).map_err(|error| error.at(self.name))
    }

    fn tuple_variant<V: Visitor<'de>>(mut self, _: usize, visitor: V) -> Result<V::Value, FormError> {
        self.content()?.deserialize_seq(visitor).map_err(|error| error.at(self.name))
    }

    fn struct_variant<V: Visitor<'de>>(
        mut self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FormError> {
        self.content()?.deserialize_map(visitor).map_err(|error| error.at(self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{settings::json::compact, testing::credits};
    use alloc::borrow::Cow;
    use proviso_amounts::Credits;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Settings<'a> {
        name: &'a str,
        #[serde(borrow, default)]
        alias: Option<Cow<'a, str>>,
        prices: Vec<Credits>,
        #[serde(default)]
        mode: Mode,
        #[serde(default)]
        signed: i8,
    }

    #[derive(Debug, Deserialize, PartialEq, Default)]
    #[serde(rename_all = "snake_case", deny_unknown_fields)]
    enum Mode {
        #[default]
        Block,
        Allow(Credits),
        Tiers {
            up_to: u32,
        },
        Pair(u8, u8),
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(tag = "mode", rename_all = "snake_case")]
    enum Tagged {
        Block,
        Allow { limit: Credits },
    }

    #[test]
    fn settings_read_back_typed() {
        let text = r#" {"name": "a\u00e9\ud83d\ude00\n\"", "prices": ["1.5", "2"], "mode": {"allow": "3"}, "signed": -4,
                        "alias": null} "#;
        let form = compact(text).unwrap();
        let settings: Settings<'_> = read(&form).unwrap();
        assert_eq!(
            settings,
            Settings {
                name: "aé😀\n\"",
                alias: None,
                prices: [credits("1.5"), credits("2")].into(),
                mode: Mode::Allow(credits("3")),
                signed: -4,
            }
        );
        let tagged = compact(r#"[{"mode": "block"}, {"limit": "2", "mode": "allow"}]"#).unwrap();
        let tagged: Vec<Tagged> = read(&tagged).unwrap();
        assert_eq!(tagged, [Tagged::Block, Tagged::Allow { limit: credits("2") }]);
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_place() {
        for (text, pointer, detail) in [
            ("[]", "", "must be an object, not a list"),
            ("{}", "", "field \"name\" is missing"),
            (r#"{"name": 1}"#, "/name", "must be a borrowed string, not a number"),
            (
                r#"{"name": "a", "prices": ["1", 2]}"#,
                "/prices/1",
                "must be a decimal string such as \"12.5\" (numbers are refused",
            ),
            (r#"{"name": "a", "prices": ["x"]}"#, "/prices/0", "not a decimal number such as \"12.5\""),
            (r#"{"name": "a", "a/b~c": 1}"#, "/a~1b~0c", "unknown field, must be one of: name"),
            (r#"{"name": "a", "name": "b"}"#, "", "field \"name\" is given twice"),
            (
                r#"{"mode": "halt"}"#,
                "/mode",
                "unknown value \"halt\", must be one of: block, allow, tiers, pair",
            ),
            (r#"{"mode": {"tiers": {"up_to": "1"}}}"#, "/mode/tiers/up_to", "must be u32, not text"),
            (r#"{"mode": {"tiers": {"up_to": 1}, "block": 2}}"#, "/mode", "must hold exactly one of"),
            (r#"{"mode": {"pair": [1, 2, 3]}}"#, "/mode/pair", "the list is too long"),
            (r#"{"mode": {}}"#, "/mode", "must hold exactly one of"),
            (r#"{"mode": {"block": 1}}"#, "/mode/block", "holds nothing: write the name alone"),
            (r#"{"mode": "allow"}"#, "/mode", "\"allow\" must be an object with one field"),
            (r#"{"mode": {"halt": 1}}"#, "/mode/halt", "unknown value \"halt\""),
            (r#"{"mode": 1}"#, "/mode", "must be one of"),
            (r#"{"signed": -200}"#, "/signed", "must be i8"),
        ] {
            let form = compact(text).unwrap();
            let problem = Problem::from(read::<Settings<'_>>(&form).unwrap_err());
            assert_eq!(problem.pointer, pointer, "{text}: {}", problem.detail);
            assert!(problem.detail.starts_with(detail), "{text}: {}", problem.detail);
        }
    }

    #[test]
    fn a_form_can_do_without_some_fields() {
        for (text, fields, expected) in [
            (r#"{"a": 1, "b": {"a": [2]}, "c": "3"}"#, &["b"][..], r#"{"a": 1, "c": "3"}"#),
            (r#"{"a": 1, "b": {"a": [2]}}"#, &["a", "x"], r#"{"b": {"a": [2]}}"#),
            (r#"{"a": 1}"#, &["a"], "{}"),
            (r#"["a"]"#, &["a"], r#"["a"]"#),
        ] {
            let without = without(&compact(text).unwrap(), fields).unwrap();
            assert_eq!(without, compact(expected).unwrap(), "{text}");
        }
    }

    #[test]
    fn a_damaged_form_is_an_error_not_a_crash() {
        let form = compact(r#"{"name": "a", "prices": ["1"]}"#).unwrap();
        for length in 0..form.len() {
            assert!(read::<Settings<'_>>(&form[..length]).is_err(), "{length}");
            assert!(without(&form[..length], &["name"]).is_err(), "{length}");
        }
        for index in 0..form.len() {
            let mut damaged = form.clone();
            damaged[index] ^= 0xff;
            let _ = read::<Settings<'_>>(&damaged);
        }
    }
}
