//! How far a value is written: what may come next, byte by byte.
//!
//! A text of several meanings (`anyOf`) is followed in all of them at once, each with its own stack of what is open. Between two values
//! stands no space but one behind a colon or a comma, and one before the whole (which tokens of words have): a model that writes spaces
//! without end has no place for them.

use super::number::Digits;
use super::schema::{Node, NodeId, Property, Schema};

/// Something that is open.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Frame {
    /// A value begins; a space may stand before it.
    Value {
        node: NodeId,
        space: bool,
    },
    /// One of the texts `from..to`, which agree in the first `at` bytes.
    Literal {
        node: NodeId,
        from: u32,
        to: u32,
        at: u32,
    },
    Number {
        node: NodeId,
        digits: Digits,
    },
    /// Behind the quote; so many characters.
    Text {
        node: NodeId,
        count: u32,
        within: Within,
    },
    /// A property's key.
    Key {
        node: NodeId,
        property: u32,
        at: u32,
    },
    /// Another key, without escapes, so that keys are compared by their bytes.
    OtherKey {
        node: NodeId,
        key: Vec<u8>,
        within: Within,
    },
    Colon {
        value: NodeId,
    },
    /// Properties before `next` are written or left out; other keys so far.
    Object {
        node: NodeId,
        next: u32,
        place: Place,
        others: Vec<Vec<u8>>,
    },
    /// So many items.
    Array {
        node: NodeId,
        count: u32,
    },
}

/// Where an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    Begin,
    AfterValue,
    /// A space may stand here.
    AfterComma,
    AfterSpace,
}

/// Where a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Within {
    Plain,
    Escape,
    /// So many hexadecimal digits are left; `high` is that the first one was D, which half a pair of UTF-16 begins with.
    Hex {
        left: u8,
        high: bool,
    },
    /// Bytes of a character that are left, and what the next one may be.
    Bytes {
        left: u8,
        low: u8,
        high: u8,
    },
}

/// What a byte of a text does.
enum Char {
    End,
    Begun(Within),
    Within(Within),
}

impl Within {
    /// `None` for a byte that cannot stand here: JSON's texts are whole characters of UTF-8 without control characters.
    fn push(self, byte: u8) -> Option<Char> {
        let bytes = |left, low, high| Some(Char::Begun(Self::Bytes { left, low, high }));
        match self {
            Self::Plain => match byte {
                b'"' => Some(Char::End),
                b'\\' => Some(Char::Begun(Self::Escape)),
                0x20..=0x7f => Some(Char::Begun(Self::Plain)),
                0xc2..=0xdf => bytes(1, 0x80, 0xbf),
                0xe0 => bytes(2, 0xa0, 0xbf),
                0xed => bytes(2, 0x80, 0x9f),
                0xe1..=0xef => bytes(2, 0x80, 0xbf),
                0xf0 => bytes(3, 0x90, 0xbf),
                0xf1..=0xf3 => bytes(3, 0x80, 0xbf),
                0xf4 => bytes(3, 0x80, 0x8f),
                _ => None,
            },
            Self::Escape => match byte {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(Char::Within(Self::Plain)),
                b'u' => Some(Char::Within(Self::Hex { left: 4, high: false })),
                _ => None,
            },
            // Characters of a pair are written as they are.
            Self::Hex { left: 3, high: true } if !byte.is_ascii_digit() || byte > b'7' => None,
            Self::Hex { .. } if !byte.is_ascii_hexdigit() => None,
            Self::Hex { left: 1, .. } => Some(Char::Within(Self::Plain)),
            Self::Hex { left, high } => {
                let high = if left == 4 { byte.eq_ignore_ascii_case(&b'd') } else { high };
                Some(Char::Within(Self::Hex { left: left - 1, high }))
            }
            Self::Bytes { low, high, .. } if !(low..=high).contains(&byte) => None,
            Self::Bytes { left: 1, .. } => Some(Char::Within(Self::Plain)),
            Self::Bytes { left, .. } => Some(Char::Within(Self::Bytes { left: left - 1, low: 0x80, high: 0xbf })),
        }
    }
}

/// What is open, the innermost last; nothing: the value is whole.
type Stack = Vec<Frame>;

/// How far a value is written, in every meaning that it may have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct State(Vec<Stack>);

impl State {
    /// Nothing is written.
    pub(super) fn new(schema: &Schema) -> Self {
        Self(vec![vec![Frame::Value { node: schema.root(), space: true }]])
    }

    /// Nothing may be.
    pub(super) fn is_dead(&self) -> bool {
        self.0.is_empty()
    }

    /// One byte more.
    pub(super) fn push(&self, schema: &Schema, byte: u8) -> Self {
        let mut next = Vec::with_capacity(self.0.len());
        for stack in &self.0 {
            Step { schema, byte, next: &mut next }.step(stack.clone());
        }
        Self(next)
    }

    /// Whether the value is whole, whatever may still follow (digits of a number).
    pub(super) fn is_whole(&self, schema: &Schema) -> bool {
        self.0.iter().any(|stack| match stack.as_slice() {
            [] => true,
            [frame] => may_end(schema, frame),
            _ => false,
        })
    }

    /// Whether nothing may follow.
    pub(super) fn is_closed(&self) -> bool {
        self.0.iter().all(Vec::is_empty)
    }

    /// The stacks whose text goes on with any character, with how many more of them; and the others.
    pub(super) fn in_texts(&self, schema: &Schema) -> (Option<usize>, Self) {
        let mut room: Option<usize> = None;
        let mut others = Vec::new();
        for stack in &self.0 {
            let own = match stack.last() {
                Some(Frame::Text { node, count, within: Within::Plain }) => match schema.node(*node) {
                    Node::Text { most: u32::MAX, .. } => usize::MAX,
                    Node::Text { most, .. } => most.saturating_sub(*count) as usize,
                    _ => 0,
                },
                Some(Frame::OtherKey { within: Within::Plain, .. }) => usize::MAX,
                _ => {
                    others.push(stack.clone());
                    continue;
                }
            };
            room = room.max(Some(own));
        }
        (room, Self(others))
    }
}

/// Whether a value may end without a byte that says so.
fn may_end(schema: &Schema, frame: &Frame) -> bool {
    match (frame, schema_node(schema, frame)) {
        (Frame::Number { digits, .. }, Some(Node::Number(range))) => digits.is_within(range),
        (Frame::Literal { from, at, .. }, Some(Node::Literals(texts))) => {
            texts.get(*from as usize).is_some_and(|text| text.len() == *at as usize)
        }
        _ => false,
    }
}

fn schema_node<'s>(schema: &'s Schema, frame: &Frame) -> Option<&'s Node> {
    match frame {
        Frame::Value { node, .. }
        | Frame::Literal { node, .. }
        | Frame::Number { node, .. }
        | Frame::Text { node, .. }
        | Frame::Key { node, .. }
        | Frame::OtherKey { node, .. }
        | Frame::Object { node, .. }
        | Frame::Array { node, .. } => Some(schema.node(*node)),
        Frame::Colon { .. } => None,
    }
}

/// One byte on one stack.
struct Step<'s, 'n> {
    schema: &'s Schema,
    byte: u8,
    next: &'n mut Vec<Stack>,
}

impl<'s> Step<'s, '_> {
    fn done(&mut self, stack: Stack) {
        // Two meanings that have become one.
        if !self.next.contains(&stack) {
            self.next.push(stack);
        }
    }

    fn with(&mut self, mut stack: Stack, frame: Frame) {
        stack.push(frame);
        self.done(stack);
    }

    fn step(&mut self, mut stack: Stack) {
        let Some(frame) = stack.pop() else { return };
        let byte = self.byte;
        if may_end(self.schema, &frame) {
            self.step(stack.clone());
        }
        match (frame, byte) {
            (Frame::Value { node, space: true }, b' ') => self.with(stack, Frame::Value { node, space: false }),
            (Frame::Value { node, .. }, _) => self.begin(stack, node),
            (Frame::Literal { node, from, to, at }, _) => self.literal(stack, node, (from, to), at),
            (Frame::Number { node, digits }, _) => {
                if let Node::Number(range) = self.schema.node(node)
                    && let Some(digits) = digits.push(byte, range)
                {
                    self.with(stack, Frame::Number { node, digits });
                }
            }
            (Frame::Text { node, count, within }, _) => {
                let Node::Text { least, most } = *self.schema.node(node) else { return };
                match within.push(byte) {
                    Some(Char::End) if count >= least => self.done(stack),
                    Some(Char::Begun(within)) if count < most => {
                        // Where nothing is bounded, all places in a text are one.
                        let count = if most == u32::MAX { (count + 1).min(least) } else { count + 1 };
                        self.with(stack, Frame::Text { node, count, within });
                    }
                    Some(Char::Within(within)) => self.with(stack, Frame::Text { node, count, within }),
                    _ => {}
                }
            }
            (Frame::Key { node, property, at }, _) => {
                let Some(own) = self.property(node, property) else { return };
                if own.key.get(at as usize) == Some(&byte) {
                    let last = at as usize + 1 == own.key.len();
                    let next = if last {
                        Frame::Colon { value: own.value }
                    } else {
                        Frame::Key { node, property, at: at + 1 }
                    };
                    self.with(stack, next);
                }
            }
            (Frame::OtherKey { node, key, within }, _) => self.other_key(stack, node, key, within),
            (Frame::Colon { value }, b':') => self.with(stack, Frame::Value { node: value, space: true }),
            (Frame::Colon { .. }, _) => {}
            (Frame::Object { node, next, place, others }, _) => self.object(stack, (node, next, others), place),
            (Frame::Array { node, count }, _) => self.array(stack, node, count),
        }
    }

    fn depth(stack: &[Frame]) -> usize {
        stack.iter().filter(|frame| matches!(frame, Frame::Object { .. } | Frame::Array { .. })).count()
    }

    /// The first byte of a value.
    fn begin(&mut self, stack: Stack, node: NodeId) {
        if !self.schema.fits(node, Self::depth(&stack)) {
            return;
        }
        match (self.schema.node(node), self.byte) {
            (Node::OneOf(values), _) => values.iter().for_each(|value| self.begin(stack.clone(), *value)),
            (Node::Literals(texts), _) => self.literal(stack, node, (0, texts.len() as u32), 0),
            (Node::Number(range), byte) => {
                if let Some(digits) = Digits::default().push(byte, range) {
                    self.with(stack, Frame::Number { node, digits });
                }
            }
            (Node::Text { .. }, b'"') => self.with(stack, Frame::Text { node, count: 0, within: Within::Plain }),
            (Node::Object { .. }, b'{') => {
                self.with(stack, Frame::Object { node, next: 0, place: Place::Begin, others: Vec::new() });
            }
            (Node::Array { .. }, b'[') => self.with(stack, Frame::Array { node, count: 0 }),
            _ => {}
        }
    }

    fn literal(&mut self, stack: Stack, node: NodeId, (from, to): (u32, u32), at: u32) {
        let Node::Literals(texts) = self.schema.node(node) else { return };
        let open = &texts[from as usize..to as usize];
        // Sorted: those that are whole come first, then by the byte.
        let of = |text: &Vec<u8>| text.get(at as usize).copied();
        let begin = open.partition_point(|text| of(text) < Some(self.byte));
        let end = open.partition_point(|text| of(text) <= Some(self.byte));
        let Some(first) = open[begin..end].first() else { return };
        if end - begin == 1 && first.len() == at as usize + 1 {
            return self.done(stack);
        }
        let (from, to) = (from + begin as u32, from + end as u32);
        self.with(stack, Frame::Literal { node, from, to, at: at + 1 });
    }

    fn property(&self, node: NodeId, property: u32) -> Option<&'s Property> {
        match self.schema.node(node) {
            Node::Object { properties, .. } => properties.get(property as usize),
            _ => None,
        }
    }

    fn other_key(&mut self, mut stack: Stack, node: NodeId, mut key: Vec<u8>, within: Within) {
        let Node::Object { properties, others: Some(value) } = self.schema.node(node) else { return };
        match within.push(self.byte) {
            Some(Char::End) => {
                let quoted = [b"\"", key.as_slice(), b"\""].concat();
                let Some(Frame::Object { others, .. }) = stack.last_mut() else { return };
                if properties.iter().any(|property| property.key == quoted) || others.contains(&key) {
                    return;
                }
                others.push(key);
                self.with(stack, Frame::Colon { value: *value });
            }
            Some(Char::Begun(Within::Escape)) | None => {}
            Some(Char::Begun(within) | Char::Within(within)) => {
                key.push(self.byte);
                self.with(stack, Frame::OtherKey { node, key, within });
            }
        }
    }

    /// Whether a value of one of the keys that may come next fits in here, below `depth` objects and lists.
    fn has_next(properties: &[Property], others: Option<NodeId>, schema: &Schema, next: u32, depth: usize) -> bool {
        let left = properties.get(next as usize..).unwrap_or_default();
        let needed = left.iter().position(|property| property.required);
        let open = &left[..needed.map_or(left.len(), |at| at + 1)];
        open.iter().any(|property| schema.fits(property.value, depth))
            || needed.is_none() && others.is_some_and(|value| schema.fits(value, depth))
    }

    fn object(&mut self, stack: Stack, (node, next, others): (NodeId, u32, Vec<Vec<u8>>), place: Place) {
        let Node::Object { properties, others: other } = self.schema.node(node) else { return };
        let depth = Self::depth(&stack) + 1;
        let left = properties.get(next as usize..).unwrap_or_default();
        let needed = left.iter().position(|property| property.required);
        match (place, self.byte) {
            (Place::Begin | Place::AfterValue, b'}') if needed.is_none() => self.done(stack),
            (Place::AfterValue, b',') if Self::has_next(properties, *other, self.schema, next, depth) => {
                self.with(stack, Frame::Object { node, next, place: Place::AfterComma, others });
            }
            (Place::AfterComma, b' ') => {
                self.with(stack, Frame::Object { node, next, place: Place::AfterSpace, others })
            }
            (Place::Begin | Place::AfterComma | Place::AfterSpace, b'"') => {
                let open = &left[..needed.map_or(left.len(), |at| at + 1)];
                for (property, own) in (next..).zip(open) {
                    if self.schema.fits(own.value, depth) {
                        let mut stack = stack.clone();
                        let (next, others) = (property + 1, others.clone());
                        stack.push(Frame::Object { node, next, place: Place::AfterValue, others });
                        self.with(stack, Frame::Key { node, property, at: 1 });
                    }
                }
                if needed.is_none() && other.is_some_and(|value| self.schema.fits(value, depth)) {
                    let mut stack = stack;
                    // Properties do not come behind other keys.
                    let next = properties.len() as u32;
                    stack.push(Frame::Object { node, next, place: Place::AfterValue, others });
                    self.with(stack, Frame::OtherKey { node, key: Vec::new(), within: Within::Plain });
                }
            }
            _ => {}
        }
    }

    fn array(&mut self, mut stack: Stack, node: NodeId, count: u32) {
        let Node::Array { first, rest, least, most } = self.schema.node(node) else { return };
        let depth = Self::depth(&stack) + 1;
        let item = first.get(count as usize).copied().or(*rest);
        let item = item.filter(|item| count < *most && self.schema.fits(*item, depth));
        // Where nothing is bounded, all items are one.
        let bounded = *most < u32::MAX || count < *least || (count as usize) < first.len();
        let next = Frame::Array { node, count: if bounded || count == 0 { count + 1 } else { count } };
        match (self.byte, item) {
            (b']', _) if count >= *least => self.done(stack),
            (b',', Some(item)) if count > 0 => {
                stack.push(next);
                self.with(stack, Frame::Value { node: item, space: true });
            }
            (_, Some(item)) if count == 0 => {
                stack.push(next);
                self.begin(stack, item);
            }
            _ => {}
        }
    }
}
