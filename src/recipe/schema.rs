//! The JSON Schema of recipes, from the types and the table of TEEs: editors complete and check by
//! it.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::Recipe;
use crate::measure::guest::FIRMWARE;
use crate::measure::machine::Kind;
use crate::measure::{Setting, TEES, Tee};

/// The schema as JSON text (draft 2020-12); `docs/recipe.schema.json` is equal to it.
pub fn schema() -> String {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<Recipe>().to_value();
    let common = schema["$defs"]["MachineSpec"]["properties"].take();
    let machines: Vec<_> = TEES.iter().map(|tee| machine(tee, &common)).collect();
    schema["properties"]["machines"]["items"] = json!({ "oneOf": machines });
    for name in ["MachineSpec", "Values", "Scalar"] {
        schema["$defs"].as_object_mut().map(|defs| defs.remove(name));
    }
    format!("{schema:#}\n")
}

/// An entry of `machines` for one TEE: the VMM, the firmware, and the settings of its row.
fn machine(tee: &Tee, common: &Value) -> Value {
    let mut own = Map::new();
    own.insert("vmm".to_string(), common["vmm"].clone());
    if tee.reads.contains(&FIRMWARE) {
        own.insert("firmware".to_string(), common["firmware"].clone());
    }
    own.extend(tee.takes.iter().map(|setting| (setting.name.to_string(), values(setting))));
    let spec = json!({
        "description": tee.about, "type": "object", "properties": own, "additionalProperties": false
    });
    json!({
        "type": "object",
        "properties": { tee.name: spec },
        "required": [tee.name],
        "additionalProperties": false,
    })
}

/// One value of a setting, or a list of them.
fn values(setting: &Setting) -> Value {
    let one = match setting.kind {
        Kind::Count => json!({ "type": "integer", "minimum": 1, "maximum": 4096 }),
        Kind::Number => json!({ "type": ["integer", "string"] }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Choice(words) => json!({ "enum": words }),
        Kind::Size | Kind::Version | Kind::Cpu | Kind::Text => json!({ "type": "string" }),
    };
    let list = json!({ "type": "array", "items": one });
    json!({ "description": setting.about, "anyOf": [one, list] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_in_docs_is_this_one() {
        assert!(
            include_str!("../../docs/recipe.schema.json") == schema(),
            "run `cargo run -- schema > docs/recipe.schema.json` and commit the result"
        );
    }
}
