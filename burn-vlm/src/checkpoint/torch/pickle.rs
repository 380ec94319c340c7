//! A reader of the pickles that `torch.save` writes.
//!
//! Unusual here: nothing is constructed and nothing is called. What a pickle would call is looked up in a list of four names that
//! make tensors and dictionaries; anything else becomes a value of which nothing is known, and what a training program has stored
//! beside the weights (classes of its own, functions, settings) is read over.

use std::collections::HashMap;

use safetensors::Dtype;

/// Values beyond this are no checkpoint's: a tensor takes some thirty.
const MAX_VALUES: usize = 4 << 20;
/// Where a training program keeps the weights.
const STATE_DICT: &str = "state_dict";

/// A tensor as the pickle describes it.
pub(super) struct Pickled {
    pub(super) key: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Name of the storage in the archive.
    pub(super) storage: String,
    /// First value in the storage.
    pub(super) offset: u64,
    stride: Vec<u64>,
}

impl Pickled {
    /// Whether the values stand one behind the other, the last dimension innermost.
    pub(super) fn is_row_major(&self) -> bool {
        let mut expected = 1u64;
        for (side, stride) in self.shape.iter().zip(&self.stride).rev() {
            if *side != 1 && *stride != expected {
                return self.shape.contains(&0);
            }
            expected = expected.saturating_mul(*side as u64);
        }
        true
    }
}

/// The tensors of the dictionary that a pickle holds, or of its entry `state_dict`.
pub(super) fn tensors(bytes: &[u8]) -> Result<Vec<Pickled>, String> {
    let machine = Machine::run(bytes)?;
    let Value::Dict(top) = machine.value(machine.result) else {
        return Err("expected a dictionary of tensors".into());
    };
    let of = |key: &str| top.iter().rev().find(|(k, _)| machine.text(*k) == Some(key)).map(|(_, value)| *value);
    let dict = match of(STATE_DICT).map(|value| machine.value(value)) {
        Some(Value::Dict(dict)) => dict,
        _ => top,
    };
    let mut found = Vec::new();
    for (key, value) in dict {
        let (Some(key), Value::Tensor(tensor)) = (machine.text(*key), machine.value(*value)) else { continue };
        let Value::Storage { dtype, name } = machine.value(tensor.storage) else {
            return Err(format!("`{key}`: a tensor without a storage"));
        };
        let dtype = dtype_of(dtype).ok_or_else(|| {
            format!("`{key}` is stored as {dtype}; floats and whole numbers of the usual sizes are read")
        })?;
        found.push(Pickled {
            key: key.to_owned(),
            dtype,
            shape: tensor.shape.clone(),
            storage: name.clone(),
            offset: tensor.offset,
            stride: tensor.stride.clone(),
        });
    }
    if found.is_empty() {
        return Err("no tensors in it: expected a dictionary of them, or one under `state_dict`".into());
    }
    Ok(found)
}

/// The element type of a storage's class.
fn dtype_of(class: &str) -> Option<Dtype> {
    Some(match class {
        "torch.FloatStorage" => Dtype::F32,
        "torch.DoubleStorage" => Dtype::F64,
        "torch.HalfStorage" => Dtype::F16,
        "torch.BFloat16Storage" => Dtype::BF16,
        "torch.LongStorage" => Dtype::I64,
        "torch.IntStorage" => Dtype::I32,
        "torch.ShortStorage" => Dtype::I16,
        "torch.CharStorage" => Dtype::I8,
        "torch.ByteStorage" => Dtype::U8,
        "torch.BoolStorage" => Dtype::BOOL,
        _ => return None,
    })
}

/// Place of a value.
type Ref = usize;

enum Value {
    /// Nothing is known of it, or nothing needs to be.
    Other,
    Int(i64),
    Text(String),
    Tuple(Vec<Ref>),
    List,
    Dict(Vec<(Ref, Ref)>),
    /// A class or function, by name.
    Global(String),
    Storage {
        dtype: String,
        name: String,
    },
    Tensor(TensorValue),
}

#[derive(Clone)]
struct TensorValue {
    storage: Ref,
    offset: u64,
    shape: Vec<usize>,
    stride: Vec<u64>,
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value>,
    /// `None` is a mark.
    stack: Vec<Option<Ref>>,
    memo: HashMap<u64, Ref>,
    result: Ref,
}

impl<'a> Machine<'a> {
    fn run(bytes: &'a [u8]) -> Result<Self, String> {
        let mut machine = Self { bytes, at: 0, values: Vec::new(), stack: Vec::new(), memo: HashMap::new(), result: 0 };
        loop {
            let at = machine.at;
            match machine.step() {
                Ok(false) => {}
                Ok(true) => return Ok(machine),
                Err(reason) => return Err(format!("byte {at}: {reason}")),
            }
        }
    }

    fn value(&self, at: Ref) -> &Value {
        self.values.get(at).unwrap_or(&Value::Other)
    }

    fn text(&self, at: Ref) -> Option<&str> {
        match self.value(at) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], String> {
        let (bytes, at) = (self.bytes, self.at);
        let end = usize::try_from(count).ok().and_then(|count| at.checked_add(count));
        let taken = end.and_then(|end| bytes.get(at..end)).ok_or("the pickle ends in the middle")?;
        self.at += taken.len();
        Ok(taken)
    }

    /// A little-endian number.
    fn number(&mut self, bytes: u64) -> Result<u64, String> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }

    fn line(&mut self) -> Result<String, String> {
        let bytes = self.bytes;
        let rest = bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or("a line without its end")?;
        let line = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.at += length + 1;
        Ok(line)
    }

    fn push(&mut self, value: Value) -> Result<(), String> {
        let at = self.values.len();
        self.stack_up(Some(at))?;
        self.values.push(value);
        Ok(())
    }

    /// Puts a value that is there, or a mark, on the stack.
    fn stack_up(&mut self, item: Option<Ref>) -> Result<(), String> {
        if self.values.len().max(self.stack.len()) >= MAX_VALUES {
            return Err(format!("more than {MAX_VALUES} values"));
        }
        self.stack.push(item);
        Ok(())
    }

    fn push_text(&mut self, length: u64) -> Result<(), String> {
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.push(Value::Text(text))
    }

    fn pop(&mut self) -> Result<Ref, String> {
        self.stack.pop().flatten().ok_or_else(|| "no value where one is needed".to_owned())
    }

    fn top(&self) -> Result<Ref, String> {
        self.stack.last().copied().flatten().ok_or_else(|| "no value where one is needed".to_owned())
    }

    /// The values from the last mark on, the mark taken off with them.
    fn marked(&mut self) -> Result<Vec<Ref>, String> {
        let mark = self.stack.iter().rposition(Option::is_none).ok_or("no mark where one is needed")?;
        let values = self.stack.drain(mark..).flatten().collect();
        Ok(values)
    }

    fn push_tuple(&mut self, count: usize) -> Result<(), String> {
        let mut values = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        values.reverse();
        self.push(Value::Tuple(values))
    }

    fn put(&mut self, index: u64) -> Result<(), String> {
        if self.memo.len() >= MAX_VALUES {
            return Err(format!("more than {MAX_VALUES} values"));
        }
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn get(&mut self, index: u64) -> Result<(), String> {
        let value = *self.memo.get(&index).ok_or_else(|| format!("value {index} was never stored"))?;
        self.stack_up(Some(value))
    }

    /// Puts pairs into the dictionary on top; into anything else they go unseen.
    fn set_items(&mut self, items: &[Ref]) -> Result<(), String> {
        let at = self.top()?;
        if let Some(Value::Dict(dict)) = self.values.get_mut(at) {
            dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
        }
        Ok(())
    }

    /// The tuple at a place.
    fn tuple(&self, at: Ref) -> Result<&[Ref], String> {
        match self.value(at) {
            Value::Tuple(values) => Ok(values),
            _ => Err("expected a tuple".into()),
        }
    }

    fn naturals(&self, at: Ref) -> Result<Vec<u64>, String> {
        let number = |at: &Ref| match self.value(*at) {
            Value::Int(number) => u64::try_from(*number).ok(),
            _ => None,
        };
        self.tuple(at)?.iter().map(number).collect::<Option<_>>().ok_or_else(|| "expected whole numbers".into())
    }

    /// What a call with these arguments gives, for the four names that are known.
    fn call(&self, function: Ref, arguments: Ref) -> Result<Value, String> {
        let Value::Global(name) = self.value(function) else { return Ok(Value::Other) };
        let Ok(arguments) = self.tuple(arguments) else { return Ok(Value::Other) };
        match (name.as_str(), arguments) {
            ("collections.OrderedDict", []) => Ok(Value::Dict(Vec::new())),
            (
                "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor",
                [storage, offset, size, stride, ..],
            ) => {
                let Value::Int(offset) = self.value(*offset) else { return Err("a tensor without an offset".into()) };
                let offset = u64::try_from(*offset).map_err(|_| "a tensor with a negative offset")?;
                let (shape, stride) = (self.naturals(*size)?, self.naturals(*stride)?);
                if shape.len() != stride.len() {
                    return Err(format!("a tensor with {} sizes and {} strides", shape.len(), stride.len()));
                }
                let shape = shape.into_iter().map(usize::try_from).collect::<Result<_, _>>();
                let shape = shape.map_err(|_| "a tensor whose size no computer can address")?;
                Ok(Value::Tensor(TensorValue { storage: *storage, offset, shape, stride }))
            }
            ("torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state", [data, ..]) => {
                Ok(match self.value(*data) {
                    Value::Tensor(tensor) => Value::Tensor(tensor.clone()),
                    _ => Value::Other,
                })
            }
            _ => Ok(Value::Other),
        }
    }

    /// The storage that a persistent id names: `("storage", class, name, device, count)`.
    fn storage(&self, id: Ref) -> Result<Value, String> {
        let parts = self.tuple(id)?;
        let ["storage", name] = [0usize, 2].map(|at| parts.get(at).and_then(|at| self.text(*at)).unwrap_or_default())
        else {
            return Ok(Value::Other);
        };
        let Some(Value::Global(class)) = parts.get(1).map(|at| self.value(*at)) else {
            return Err("a storage without an element type".into());
        };
        Ok(Value::Storage { dtype: class.clone(), name: name.to_owned() })
    }

    /// One instruction; true where the pickle ends.
    fn step(&mut self) -> Result<bool, String> {
        let [code] = *self.take(1)? else { return Err("the pickle ends in the middle".into()) };
        match code {
            b'.' => {
                self.result = self.pop()?;
                return Ok(true);
            }
            // The protocol, and how long a frame is.
            b'\x80' => {
                self.take(1)?;
            }
            b'\x95' => {
                self.take(8)?;
            }
            b'(' => self.stack_up(None)?,
            b'0' => {
                self.stack.pop();
            }
            b'1' => {
                self.marked()?;
            }
            b'2' => {
                let top = self.top()?;
                self.stack_up(Some(top))?;
            }
            b'N' | b'\x88' | b'\x89' => self.push(Value::Other)?,
            b'J' => {
                let number = self.number(4)? as u32 as i32;
                self.push(Value::Int(number.into()))?;
            }
            b'K' => {
                let number = self.number(1)? as i64;
                self.push(Value::Int(number))?;
            }
            b'M' => {
                let number = self.number(2)? as i64;
                self.push(Value::Int(number))?;
            }
            b'\x8a' | b'\x8b' => {
                let length = self.number(if code == b'\x8a' { 1 } else { 4 })?;
                let bytes = self.take(length)?;
                // Longer ones are no sizes.
                let value = if bytes.len() <= 8 { Value::Int(signed(bytes)) } else { Value::Other };
                self.push(value)?;
            }
            b'G' => {
                self.take(8)?;
                self.push(Value::Other)?;
            }
            b'\x8c' | b'U' => {
                let length = self.number(1)?;
                self.push_text(length)?;
            }
            b'X' | b'T' => {
                let length = self.number(4)?;
                self.push_text(length)?;
            }
            b'\x8d' => {
                let length = self.number(8)?;
                self.push_text(length)?;
            }
            b'C' | b'B' | b'\x8e' | b'\x96' => {
                let width = match code {
                    b'C' => 1,
                    b'B' => 4,
                    _ => 8,
                };
                let length = self.number(width)?;
                self.take(length)?;
                self.push(Value::Other)?;
            }
            b')' => self.push(Value::Tuple(Vec::new()))?,
            b't' => {
                let values = self.marked()?;
                self.push(Value::Tuple(values))?;
            }
            b'\x85' => self.push_tuple(1)?,
            b'\x86' => self.push_tuple(2)?,
            b'\x87' => self.push_tuple(3)?,
            b']' => self.push(Value::List)?,
            b'l' => {
                self.marked()?;
                self.push(Value::List)?;
            }
            b'a' => {
                self.pop()?;
            }
            b'e' | b'\x90' => {
                self.marked()?;
                self.top()?;
            }
            b'\x8f' => self.push(Value::Other)?,
            b'\x91' => {
                self.marked()?;
                self.push(Value::Other)?;
            }
            b'}' => self.push(Value::Dict(Vec::new()))?,
            b'd' => {
                let items = self.marked()?;
                self.push(Value::Dict(Vec::new()))?;
                self.set_items(&items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set_items(&[key, value])?;
            }
            b'u' => {
                let items = self.marked()?;
                self.set_items(&items)?;
            }
            b'c' => {
                let name = format!("{}.{}", self.line()?, self.line()?);
                self.push(Value::Global(name))?;
            }
            b'\x93' => {
                let (name, module) = (self.pop()?, self.pop()?);
                let name = self.text(module).zip(self.text(name)).map(|(module, name)| format!("{module}.{name}"));
                self.push(name.map_or(Value::Other, Value::Global))?;
            }
            b'R' => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                let value = self.call(function, arguments)?;
                self.push(value)?;
            }
            // An object of some class; as some of them are dictionaries, what is put into it is kept.
            b'\x81' => {
                self.pop()?;
                self.pop()?;
                self.push(Value::Dict(Vec::new()))?;
            }
            b'\x92' => {
                self.pop()?;
                self.pop()?;
                self.pop()?;
                self.push(Value::Dict(Vec::new()))?;
            }
            // The state of an object, which it keeps beside its content.
            b'b' => {
                self.pop()?;
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(id)?;
                self.push(storage)?;
            }
            b'q' => {
                let index = self.number(1)?;
                self.put(index)?;
            }
            b'r' => {
                let index = self.number(4)?;
                self.put(index)?;
            }
            b'\x94' => {
                let index = self.memo.len() as u64;
                self.put(index)?;
            }
            b'h' => {
                let index = self.number(1)?;
                self.get(index)?;
            }
            b'j' => {
                let index = self.number(4)?;
                self.get(index)?;
            }
            other => return Err(format!("an instruction that torch.save does not write (0x{other:02x})")),
        }
        Ok(false)
    }
}

/// A whole number of up to eight bytes in two's complement, the lowest first.
fn signed(bytes: &[u8]) -> i64 {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let start = if negative { -1 } else { 0 };
    bytes.iter().rev().fold(start, |number: i64, byte| (number << 8) | i64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_in_twos_complement() {
        let cases: [(&[u8], i64); 5] =
            [(&[], 0), (&[0xff], -1), (&[0xff, 0], 255), (&[0, 0x80], -32768), (&[1, 0, 0, 0, 1], (1 << 32) + 1)];
        for (bytes, expected) in cases {
            assert_eq!(signed(bytes), expected);
        }
    }

    #[test]
    fn what_a_pickle_would_run_is_not_run() {
        // os.system("true") instead of a dictionary, as the tuple and the call say.
        let evil = b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.";
        let error = tensors(evil).err().unwrap();
        assert!(error.contains("expected a dictionary of tensors"), "{error}");
        // Beside a tensor it is read over.
        let with = b"\x80\x02}(X\x01\x00\x00\x00acos\nsystem\nX\x04\x00\x00\x00true\x85RX\x01\x00\x00\x00b\
            ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000\
            X\x03\x00\x00\x00cpuK\x06tQK\x00K\x02K\x03\x86K\x03K\x01\x86\x89}tRu.";
        let found = tensors(with).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].key.as_str(), found[0].shape.as_slice(), found[0].dtype), ("b", &[2, 3][..], Dtype::F32));
        assert!(found[0].is_row_major());
        // A call with no arguments, a value that was never stored, nothing at all, an unknown instruction.
        for (bytes, reason) in [
            (&b"\x80\x02cos\nsystem\nR."[..], "no value"),
            (b"\x80\x02h\x07.", "value 7 was never stored"),
            (b"", "ends in the middle"),
            (b"\x80\x02I1\n.", "0x49"),
            (b"\x80\x02X\xff\xff\xff\xffa", "ends in the middle"),
        ] {
            let error = tensors(bytes).err().unwrap();
            assert!(error.contains(reason), "{error}");
        }
    }
}
