//! Tree → types, through serde. Every error points at the node that caused it.

use std::fmt;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer as _,
    MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::error::{Origin, Problem, suggest};
use super::node::{Entry, Node, Value};

/// The value of type `T` that `node` describes.
pub(super) fn decode<T: DeserializeOwned>(node: &Node) -> Result<T, Problem> {
    T::deserialize(node).map_err(|fault| {
        let Fault { at, what, hint } = fault;
        Problem { at: at.unwrap_or_else(|| node.origin.clone()), what, hint }
    })
}

/// An error on its way up; the first node that sees it says where it is.
#[derive(Debug)]
pub(super) struct Fault {
    at: Option<Origin>,
    what: String,
    hint: Option<String>,
}

impl Fault {
    fn new(what: impl Into<String>, hint: Option<String>) -> Self {
        Self { at: None, what: what.into(), hint }
    }

    fn at(mut self, origin: &Origin) -> Self {
        self.at.get_or_insert_with(|| origin.clone());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Fault {}

impl serde::de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string(), None)
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self::new(format!("unknown key `{field}`"), suggest(field, known))
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        Self::new(format!("unknown choice `{variant}`"), suggest(variant, known))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("the key `{field}` is missing"), None)
    }
}

impl Node {
    fn unexpected(&self, expected: &str, hint: Option<String>) -> Fault {
        let what = format!("expected {expected}, found {}", self.describe());
        Fault::new(what, hint).at(&self.origin)
    }

    /// Why a text was expected and something else stands here, and how to make it a text.
    fn no_text(&self) -> Fault {
        let hint = match &self.value {
            Value::Number(_, written) => {
                Some(format!("quote it: \"{}\"", written.replacen("0o", "0", 1)))
            }
            Value::Bool(value) => Some(format!("quote it: \"{value}\"")),
            _ => None,
        };
        self.unexpected("a text", hint)
    }

    fn whole(&self) -> Result<u64, Fault> {
        match &self.value {
            Value::Number(_, written) if is_octal(written) => {
                let hint = "write it without leading zeros";
                let what = format!("`{written}` is octal for YAML 1.1 and decimal for YAML 1.2");
                Err(Fault::new(what, Some(hint.to_string())).at(&self.origin))
            }
            Value::Number(Some(number), _) => Ok(*number),
            Value::Text(text) if text.parse::<u64>().is_ok() => {
                Err(self.unexpected("a whole number", Some("remove the quotes".to_string())))
            }
            _ => Err(self.unexpected("a whole number", None)),
        }
    }
}

fn is_octal(written: &str) -> bool {
    written.len() > 1 && written.starts_with('0') && written.bytes().all(|b| b.is_ascii_digit())
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(Some(number), _) => visitor.visit_u64(*number),
            Value::Number(None, text) | Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Map(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.value {
            Value::Text(text) => {
                visitor.visit_borrowed_str(text).map_err(|e: Fault| e.at(&self.origin))
            }
            _ => Err(self.no_text()),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_string(visitor)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_u64(self.whole()?)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let number = self.whole()?;
        match u32::try_from(number) {
            Ok(number) => visitor.visit_u32(number),
            Err(_) => Err(self.unexpected(&format!("a number up to {}", u32::MAX), None)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            Value::Bool(value) => visitor.visit_bool(value),
            _ => Err(self.unexpected("`true` or `false`", None)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.value {
            Value::List(items) => visitor.visit_seq(Items(items.iter())),
            Value::Text(text) if text.chars().count() <= 40 => {
                Err(self.unexpected("a list", Some(format!("write [{text}]"))))
            }
            _ => Err(self.unexpected("a list", None)),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.value {
            Value::Map(entries) => {
                let entries = Entries { entries: entries.iter(), value: None };
                visitor.visit_map(entries).map_err(|e| e.at(&self.origin))
            }
            _ => Err(self.unexpected("a mapping", None)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let choice = match &self.value {
            Value::Text(name) => Choice { name, origin: &self.origin, node: None },
            Value::Map(entries) if entries.len() == 1 => {
                let Entry { key, origin, node } = &entries[0];
                Choice { name: key, origin, node: Some(node) }
            }
            Value::Map(entries) => {
                let what = format!("expected one key, found {}", entries.len());
                let hint = Some(format!("write exactly one of {}", known.join(", ")));
                return Err(Fault::new(what, hint).at(&self.origin));
            }
            _ => return Err(self.unexpected(&format!("one of {}", known.join(", ")), None)),
        };
        visitor.visit_enum(choice)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u128 f32 f64 char bytes byte_buf unit unit_struct newtype_struct
        tuple tuple_struct identifier ignored_any
    }
}

struct Items<'de>(std::slice::Iter<'de, Node>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        let item = self.0.next();
        item.map(|node| seed.deserialize(node).map_err(|e| e.at(&node.origin))).transpose()
    }
}

struct Entries<'de> {
    entries: std::slice::Iter<'de, Entry>,
    value: Option<&'de Node>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        let Some(entry) = self.entries.next() else { return Ok(None) };
        self.value = Some(&entry.node);
        let key = seed.deserialize(entry.key.as_str().into_deserializer());
        key.map(Some).map_err(|e: Fault| e.at(&entry.origin))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let node = self.value.take().ok_or_else(|| Fault::custom("a value before its key"))?;
        seed.deserialize(node).map_err(|e| e.at(&node.origin))
    }
}

#[derive(Clone, Copy)]
struct Choice<'de> {
    name: &'de str,
    origin: &'de Origin,
    node: Option<&'de Node>,
}

impl<'de> EnumAccess<'de> for Choice<'de> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Fault> {
        let variant = seed.deserialize(self.name.into_deserializer());
        variant.map(|v| (v, self)).map_err(|e: Fault| e.at(self.origin))
    }
}

impl<'de> Choice<'de> {
    fn value(&self) -> Result<&'de Node, Fault> {
        self.node.ok_or_else(|| {
            let hint = format!("write {{{}: …}}", self.name);
            Fault::new(format!("`{}` needs a value", self.name), Some(hint)).at(self.origin)
        })
    }
}

impl<'de> VariantAccess<'de> for Choice<'de> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        match self.node {
            None => Ok(()),
            Some(node) if node.value == Value::Null => Ok(()),
            Some(node) => {
                let what = format!("`{}` takes no value", self.name);
                Err(Fault::new(what, Some(format!("write {}", self.name))).at(&node.origin))
            }
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        let node = self.value()?;
        seed.deserialize(node).map_err(|e| e.at(&node.origin))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.value()?.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.value()?.deserialize_map(visitor)
    }
}
