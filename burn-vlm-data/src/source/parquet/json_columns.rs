//! Columns whose strings are JSON: datasets 5 makes one of a column of mixed contents, in which a plain string stands with its quotes.
//!
//! Parquet's logical type says so, or, where only Arrow knows it, the extension type `arrow.json` of the Arrow schema beside it.

use arrow_schema::{DataType, Field};
use parquet::arrow::parquet_to_arrow_schema;
use parquet::basic::{ConvertedType, LogicalType};
use parquet::file::metadata::KeyValue;
use parquet::schema::types::{SchemaDescriptor, Type};
use std::collections::HashSet;

/// The key of a field's metadata under which Arrow names an extension type, and the type.
const EXTENSION: (&str, &str) = ("ARROW:extension:name", "arrow.json");

/// Columns by their path: names with dots between, lists left out.
#[derive(Debug, Default)]
pub(super) struct JsonColumns(HashSet<String>);

impl JsonColumns {
    /// The JSON columns of a schema.
    pub(super) fn of(schema: &SchemaDescriptor, metadata: Option<&Vec<KeyValue>>) -> Self {
        let mut found = Self::default();
        if let Type::GroupType { fields, .. } = schema.root_schema() {
            fields.iter().for_each(|field| found.add_parquet(field.name(), field));
        }
        // An Arrow schema that cannot be read is not needed otherwise.
        if let Ok(schema) = parquet_to_arrow_schema(schema, metadata) {
            schema.fields().iter().for_each(|field| found.add_arrow(field.name(), field));
        }
        found
    }

    /// Whether the strings of a column are JSON.
    pub(super) fn is_json(&self, path: &str) -> bool {
        self.0.contains(path)
    }

    /// Whether a column is JSON or has such columns in it.
    pub(super) fn is_within(&self, path: &str) -> bool {
        let inside =
            |json: &String| json.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.0.iter().any(inside)
    }

    fn add_parquet(&mut self, path: &str, found: &Type) {
        let info = found.get_basic_info();
        let is_list =
            info.converted_type() == ConvertedType::LIST || info.logical_type_ref() == Some(&LogicalType::List);
        match found {
            Type::PrimitiveType { .. } => {
                if info.converted_type() == ConvertedType::JSON || info.logical_type_ref() == Some(&LogicalType::Json) {
                    self.0.insert(path.to_owned());
                }
            }
            // A list is a group around a repeated group around its items.
            Type::GroupType { fields, .. } if is_list => match fields.first().map(AsRef::as_ref) {
                Some(Type::GroupType { fields: items, .. }) if items.len() == 1 => self.add_parquet(path, &items[0]),
                Some(items) => self.add_parquet(path, items),
                None => {}
            },
            Type::GroupType { fields, .. } => {
                fields.iter().for_each(|field| self.add_parquet(&format!("{path}.{}", field.name()), field));
            }
        }
    }

    fn add_arrow(&mut self, path: &str, field: &Field) {
        if field.metadata().get(EXTENSION.0).is_some_and(|name| name == EXTENSION.1) {
            self.0.insert(path.to_owned());
        }
        match field.data_type() {
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                self.add_arrow(path, item)
            }
            DataType::Struct(fields) => {
                fields.iter().for_each(|field| self.add_arrow(&format!("{path}.{}", field.name()), field));
            }
            _ => {}
        }
    }
}
