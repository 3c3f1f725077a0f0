//! The schema of the run document: real documents match it, it describes every key of them, and the manual's page
//! describes the same keys.

use crate::{ResultFile, Running, peerloop};
use boon::{Compiler, SchemaIndex, Schemas};
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use std::marker::PhantomData;
use std::{fmt, fs};

/// The address under which the schema is compiled; nothing is read from there.
const ADDRESS: &str = "https://peerloop.invalid/run.json";

/// Definitions whose fields are part of other objects too.
const SHARED: [&str; 2] = ["peers", "work"];

fn schema<T: DeserializeOwned>() -> T {
    let text =
        fs::read_to_string(format!("{}/schema/run.json", env!("CARGO_MANIFEST_DIR"))).expect("the schema exists");
    serde_json::from_str(&text).expect("the schema is JSON")
}

/// An object of the schema, with its keys in the order of the file.
#[derive(Deserialize)]
struct Object {
    description: String,
    properties: Pairs<Value>,
    #[serde(rename = "$defs", default)]
    defined: Pairs<Self>,
}

/// The pairs of a JSON object, in the order of the text.
struct Pairs<T>(Vec<(String, T)>);

impl<T> Default for Pairs<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Pairs<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ordered<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Ordered<T> {
            type Value = Pairs<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<T>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Ordered(PhantomData))
    }
}

/// Compiles the schema. With `is_strict`, it refuses keys that it does not describe.
fn compile(is_strict: bool) -> (Schemas, SchemaIndex) {
    let mut schema: Value = schema();
    if is_strict {
        schema["unevaluatedProperties"] = json!(false);
        for (name, object) in schema["$defs"].as_object_mut().expect("the schema has definitions") {
            if !SHARED.contains(&name.as_str()) {
                object["unevaluatedProperties"] = json!(false);
            }
        }
    }
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    compiler.add_resource(ADDRESS, schema).expect("the address is absolute");
    let index = compiler.compile(ADDRESS, &mut schemas).unwrap_or_else(|error| panic!("{error:#}"));
    (schemas, index)
}

#[track_caller]
pub(crate) fn assert_valid(document: &Value) {
    let (schemas, index) = compile(true);
    if let Err(error) = schemas.validate(document, index) {
        panic!("{error:#}");
    }
}

#[test]
fn the_documents_of_real_runs_match_the_schema() {
    let (_one, one) = Running::serve(&["--max-peers", "2"]);
    let (_two, two) = Running::serve(&[]);
    let short = ["-c", "6", "-r", "60", "-d", "500ms", "--warmup", "0s", "--drain", "100ms", "-q"];
    let events = ResultFile::new("schema.csv");
    for (name, more) in [
        ("schema-built-in.json", &["--events", events.path(), "--label", "a=b", "--name", "c"][..]),
        ("schema-two.json", &[&one, &two, "--network", "regtest"]),
        ("schema-refused.json", &["127.0.0.1:1", "--network", "regtest"]),
    ] {
        let file = ResultFile::new(name);
        peerloop(&[&["bench"], &short[..], more, &["--json", file.path()]].concat());
        assert_valid(&file.json());
    }
}

#[test]
fn the_documents_of_all_outcomes_match_the_schema() {
    for name in ["measured", "failed", "searched"] {
        let text = fs::read_to_string(format!("{}/src/bench/golden/{name}.json", env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert_valid(&serde_json::from_str(&text).unwrap());
    }
}

#[test]
fn a_missing_key_a_wrong_type_and_an_unknown_key_are_found() {
    let path = format!("{}/src/bench/golden/measured.json", env!("CARGO_MANIFEST_DIR"));
    let document: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let changes: [fn(&mut Value); 6] = [
        |document| drop(document["run"].as_object_mut().unwrap().remove("seed")),
        |document| document["run"]["seed"] = json!(7),
        |document| document["metrics"][0]["planned"]["percentiles"]["p50"] = json!(7),
        |document| document["targets"][0]["unknown"] = json!(7),
        |document| document["unknown"] = json!(7),
        |document| document["schema"] = json!(2),
    ];
    let (schemas, index) = compile(true);
    for (number, change) in changes.iter().enumerate() {
        let mut changed = document.clone();
        change(&mut changed);
        assert!(schemas.validate(&changed, index).is_err(), "change {number} was not found");
    }
    // Programs that read the document may meet new keys.
    let (schemas, index) = compile(false);
    let mut changed = document;
    changed["targets"][0]["unknown"] = json!(7);
    assert!(schemas.validate(&changed, index).is_ok());
}

/// Formats the type of a value for the manual.
fn shown(value: &Value) -> String {
    let name = |of: &Value| of.as_str().map(|name| format!("`{}`", name.trim_start_matches("#/$defs/")));
    if let Some(target) = name(&value["$ref"]) {
        return format!("object {target}");
    }
    if let Some(options) = value["anyOf"].as_array() {
        return options.iter().map(shown).collect::<Vec<_>>().join(" or ");
    }
    if let Some(values) = value["enum"].as_array() {
        return values.iter().filter_map(name).collect::<Vec<_>>().join(", ");
    }
    if value["const"].is_string() || value["const"].is_number() {
        return format!("`{}`", value["const"].to_string().trim_matches('"'));
    }
    match &value["type"] {
        Value::String(one) if one == "array" => format!("list of {}", shown(&value["items"])),
        Value::String(one) => one.clone(),
        several => several.as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
    }
}

/// Formats the manual's part about the fields.
fn fields_of(name: &str, object: &Object) -> String {
    let mut text = format!("### `{name}`\n\n{}\n\n| key | type | meaning |\n|---|---|---|\n", object.description);
    for (key, value) in &object.properties.0 {
        let meaning = value["description"].as_str().unwrap_or_else(|| panic!("{name}.{key} has no description"));
        text += &format!("| `{key}` | {} | {meaning} |\n", shown(value));
    }
    for (name, object) in &object.defined.0 {
        text += &format!("\n{}", fields_of(name, object));
    }
    text
}

#[test]
fn the_manual_describes_every_field_of_the_schema() {
    const BEGIN: &str = "<!-- The rest of this page is made from tools/peerloop/schema/run.json by a test. -->\n\n";
    let path = format!("{}/../../src/manual/results.md", env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(&path).unwrap();
    let (intro, _) = page.split_once(BEGIN).expect("the page has the mark before its last part");
    let expected = format!("{intro}{BEGIN}{}", fields_of("document", &schema()));
    match std::env::var_os("PEERLOOP_BLESS") {
        Some(_) => fs::write(path, expected).unwrap(),
        None => assert!(page == expected, "src/manual/results.md differs from the schema; run with PEERLOOP_BLESS=1"),
    }
}
