//! A JSON schema as what may be written: nodes that are followed byte by byte.
//!
//! Unusual here:
//! - a keyword that would not be kept is an error with its place, and no keyword is passed over but those that say nothing about the value;
//! - a schema whose values never end (an object that needs itself) is an error, so that every answer has an end;
//! - what is written is a part of what the schema allows: properties in their order, others only where it asks for them.

use std::collections::HashMap;

use burn_vlm_base::suggest;

use super::json::{Json, quoted};
use super::keywords::{ANNOTATIONS, KEPT, Keywords, REFUSED, SHOWN, cut, error, join, types_of};
use super::number::Range;

/// Objects and lists in each other, at most: readers of JSON have limits, serde_json's is 128.
pub(super) const MOST_DEPTH: usize = 64;
/// Nodes of a schema, and texts of an `enum`.
const MOST_NODES: usize = 10_000;
/// Schemas in each other, references included.
const MOST_NESTED: usize = 200;
/// Properties in each other by which two schemas are told apart.
const MOST_APART: usize = 3;

/// Number of a node.
pub(super) type NodeId = u32;

/// A value that may be written.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// As one of these.
    OneOf(Vec<NodeId>),
    /// These texts, sorted, none twice.
    Literals(Vec<Vec<u8>>),
    Number(Range),
    /// So many characters.
    Text {
        least: u32,
        most: u32,
    },
    Object {
        properties: Vec<Property>,
        /// Values of other keys, behind the properties.
        others: Option<NodeId>,
    },
    Array {
        /// The first items.
        first: Vec<NodeId>,
        /// The others; `None` is that there are none.
        rest: Option<NodeId>,
        least: u32,
        most: u32,
    },
}

/// A property, by its key.
#[derive(Debug, Clone)]
pub(super) struct Property {
    /// As JSON writes it, quotes included.
    pub(super) key: Vec<u8>,
    pub(super) value: NodeId,
    pub(super) required: bool,
}

/// Why a schema cannot be kept to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{reason}", if path.is_empty() { String::new() } else { format!("`{path}`: ") })]
pub struct SchemaError {
    /// The keyword, `properties.age.minimum`; empty for the whole.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What JSON may be written.
#[derive(Debug, Clone)]
pub struct Schema {
    nodes: Vec<Node>,
    /// Of each node, how deep its shortest values are nested.
    least: Vec<usize>,
    root: NodeId,
}

type Result<T> = std::result::Result<T, SchemaError>;

impl Schema {
    /// Any object: what `json_object` asks for.
    pub fn object() -> Self {
        let object = Json::Object(vec![("type".into(), Json::Text("object".into()))]);
        // Whatever the nodes are, an object has an end.
        Self::new(&object).unwrap_or(Self {
            nodes: vec![Node::Literals(vec![b"{}".to_vec()])],
            least: vec![1],
            root: 0,
        })
    }

    /// What a schema allows.
    ///
    /// # Errors
    /// A keyword that is wrong or not kept to, a reference to nothing, values that never end; each with its place.
    pub fn new(schema: &Json) -> Result<Self> {
        let mut compiler = Compiler {
            whole: schema,
            nodes: Vec::new(),
            places: Vec::new(),
            references: HashMap::new(),
            any: None,
            nested: 0,
        };
        let root = compiler.referred("#", "")?;
        compiler.finish(root)
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    pub(super) fn root(&self) -> NodeId {
        self.root
    }

    /// Whether a value may stand below so many objects and lists.
    pub(super) fn fits(&self, id: NodeId, depth: usize) -> bool {
        depth + self.least[id as usize] <= MOST_DEPTH
    }
}

struct Compiler<'s> {
    whole: &'s Json,
    nodes: Vec<Node>,
    /// Where each node stands.
    places: Vec<String>,
    /// Nodes of references, so that schemas may refer to themselves.
    references: HashMap<String, NodeId>,
    any: Option<NodeId>,
    /// Schemas around the one that is read.
    nested: usize,
}

impl<'s> Compiler<'s> {
    fn add(&mut self, node: Node, path: &str) -> Result<NodeId> {
        if self.nodes.len() >= MOST_NODES {
            return error(path, format!("the schema has more than {MOST_NODES} parts"));
        }
        self.nodes.push(node);
        self.places.push(path.to_owned());
        Ok(self.nodes.len() as NodeId - 1)
    }

    /// The node of a reference: `#`, `#/$defs/part`.
    fn referred(&mut self, reference: &str, path: &str) -> Result<NodeId> {
        if let Some(id) = self.references.get(reference) {
            return Ok(*id);
        }
        let Some(pointer) = reference.strip_prefix('#') else {
            return error(path, format!("{:?} is outside of the schema, which is not fetched", cut(reference, SHOWN)));
        };
        let (mut found, mut place) = (self.whole, String::new());
        for name in pointer.split('/').skip(1) {
            let name = name.replace("~1", "/").replace("~0", "~");
            let next = match found {
                Json::List(items) => name.parse::<usize>().ok().and_then(|at| items.get(at)),
                other => other.get(&name),
            };
            let Some(next) = next else {
                return error(path, format!("there is nothing at {:?}", cut(reference, SHOWN)));
            };
            (found, place) = (next, join(&place, &name));
        }
        if !pointer.is_empty() && !pointer.starts_with('/') {
            return error(
                path,
                format!("{:?}: references by name are not supported, `#/$defs/name` are", cut(reference, SHOWN)),
            );
        }
        // Known before what it refers to is read, which may refer to itself.
        let id = self.add(Node::OneOf(Vec::new()), &place)?;
        self.references.insert(reference.to_owned(), id);
        let value = self.value(found, &place)?;
        self.nodes[id as usize] = Node::OneOf(vec![value]);
        Ok(id)
    }

    /// Any value.
    fn any(&mut self, path: &str) -> Result<NodeId> {
        if let Some(any) = self.any {
            return Ok(any);
        }
        let any = self.add(Node::OneOf(Vec::new()), path)?;
        self.any = Some(any);
        let types = ["null", "boolean", "number", "string", "array", "object"];
        let keywords = Keywords { at: path, entries: &[] };
        let values = types.iter().map(|name| self.of_type(name, &keywords)).collect::<Result<Vec<NodeId>>>()?;
        self.nodes[any as usize] = Node::OneOf(values);
        Ok(any)
    }

    fn value(&mut self, schema: &'s Json, path: &str) -> Result<NodeId> {
        if self.nested >= MOST_NESTED {
            return error(path, format!("more than {MOST_NESTED} schemas in each other, references included"));
        }
        self.nested += 1;
        let value = self.value_of(schema, path);
        self.nested -= 1;
        value
    }

    fn value_of(&mut self, schema: &'s Json, path: &str) -> Result<NodeId> {
        let entries = match schema {
            Json::Bool(true) => return self.any(path),
            Json::Bool(false) => return error(path, "`false` allows no value"),
            Json::Object(entries) => entries,
            other => return error(path, format!("expected a schema, found {}", other.kind())),
        };
        for (at, (key, _)) in entries.iter().enumerate() {
            let place = join(path, key);
            if entries[..at].iter().any(|(other, _)| other == key) {
                return error(&place, "stands twice");
            }
            if REFUSED.contains(&key.as_str()) {
                return error(&place, format!("the keyword `{key}` is not supported"));
            }
            if !KEPT.contains(&key.as_str()) && !ANNOTATIONS.contains(&key.as_str()) {
                let hint = suggest::hint(key, KEPT);
                return error(&place, format!("unknown keyword `{}`{hint}", cut(key, SHOWN)));
            }
        }
        let keywords = Keywords { at: path, entries };
        if let Some(reference) = keywords.get("$ref") {
            keywords.alone("$ref", &[])?;
            let Json::Text(reference) = reference else { return keywords.wrong("$ref", "a text", reference) };
            return self.referred(reference, &keywords.path("$ref"));
        }
        for name in ["allOf", "anyOf", "oneOf"] {
            if let Some(schemas) = keywords.list(name)? {
                keywords.alone(name, &[])?;
                return self.one_of(name, schemas, &keywords);
            }
        }
        let types = keywords.types()?;
        if let Some(value) = keywords.get("const") {
            keywords.alone("const", &["type"])?;
            return self.literals("const", std::slice::from_ref(value), &types, &keywords);
        }
        if let Some(values) = keywords.list("enum")? {
            keywords.alone("enum", &["type"])?;
            return self.literals("enum", values, &types, &keywords);
        }
        self.typed(&types, &keywords)
    }

    fn typed(&mut self, types: &[&str], keywords: &Keywords<'s, '_>) -> Result<NodeId> {
        // A keyword of a type that is not asked for says nothing, or is a mistake.
        for (key, _) in keywords.entries {
            let needed = types_of(key);
            let Some(first) = needed.first() else { continue };
            if types.is_empty() {
                let reason =
                    format!("`{key}` needs `\"type\": {:?}`, as it says nothing about values of other types", first);
                return error(&keywords.path(key), reason);
            }
            if !types.iter().any(|name| needed.contains(name)) {
                return error(
                    &keywords.path(key),
                    format!("`{key}` says nothing about values of the type {}", types.join(", ")),
                );
            }
        }
        match types {
            [] => self.any(keywords.at),
            [name] => self.of_type(name, keywords),
            names => {
                let values = names.iter().map(|name| self.of_type(name, keywords)).collect::<Result<Vec<NodeId>>>()?;
                self.add(Node::OneOf(values), keywords.at)
            }
        }
    }

    fn of_type(&mut self, name: &str, keywords: &Keywords<'s, '_>) -> Result<NodeId> {
        let literals = |texts: &[&str]| Node::Literals(texts.iter().map(|text| text.as_bytes().to_vec()).collect());
        let node = match name {
            "null" => literals(&["null"]),
            "boolean" => literals(&["false", "true"]),
            "integer" | "number" => {
                let whole = name == "integer";
                let low = keywords.bound("minimum", "exclusiveMinimum", 1)?;
                let high = keywords.bound("maximum", "exclusiveMaximum", -1)?;
                let Some(range) = Range::new(low, high, whole) else {
                    return error(keywords.at, "no number that can be written is within the bounds");
                };
                Node::Number(range)
            }
            "string" => {
                let (least, most) = keywords.counts("minLength", "maxLength")?;
                Node::Text { least, most }
            }
            "array" => return self.array(keywords),
            _ => return self.object(keywords),
        };
        self.add(node, keywords.at)
    }

    fn array(&mut self, keywords: &Keywords<'s, '_>) -> Result<NodeId> {
        let (least, most) = keywords.counts("minItems", "maxItems")?;
        let first = keywords.list("prefixItems")?.unwrap_or_default().iter().enumerate();
        let path = keywords.path("prefixItems");
        let first =
            first.map(|(at, schema)| self.value(schema, &format!("{path}[{at}]"))).collect::<Result<Vec<NodeId>>>()?;
        let rest = match keywords.get("items") {
            Some(Json::Bool(false)) => None,
            Some(items) => Some(self.value(items, &keywords.path("items"))?),
            // Items behind the first ones are written only where the schema says what they are.
            None if !first.is_empty() => None,
            None => Some(self.any(keywords.at)?),
        };
        let most = if rest.is_none() { most.min(first.len() as u32) } else { most };
        if least > most {
            return error(&keywords.path("minItems"), format!("{least} items, of which {most} are described"));
        }
        self.add(Node::Array { first, rest, least, most }, keywords.at)
    }

    fn object(&mut self, keywords: &Keywords<'s, '_>) -> Result<NodeId> {
        let named: &[(String, Json)] = match keywords.get("properties") {
            None => &[],
            Some(Json::Object(entries)) => entries,
            Some(other) => return keywords.wrong("properties", "an object", other),
        };
        let required = keywords.list("required")?.unwrap_or_default();
        let required = required.iter().map(|name| match name {
            Json::Text(name) => Ok(name.as_str()),
            other => keywords.wrong("required", "a list of texts", other),
        });
        let required = required.collect::<Result<Vec<&str>>>()?;
        let path = keywords.path("properties");
        let mut properties = Vec::with_capacity(named.len());
        for (at, (key, schema)) in named.iter().enumerate() {
            let place = join(&path, key);
            if named[..at].iter().any(|(other, _)| other == key) {
                return error(&place, "stands twice");
            }
            let value = self.value(schema, &place)?;
            properties.push(Property {
                key: quoted(key).into_bytes(),
                value,
                required: required.contains(&key.as_str()),
            });
        }
        let others = match keywords.get("additionalProperties") {
            Some(Json::Bool(false)) => None,
            Some(schema) => Some(self.value(schema, &keywords.path("additionalProperties"))?),
            None if keywords.get("properties").is_none() => Some(self.any(keywords.at)?),
            None => None,
        };
        // Required, and not described: any value, or that of the other keys.
        for name in required {
            let key = quoted(name).into_bytes();
            if properties.iter().any(|property| property.key == key) {
                continue;
            }
            let value = match keywords.get("additionalProperties") {
                Some(Json::Bool(false)) => {
                    let reason = format!("{:?} is no property, and there are no others", cut(name, SHOWN));
                    return error(&keywords.path("required"), reason);
                }
                _ => match others {
                    Some(others) => others,
                    None => self.any(keywords.at)?,
                },
            };
            properties.push(Property { key, value, required: true });
        }
        self.add(Node::Object { properties, others }, keywords.at)
    }

    fn literals(&mut self, name: &str, values: &[Json], types: &[&str], keywords: &Keywords<'s, '_>) -> Result<NodeId> {
        let is = |value: &Json| match value {
            _ if types.is_empty() => true,
            Json::Null => types.contains(&"null"),
            Json::Bool(_) => types.contains(&"boolean"),
            Json::Number(number) => {
                let whole = number.as_f64().is_some_and(|value| value.fract() == 0.0);
                types.contains(&"number") || whole && types.contains(&"integer")
            }
            Json::Text(_) => types.contains(&"string"),
            Json::List(_) => types.contains(&"array"),
            Json::Object(_) => types.contains(&"object"),
        };
        if values.len() > MOST_NODES {
            return error(&keywords.path(name), format!("{} values, at most {MOST_NODES} are taken", values.len()));
        }
        if values.iter().any(|value| value.depth() > MOST_DEPTH / 2) {
            return error(&keywords.path(name), format!("a value nested deeper than {}", MOST_DEPTH / 2));
        }
        let mut texts: Vec<Vec<u8>> =
            values.iter().filter(|value| is(value)).map(|value| value.to_string().into_bytes()).collect();
        texts.sort_unstable();
        texts.dedup();
        match texts.is_empty() {
            true => error(&keywords.path(name), "no value of the types that `type` allows"),
            false => self.add(Node::Literals(texts), keywords.at),
        }
    }

    fn one_of(&mut self, name: &str, schemas: &'s [Json], keywords: &Keywords<'s, '_>) -> Result<NodeId> {
        let path = keywords.path(name);
        if schemas.is_empty() {
            return error(&path, "an empty list");
        }
        if name == "allOf" && schemas.len() > 1 {
            return error(&path, "`allOf` of several schemas is not supported");
        }
        let values = schemas.iter().enumerate().map(|(at, schema)| self.value(schema, &format!("{path}[{at}]")));
        let values = values.collect::<Result<Vec<NodeId>>>()?;
        if name == "oneOf" {
            for (at, one) in values.iter().enumerate() {
                if let Some(other) = values[..at].iter().position(|other| !self.differ(*one, *other, MOST_APART)) {
                    let reason = format!(
                        "a value may be both {other} and {at}, which `oneOf` forbids and is not told apart here: use `anyOf`, types that \
                         differ, or a required property whose `const` or `enum` values differ"
                    );
                    return error(&path, reason);
                }
            }
        }
        self.add(Node::OneOf(values), keywords.at)
    }

    /// What a value may begin with, and its node; `None` where a reference is still being read.
    fn kinds(&self, id: NodeId, found: &mut Vec<(u8, NodeId)>, left: usize) -> Option<()> {
        match (&self.nodes[id as usize], left) {
            (Node::OneOf(values), 1..) if !values.is_empty() => {
                values.iter().try_for_each(|value| self.kinds(*value, found, left - 1))?;
            }
            (Node::OneOf(_), _) => return None,
            (Node::Literals(texts), _) => found.extend(texts.iter().map(|text| (text[0], id))),
            (Node::Number(_), _) => found.extend(b"-0123456789".iter().map(|byte| (*byte, id))),
            (Node::Text { .. }, _) => found.push((b'"', id)),
            (Node::Object { .. }, _) => found.push((b'{', id)),
            (Node::Array { .. }, _) => found.push((b'[', id)),
        }
        Some(())
    }

    /// Whether no value is both, as far as that is seen at first sight.
    fn differ(&self, one: NodeId, other: NodeId, left: usize) -> bool {
        let (mut ones, mut others) = (Vec::new(), Vec::new());
        if left == 0 || self.kinds(one, &mut ones, MOST_DEPTH).and(self.kinds(other, &mut others, MOST_DEPTH)).is_none()
        {
            return false;
        }
        for kinds in [&mut ones, &mut others] {
            kinds.sort_unstable();
            kinds.dedup();
        }
        ones.iter().all(|(begin, one)| {
            others.iter().filter(|(other, _)| other == begin).all(|(_, other)| self.nodes_differ(*one, *other, left))
        })
    }

    fn nodes_differ(&self, one: NodeId, other: NodeId, left: usize) -> bool {
        match (&self.nodes[one as usize], &self.nodes[other as usize]) {
            // 1 and 1.0 are one number, and texts have one form only.
            (Node::Literals(ones), Node::Literals(others)) => {
                let texts = |text: &Vec<u8>| text[0] == b'"';
                ones.iter().chain(others).all(texts) && !ones.iter().any(|one| others.binary_search(one).is_ok())
            }
            (Node::Object { properties: ones, .. }, Node::Object { properties: others, .. }) => {
                ones.iter().any(|one| {
                    let same = |other: &&Property| other.required && other.key == one.key;
                    one.required
                        && others.iter().find(same).is_some_and(|other| self.differ(one.value, other.value, left - 1))
                })
            }
            _ => false,
        }
    }

    fn finish(self, root: NodeId) -> Result<Schema> {
        let Self { nodes, places, .. } = self;
        let place = |id: usize| places.get(id).map_or("", String::as_str);
        let mut least: Vec<Option<usize>> = vec![None; nodes.len()];
        // Until nothing changes: as many rounds as values are deep.
        loop {
            let mut changed = false;
            for (id, node) in nodes.iter().enumerate() {
                let of = |id: &NodeId| least[*id as usize];
                let found = match node {
                    Node::OneOf(values) => values.iter().filter_map(of).min(),
                    Node::Literals(_) | Node::Number(_) | Node::Text { .. } => Some(0),
                    Node::Object { properties, .. } => deepest(
                        properties.iter().filter(|property| property.required).map(|property| &property.value),
                        &least,
                    )
                    .map(|depth| depth + 1),
                    Node::Array { first, rest, least: count, .. } => {
                        let own = first.iter().take(*count as usize);
                        let rest = rest.iter().take(usize::from(*count as usize > first.len()));
                        deepest(own.chain(rest), &least).map(|depth| depth + 1)
                    }
                };
                if found.is_some_and(|depth| least[id].is_none_or(|known| depth < known)) {
                    (least[id], changed) = (found, true);
                }
            }
            if !changed {
                break;
            }
        }
        if let Some(id) = least.iter().position(Option::is_none) {
            return error(place(id), "values that need themselves have no end");
        }
        let least: Vec<usize> = least.into_iter().flatten().collect();
        if least[root as usize] > MOST_DEPTH {
            return error("", format!("values are nested deeper than {MOST_DEPTH}"));
        }
        if let Some(id) = circle(&nodes) {
            return error(place(id as usize), "a reference that leads to itself");
        }
        Ok(Schema { nodes, least, root })
    }
}

/// How deep the deepest of some values is, as far as it is known.
fn deepest<'n>(mut values: impl Iterator<Item = &'n NodeId>, least: &[Option<usize>]) -> Option<usize> {
    values.try_fold(0, |deepest: usize, value| Some(deepest.max(least[*value as usize]?)))
}

/// A node that is one of itself: it would be looked up for ever.
fn circle(nodes: &[Node]) -> Option<NodeId> {
    // 0: not seen, 1: on the way, 2: done.
    let mut seen = vec![0_u8; nodes.len()];
    for begin in 0..nodes.len() {
        if seen[begin] == 2 {
            continue;
        }
        let mut way: Vec<(usize, usize)> = vec![(begin, 0)];
        while let Some((id, at)) = way.pop() {
            let Node::OneOf(values) = &nodes[id] else {
                seen[id] = 2;
                continue;
            };
            seen[id] = 1;
            match values.get(at) {
                None => seen[id] = 2,
                Some(next) => {
                    way.push((id, at + 1));
                    match seen[*next as usize] {
                        0 => way.push((*next as usize, 0)),
                        1 => return Some(*next),
                        _ => {}
                    }
                }
            }
        }
    }
    None
}
