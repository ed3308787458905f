//! Arrays of JSON, element by element, each as the text that it is written in.

use std::fmt;

use serde::Deserializer;
use serde::de::{SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Hands the elements of an array over one by one; nothing of `null`.
pub(super) fn each(array: &str, take: &mut dyn FnMut(&str)) -> serde_json::Result<()> {
    let mut reader = serde_json::Deserializer::from_str(array);
    reader.deserialize_any(Each { take })?;
    reader.end()
}

struct Each<'a> {
    take: &'a mut dyn FnMut(&str),
}

impl<'de> Visitor<'de> for Each<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while let Some(element) = elements.next_element::<&RawValue>()? {
            (self.take)(element.get());
        }
        Ok(())
    }
}
