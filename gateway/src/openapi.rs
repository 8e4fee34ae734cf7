//! The description of the API for programs. Kept by hand, as bodies are read by hand; tests hold it
//! against the routes.

/// The document.
pub(crate) const TEXT: &str = include_str!("../assets/openapi.json");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::metrics::VERSION;
    use crate::routes::table;

    fn document() -> Value {
        serde_json::from_str(TEXT).expect("JSON")
    }

    #[test]
    fn every_route_is_described() {
        let document = document();
        let described: BTreeSet<_> =
            document["paths"].as_object().expect("paths").keys().map(String::as_str).collect();
        let mut routes: BTreeSet<_> = table().into_iter().map(|(path, _)| path).collect();
        routes.insert("/");
        assert_eq!(described, routes);
        assert_eq!(document["info"]["version"], VERSION);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(fields) => {
                    found.extend(fields.get("$ref").and_then(Value::as_str));
                    fields.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("within the document");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}
