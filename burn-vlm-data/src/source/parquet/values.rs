//! One value of an Arrow column as JSON or as pictures.

use super::super::named::named;
use super::super::record::RawPicture;
use super::super::skip::SkipReason;
use super::super::text::parse_value;
use super::json_columns::JsonColumns;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, StructArray};
use arrow_schema::DataType;
use bytes::Bytes;
use serde_json::{Map, Value};

/// How values become JSON.
pub(super) struct Values<'a> {
    /// Columns whose strings are JSON themselves.
    pub(super) json: &'a JsonColumns,
    /// How deep these may be nested.
    pub(super) max_depth: usize,
}

impl Values<'_> {
    /// A value of a column as JSON; types that JSON has no word for (dates, decimals) become null, since no field of a sample has them.
    /// The path is that of the column, where there is JSON in it.
    pub(super) fn json(&self, path: Option<&str>, column: &dyn Array, row: usize) -> Result<Value, String> {
        if column.is_null(row) {
            return Ok(Value::Null);
        }
        Ok(match column.data_type() {
            DataType::Boolean => Value::Bool(column.as_boolean().value(row)),
            DataType::Int8 => column.as_primitive::<Int8Type>().value(row).into(),
            DataType::Int16 => column.as_primitive::<Int16Type>().value(row).into(),
            DataType::Int32 => column.as_primitive::<Int32Type>().value(row).into(),
            DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
            DataType::UInt8 => column.as_primitive::<UInt8Type>().value(row).into(),
            DataType::UInt16 => column.as_primitive::<UInt16Type>().value(row).into(),
            DataType::UInt32 => column.as_primitive::<UInt32Type>().value(row).into(),
            DataType::UInt64 => column.as_primitive::<UInt64Type>().value(row).into(),
            // As it is written with its own precision: 0.1 is 0.1, and not the nearest number of 64 bits.
            DataType::Float32 => match column.as_primitive::<Float32Type>().value(row) {
                value if value.is_finite() => value.to_string().parse::<f64>().unwrap_or(f64::from(value)).into(),
                _ => Value::Null,
            },
            DataType::Float64 => column.as_primitive::<Float64Type>().value(row).into(),
            DataType::Struct(_) => self.object(path, column.as_struct(), row)?,
            _ => match (bytes(column, row), items(column, row)) {
                (Some(bytes), _) if path.is_some_and(|path| self.json.is_json(path)) => {
                    parse_value(bytes, self.max_depth).map_err(|reason| reason.detail)?
                }
                (Some(bytes), _) => match std::str::from_utf8(bytes) {
                    Ok(text) => Value::String(text.to_owned()),
                    Err(_) => return Err("expected UTF-8 text, found other bytes".to_owned()),
                },
                (None, Some(items)) => {
                    let item = |item| self.json(path, &items, item);
                    Value::Array((0..items.len()).map(item).collect::<Result<_, _>>()?)
                }
                (None, None) => Value::Null,
            },
        })
    }

    fn object(&self, path: Option<&str>, column: &StructArray, row: usize) -> Result<Value, String> {
        let fields = column.fields().iter().zip(column.columns());
        let fields = fields.map(|(field, values)| {
            let path = path.map(|path| format!("{path}.{}", field.name()));
            Ok((field.name().clone(), self.json(path.as_deref(), values, row)?))
        });
        Ok(Value::Object(fields.collect::<Result<Map<String, Value>, String>>()?))
    }
}

/// The pictures of a value: one, or those of a list.
pub(super) fn pictures(column: &dyn Array, row: usize, label: &str) -> Result<Vec<RawPicture>, SkipReason> {
    if column.is_null(row) {
        return Ok(Vec::new());
    }
    match items(column, row) {
        Some(items) => {
            let one = |item| picture(&items, item, &format!("{label} ({item})"));
            Ok((0..items.len()).map(one).collect::<Result<Vec<_>, _>>()?.concat())
        }
        None => picture(column, row, label),
    }
}

/// A picture; none where neither bytes nor a path is there.
fn picture(column: &dyn Array, row: usize, label: &str) -> Result<Vec<RawPicture>, SkipReason> {
    if column.is_null(row) {
        return Ok(Vec::new());
    }
    let text = |bytes: &[u8]| named(&Value::String(String::from_utf8_lossy(bytes).into_owned()), label);
    // Copied: a slice would hold the whole batch.
    let encoded = |bytes: &[u8]| vec![RawPicture::Encoded(label.to_owned(), Bytes::copy_from_slice(bytes))];
    if column.data_type().is_string() {
        return bytes(column, row).map_or_else(|| Ok(Vec::new()), text);
    }
    let DataType::Struct(_) = column.data_type() else {
        return Ok(bytes(column, row).map(encoded).unwrap_or_default());
    };
    let column = column.as_struct();
    let part = |name: &str| bytes(column.column_by_name(name)?, row).filter(|bytes| !bytes.is_empty());
    match (part("bytes"), part("path")) {
        (Some(bytes), _) => Ok(encoded(bytes)),
        (None, Some(path)) => text(path),
        (None, None) => Ok(Vec::new()),
    }
}

/// The bytes of a string or binary value.
fn bytes(column: &dyn Array, row: usize) -> Option<&[u8]> {
    if column.is_null(row) {
        return None;
    }
    Some(match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).as_bytes(),
        DataType::LargeUtf8 => column.as_string::<i64>().value(row).as_bytes(),
        DataType::Utf8View => column.as_string_view().value(row).as_bytes(),
        DataType::Binary => column.as_binary::<i32>().value(row),
        DataType::LargeBinary => column.as_binary::<i64>().value(row),
        DataType::BinaryView => column.as_binary_view().value(row),
        _ => return None,
    })
}

/// The items of a list.
fn items(column: &dyn Array, row: usize) -> Option<ArrayRef> {
    Some(match column.data_type() {
        DataType::List(_) => column.as_list::<i32>().value(row),
        DataType::LargeList(_) => column.as_list::<i64>().value(row),
        DataType::FixedSizeList(..) => column.as_fixed_size_list().value(row),
        _ => return None,
    })
}
