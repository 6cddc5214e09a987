//! The JSON Schema of recipes, from the types and the table of TEEs: editors complete and check by
//! it.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::Recipe;
use crate::measure::{TEES, Tee};

/// The schema as JSON text (draft 2020-12); `docs/recipe.schema.json` is equal to it.
pub fn schema() -> String {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<Recipe>().to_value();
    let settings = schema["$defs"]["MachineSpec"]["properties"].take();
    let settings = settings.as_object().cloned().unwrap_or_default();
    let machines: Vec<_> = TEES.iter().map(|tee| machine(tee, &settings)).collect();
    schema["properties"]["machines"]["items"] = json!({ "oneOf": machines });
    schema["$defs"].as_object_mut().map(|defs| defs.remove("MachineSpec"));
    format!("{schema:#}\n")
}

/// An entry of `machines` for one TEE: the VMM, and the settings of its row.
fn machine(tee: &Tee, settings: &Map<String, Value>) -> Value {
    let takes = |name: &String| name == "vmm" || tee.takes.contains(&name.as_str());
    let own: Map<_, _> = settings.clone().into_iter().filter(|(name, _)| takes(name)).collect();
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

    #[test]
    fn every_setting_that_a_tee_takes_is_one() {
        let settings = serde_json::to_value(crate::recipe::MachineSpec::default()).expect("JSON");
        for tee in TEES {
            for name in tee.takes {
                assert!(settings.get(name).is_some(), "{} takes `{name}`, which is none", tee.name);
            }
        }
    }
}
