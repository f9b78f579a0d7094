//! A quantity in a resource: text or a whole number, kept as it was written.

use std::{borrow::Cow, fmt};

use kube::core::Rule;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::quantity::{Error, Quantity};

/// A quantity as it was written: `"10"`, `"500m"`, or the number 10.
///
/// Kept as text, so that a wrong one is an error of its field and not of the whole object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct QuantityText(pub String);

impl QuantityText {
    /// The quantity, exactly.
    ///
    /// # Errors
    ///
    /// When the text is none.
    pub fn quantity(&self) -> Result<Quantity, Error> {
        self.0.parse()
    }
}

/// The definition's rule that a field, where it is set, is more than nothing: a whole number or a text, as
/// [`QuantityText`] takes both.
pub(super) fn above_zero(field: &str) -> Rule {
    let text = format!("isQuantity(self.{field}) && quantity(self.{field}).isGreaterThan(quantity('0'))");
    let message = format!("{field} must be a quantity greater than 0, such as 10 or 500m");
    Rule::new(format!("!has(self.{field}) || (type(self.{field}) == int ? self.{field} > 0 : {text})"))
        .message(message.as_str())
        .field_path(format!(".{field}"))
}

impl<'de> Deserialize<'de> for QuantityText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = QuantityText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity such as \"10\" or \"500m\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<QuantityText, E> {
                Ok(QuantityText(text.to_owned()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<QuantityText, E> {
                Ok(QuantityText(number.to_string()))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<QuantityText, E> {
                Ok(QuantityText(number.to_string()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for QuantityText {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // No pattern: its message would show the expression, not what to write.
        json_schema!({ "x-kubernetes-int-or-string": true })
    }

    fn inline_schema() -> bool {
        true
    }
}
