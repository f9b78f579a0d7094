//! What docs/events.md says of the events, to hold real ones against.

use std::{collections::BTreeMap, fs};

use serde_json::Value;

/// The tables of docs/events.md.
pub struct Schema {
    /// By event: its fields, and whether each has to be there.
    events: BTreeMap<String, BTreeMap<String, bool>>,
    /// By field: the values there are.
    values: BTreeMap<String, Vec<String>>,
}

/// What stands in backquotes.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

impl Schema {
    pub fn documented() -> Self {
        let page = fs::read_to_string("docs/events.md").unwrap();
        let mut schema = Self { events: BTreeMap::new(), values: BTreeMap::new() };
        let rows = page.lines().filter(|line| line.starts_with("| `"));
        for row in rows {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let name = quoted(cells[1]).remove(0);
            if cells.len() == 5 {
                let fields = cells[2].split(';').enumerate().flat_map(|(position, part)| {
                    let optional = position > 0 || part.contains("optional");
                    quoted(part).into_iter().map(move |field| (field, !optional))
                });
                schema.events.insert(name, fields.collect());
            } else {
                schema.values.insert(name, quoted(cells[2]));
            }
        }
        // The checks have a page of their own, a section each.
        let checks = fs::read_to_string("docs/checks.md").unwrap();
        let sections = checks.lines().filter_map(|line| line.strip_prefix("### "));
        schema.values.insert("check".to_owned(), sections.map(str::to_owned).collect());
        assert!(schema.values["check"].len() > 10, "the checks are not where they were");
        assert!(schema.events.len() > 7 && schema.values.len() > 3, "the tables are not where they were");
        schema
    }

    /// Why a line is not what is documented.
    pub fn refuse(&self, line: &Value) -> Option<String> {
        let fields = line.as_object()?;
        let name = fields["event"].as_str().unwrap();
        let Some(known) = self.events.get(name) else { return Some(format!("event {name} is not documented")) };
        if let Some(missing) = known.iter().find(|(field, needed)| **needed && !fields.contains_key(*field)) {
            return Some(format!("{name} has no `{}`", missing.0));
        }
        for (field, value) in fields.iter().filter(|(field, _)| *field != "event") {
            if !known.contains_key(field) {
                return Some(format!("`{field}` of {name} is not documented"));
            }
            let Some(values) = self.values.get(field) else { continue };
            let unknown = match value {
                Value::String(text) => (!values.contains(text)).then(|| text.clone()),
                Value::Object(parts) => parts.keys().find(|key| !values.contains(key)).cloned(),
                _ => None,
            };
            if let Some(unknown) = unknown {
                return Some(format!("`{field}` of {name} cannot be `{unknown}`"));
            }
        }
        None
    }
}
