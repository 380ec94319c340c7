//! Python's methods of strings, lists and dictionaries that the engine's own collection lacks or has otherwise, and filters that are
//! measured before they are computed.

use super::MAX_OUTPUT;
use super::digits::{is_decimal, is_digit, is_numeric};
use super::letters::is_alpha;
use super::source::BOUNDED;
use minijinja::value::{Kwargs, Rest, StringInput, Tuple, ValueKind, ValueOrKwargs, from_args};
use minijinja::{Environment, Error, ErrorKind, State, Value, filters};
use minijinja_contrib::pycompat::unknown_method_callback;

/// The variable that says how many bytes a value may have.
pub(super) const MOST_BYTES: &str = "_burn_vlm_most_bytes";
/// Most items of a list, those of all lists inside of it counted.
const MOST_ITEMS: usize = 1 << 20;
/// The deepest nesting of lists and dictionaries.
const MOST_DEPTH: usize = 64;

/// Adds methods, filters and tests.
pub(super) fn add_to(environment: &mut Environment<'static>) {
    environment.set_unknown_method_callback(method);
    environment.add_filter(BOUNDED, bounded);
    environment.add_filter("join", join);
    environment.add_filter("format", format_filter);
    environment.add_filter("indent", indent);
    environment.add_filter("batch", |state: &State<'_, '_>, items: Value, count: usize, fill: Option<Value>| {
        parts_of(state, &items, count)?;
        filters::batch(state, items, count, fill)
    });
    environment.add_filter("slice", |state: &State<'_, '_>, items: Value, count: usize, fill: Option<Value>| {
        parts_of(state, &items, count)?;
        filters::slice(state, items, count, fill)
    });
    environment.add_filter("replace", replace_filter);
    // As Jinja2 asks: whatever has a length and is read by index, so a text and a mapping too.
    environment.add_test("sequence", |value: &Value| {
        value.is_undefined() || matches!(value.kind(), ValueKind::Seq | ValueKind::String | ValueKind::Map)
    });
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

/// Most bytes of a value: a multiple of what the template was given.
fn most_bytes(state: &State<'_, '_>) -> usize {
    state.lookup(MOST_BYTES).and_then(|most| most.as_usize()).unwrap_or(MAX_OUTPUT)
}

/// What a value may still have.
struct Room {
    most: usize,
    bytes: usize,
    items: usize,
    /// Whether it may not hold a namespace, the only thing that can come to hold itself.
    no_namespace: bool,
}

impl Room {
    fn of(state: &State<'_, '_>) -> Self {
        let most = most_bytes(state);
        Self { most, bytes: most, items: MOST_ITEMS, no_namespace: false }
    }

    fn take_bytes(&mut self, bytes: usize) -> Result<(), Error> {
        let most = self.most;
        let left = self.bytes.checked_sub(bytes);
        self.bytes = left.ok_or_else(|| wrong(format!("the template makes a value of more than {most} bytes")))?;
        Ok(())
    }

    fn take_items(&mut self, count: usize) -> Result<(), Error> {
        let left = self.items.checked_sub(count);
        self.items =
            left.ok_or_else(|| wrong(format!("the template makes a value of more than {MOST_ITEMS} items")))?;
        Ok(())
    }

    /// Takes what a value has.
    fn take(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > MOST_DEPTH {
            return Err(wrong(format!("the template makes a value that is nested more than {MOST_DEPTH} deep")));
        }
        let is_namespace = || value.as_object().is_some_and(|object| object.type_name().ends_with("Namespace"));
        if self.no_namespace && is_namespace() {
            return Err(wrong("a namespace cannot hold a namespace"));
        }
        match value.kind() {
            ValueKind::String | ValueKind::Bytes => self.take_bytes(value.as_str().map_or(0, str::len)),
            // Without a length it is read once only, and by somebody else.
            ValueKind::Seq | ValueKind::Iterable => match value.len() {
                None => Ok(()),
                Some(length) if length > self.items => self.take_items(length),
                Some(_) => value.try_iter()?.try_for_each(|inner| {
                    self.take_items(1)?;
                    self.take(&inner, depth + 1)
                }),
            },
            ValueKind::Map => value.try_iter()?.try_for_each(|key| {
                self.take_items(1)?;
                self.take(&value.get_item(&key)?, depth + 1)
            }),
            _ => Ok(()),
        }
    }
}

/// The value as it is, if it is no larger than a template may make one.
fn bounded(state: &mut State<'_, '_>, value: &Value, into_namespace: Option<bool>) -> Result<Value, Error> {
    let mut room = Room { no_namespace: into_namespace == Some(true), ..Room::of(state) };
    room.take(value, 0).map(|()| value.clone())
}

/// `value|join(joiner, attribute)`.
fn join(
    state: &mut State<'_, '_>,
    value: &Value,
    joiner: Option<&Value>,
    attribute: Option<String>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let named: Option<Value> = kwargs.get("d")?;
    let attribute = attribute.or(kwargs.get::<Option<String>>("attribute")?);
    kwargs.assert_all_used()?;
    let joiner = joiner.or(named.as_ref()).map(|joiner| joiner.to_string()).unwrap_or_default();
    joined(state, value, &joiner, attribute.as_deref())
}

/// The items of a value, or what a path of attributes finds in each, with a text between them.
fn joined(state: &State<'_, '_>, value: &Value, joiner: &str, attribute: Option<&str>) -> Result<String, Error> {
    let mut room = Room::of(state);
    let mut out = String::new();
    for (number, item) in value.try_iter()?.enumerate() {
        let item = match attribute {
            None => item,
            Some(path) => path.split('.').try_fold(item, |item, name| match name.parse::<usize>() {
                Ok(index) => item.get_item_by_index(index),
                Err(_) => item.get_attr(name),
            })?,
        };
        if number > 0 {
            room.take_bytes(joiner.len())?;
            out.push_str(joiner);
        }
        room.take_items(1)?;
        // Before it becomes a text, which of lists within lists may be far longer.
        room.take(&item, 0)?;
        out.push_str(&item.to_string());
    }
    Ok(out)
}

fn replace_filter(
    state: &mut State<'_, '_>,
    text: &Value,
    old: &Value,
    new: &Value,
    count: Option<i64>,
) -> Result<String, Error> {
    Room::of(state).take(text, 0)?;
    replace(state, &text.to_string(), &old.to_string(), &new.to_string(), count)
}

/// Python's `str.replace`.
fn replace(state: &State<'_, '_>, text: &str, old: &str, new: &str, count: Option<i64>) -> Result<String, Error> {
    let most = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
    let found = text.matches(old).take(most).count();
    Room::of(state).take_bytes(text.len().saturating_add(found.saturating_mul(new.len())))?;
    Ok(text.replacen(old, new, found))
}

/// The methods that the engine has not, before those of its own collection.
fn method(state: &mut State<'_, '_>, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    let own = match value.kind() {
        ValueKind::String => match value.as_str() {
            Some(text) => string_method(state, text, name, args)?,
            None => None,
        },
        ValueKind::Seq => sequence_method(value, name, args)?,
        // A copy of what cannot change is itself.
        ValueKind::Map if name == "copy" => {
            let () = from_args(args)?;
            Some(value.clone())
        }
        _ => None,
    };
    match own {
        Some(found) => Ok(found),
        None => unknown_method_callback(state, value, name, args),
    }
}

fn sequence_method(value: &Value, name: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    match name {
        "index" => {
            let (what, start, end): (&Value, Option<i64>, Option<i64>) = from_args(args)?;
            let items: Vec<Value> = value.try_iter()?.collect();
            let range = slice(items.len(), start, end);
            let found = items[range.clone()].iter().position(|item| item == what);
            let found = found.ok_or_else(|| wrong(format!("{what} is not in the list")))?;
            Ok(Some(Value::from(range.start + found)))
        }
        "copy" => {
            let () = from_args(args)?;
            Ok(Some(value.clone()))
        }
        _ => Ok(None),
    }
}

/// What `[start:end]` is of so many items.
fn slice(length: usize, start: Option<i64>, end: Option<i64>) -> std::ops::Range<usize> {
    let place = |at: i64| match usize::try_from(at) {
        Ok(at) => at.min(length),
        Err(_) => length.saturating_sub(usize::try_from(at.unsigned_abs()).unwrap_or(usize::MAX)),
    };
    let (start, end) = (start.map_or(0, place), end.map_or(length, place));
    start..end.max(start)
}

fn string_method(state: &State<'_, '_>, text: &str, name: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let found = match name {
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Value::from(text.strip_prefix(prefix).unwrap_or(text))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Value::from(text.strip_suffix(suffix).unwrap_or(text))
        }
        "partition" | "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            not_empty(separator)?;
            let last = name == "rpartition";
            let parts = if last { text.rsplit_once(separator) } else { text.split_once(separator) };
            let [a, b, c] = match parts {
                Some((before, after)) => [before, separator, after],
                None if last => ["", "", text],
                None => [text, "", ""],
            };
            Value::from(Tuple::from([Value::from(a), Value::from(b), Value::from(c)]))
        }
        "format" => {
            Room::of(state).take_bytes(brace_widths(text)?)?;
            return Ok(None);
        }
        "split" | "rsplit" => {
            let (separator, most, kwargs): (Option<Value>, Option<i64>, Kwargs) = from_args(args)?;
            let separator = separator.or(kwargs.get("sep")?).filter(|separator| !separator.is_none());
            let most = most.or(kwargs.get("maxsplit")?).and_then(|most| usize::try_from(most).ok());
            kwargs.assert_all_used()?;
            let separator = separator.map(|separator| match separator.as_str() {
                Some(text) => Ok(text.to_owned()),
                None => Err(wrong(format!("{name}: the separator must be a text, not {separator}"))),
            });
            split(text, separator.transpose()?.as_deref(), most, name == "rsplit")?.into_iter().collect()
        }
        "zfill" => {
            let (width,): (usize,) = from_args(args)?;
            let missing = padding(state, text, width)?;
            let sign = usize::from(text.starts_with(['+', '-']));
            Value::from(format!("{}{}{}", &text[..sign], "0".repeat(missing), &text[sign..]))
        }
        "ljust" | "rjust" | "center" => {
            let (width, fill): (usize, Option<&str>) = from_args(args)?;
            let fill = fill.unwrap_or(" ");
            if fill.chars().count() != 1 {
                return Err(wrong(format!("{name}: the fill must be one character, not {fill:?}")));
            }
            let missing = padding(state, text, width)?;
            let left = match name {
                "ljust" => 0,
                "rjust" => missing,
                // Python's own rounding.
                _ => missing / 2 + (missing & width & 1),
            };
            Value::from(format!("{}{text}{}", fill.repeat(left), fill.repeat(missing - left)))
        }
        "casefold" => {
            let () = from_args(args)?;
            Value::from(text.chars().flat_map(folded).collect::<String>())
        }
        "swapcase" => {
            let () = from_args(args)?;
            Value::from(text.chars().flat_map(swapped).collect::<String>())
        }
        "title" => {
            let () = from_args(args)?;
            Value::from(title(text))
        }
        "find" | "rfind" | "index" | "rindex" => {
            let (what, start, end): (&str, Option<i64>, Option<i64>) = from_args(args)?;
            match (place_of(text, what, start, end, name.starts_with('r')), name.ends_with("index")) {
                (Some(found), _) => Value::from(found),
                (None, false) => Value::from(-1),
                (None, true) => return Err(wrong(format!("{name}: {what:?} is not in the text"))),
            }
        }
        "replace" => {
            let (old, new, count): (&str, &str, Option<i64>) = from_args(args)?;
            Value::from(replace(state, text, old, new, count)?)
        }
        "join" => {
            let (items,): (&Value,) = from_args(args)?;
            Value::from(joined(state, items, text, None)?)
        }
        "isdecimal" | "isdigit" | "isnumeric" | "isalpha" | "isalnum" => {
            let () = from_args(args)?;
            let is: fn(char) -> bool = match name {
                "isdecimal" => is_decimal,
                "isdigit" => is_digit,
                "isnumeric" => is_numeric,
                "isalpha" => is_alpha,
                _ => |char| is_alpha(char) || is_numeric(char),
            };
            Value::from(!text.is_empty() && text.chars().all(is))
        }
        _ => return Ok(None),
    };
    Ok(Some(found))
}

fn not_empty(separator: &str) -> Result<(), Error> {
    if separator.is_empty() { Err(wrong("empty separator")) } else { Ok(()) }
}

/// The engine's `format` (`'%5d' % x` is one), measured by its widths before anything is made of it.
fn format_filter(state: &mut State<'_, '_>, text: &Value, arguments: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let widths = text.as_str().map_or(Ok(0), percent_widths)?;
    Room::of(state).take_bytes(widths)?;
    filters::format(state, text, arguments)
}

/// The engine's `indent`, measured by its width and the lines of the text.
fn indent(state: &State<'_, '_>, text: &Value, arguments: Rest<ValueOrKwargs>) -> Result<Value, Error> {
    let (width, first, blank, named): (Option<usize>, Option<bool>, Option<bool>, Kwargs) =
        from_args(&arguments.into_values())?;
    let text = StringInput::new(state, text)?;
    // The width that the engine takes where none is given.
    let asked = width.map_or_else(|| named.get("width"), |width| Ok(Some(width)))?.unwrap_or(4);
    let lines = text.as_str().lines().count() + 1;
    Room::of(state).take_bytes(text.as_str().len().saturating_add(lines.saturating_mul(asked)))?;
    filters::indent(text, width, first, blank, named)
}

/// Room for a list in parts, of which there are `count`, or which have `count` items each.
fn parts_of(state: &State<'_, '_>, items: &Value, count: usize) -> Result<(), Error> {
    Room::of(state).take_items(items.len().unwrap_or(0).saturating_add(count))
}

/// Widths and precisions of a text for `%`, together.
fn percent_widths(text: &str) -> Result<usize, Error> {
    let mut widths = 0usize;
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        rest = &rest[at + 1..];
        if let Some(key) = rest.strip_prefix('(') {
            rest = key.split_once(')').map_or("", |(_, after)| after);
        }
        let end = rest.find(|char: char| !char.is_ascii_digit() && !"#0- +.*".contains(char)).unwrap_or(rest.len());
        let (spec, after) = rest.split_at(end);
        if spec.contains('*') {
            return Err(wrong("format: a width of `*` is not supported; write it as a number"));
        }
        widths = widths.saturating_add(numbers(spec));
        rest = after.strip_prefix('%').unwrap_or(after);
    }
    Ok(widths)
}

/// Widths and precisions of a text for `format`, together.
fn brace_widths(text: &str) -> Result<usize, Error> {
    let mut widths = 0usize;
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('{') {
            rest = after;
            continue;
        }
        let end = rest.find('}').unwrap_or(rest.len());
        if rest[..end].contains('{') {
            return Err(wrong("format: a width that is an argument is not supported; write it as a number"));
        }
        widths = widths.saturating_add(numbers(&rest[..end]));
        rest = &rest[end..];
    }
    Ok(widths)
}

/// The numbers of a text, together.
fn numbers(text: &str) -> usize {
    let numbers = text.split(|char: char| !char.is_ascii_digit()).filter(|number| !number.is_empty());
    numbers.fold(0, |sum, number| sum.saturating_add(number.parse().unwrap_or(usize::MAX)))
}

/// Characters that a text lacks to a width.
fn padding(state: &State<'_, '_>, text: &str, width: usize) -> Result<usize, Error> {
    let missing = width.saturating_sub(text.chars().count());
    Room::of(state).take_bytes(text.len().saturating_add(missing.saturating_mul(4)))?;
    Ok(missing)
}

/// Python's `split` and `rsplit`; without a separator at runs of whitespace.
fn split(text: &str, separator: Option<&str>, most: Option<usize>, from_end: bool) -> Result<Vec<String>, Error> {
    let most = most.unwrap_or(usize::MAX);
    let Some(separator) = separator else { return Ok(split_whitespace(text, most, from_end)) };
    not_empty(separator)?;
    let pieces = most.saturating_add(1);
    let owned = |piece: &str| piece.to_owned();
    Ok(match from_end {
        false => text.splitn(pieces, separator).map(owned).collect(),
        true => {
            let mut found: Vec<String> = text.rsplitn(pieces, separator).map(owned).collect();
            found.reverse();
            found
        }
    })
}

fn split_whitespace(text: &str, most: usize, from_end: bool) -> Vec<String> {
    // Whitespace on the side where it begins is passed over; what is left at the end keeps its own, as in Python.
    let trimmed = |text: &str| if from_end { text.trim_end().to_owned() } else { text.trim_start().to_owned() };
    let mut found = Vec::new();
    let mut rest = trimmed(text);
    while !rest.is_empty() {
        let space = if from_end { rest.rfind(char::is_whitespace) } else { rest.find(char::is_whitespace) };
        let Some(at) = space.filter(|_| found.len() < most) else {
            found.push(rest);
            break;
        };
        let width = rest[at..].chars().next().map_or(1, char::len_utf8);
        let (before, after) = (rest[..at].to_owned(), rest[at + width..].to_owned());
        let (piece, left) = if from_end { (after, before) } else { (before, after) };
        found.push(piece);
        rest = trimmed(&left);
    }
    if from_end {
        found.reverse();
    }
    found
}

/// Where a text stands in another, in characters, between two of its places.
fn place_of(text: &str, what: &str, start: Option<i64>, end: Option<i64>, last: bool) -> Option<usize> {
    let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
    let length = places.len() - 1;
    if start.is_some_and(|start| usize::try_from(start).is_ok_and(|start| start > length)) {
        return None;
    }
    let range = slice(length, start, end);
    let inside = &text[places[range.start]..places[range.end]];
    let found = if last { inside.rfind(what) } else { inside.find(what) };
    found.map(|at| range.start + inside[..at].chars().count())
}

/// A character as Unicode folds it, for comparisons without case.
fn folded(char: char) -> Vec<char> {
    match char {
        // The dotless i has no other case, and Cherokee folds to capitals.
        'ı' | '\u{13a0}'..='\u{13f5}' => vec![char],
        '\u{13f8}'..='\u{13fd}' | '\u{ab70}'..='\u{abbf}' => char.to_uppercase().collect(),
        'ẞ' => vec!['s', 's'],
        _ => char.to_uppercase().flat_map(char::to_lowercase).collect(),
    }
}

fn swapped(char: char) -> Vec<char> {
    if char.is_uppercase() { char.to_lowercase().collect() } else { char.to_uppercase().collect() }
}

/// Python's `title`: a letter behind none is a capital, all others are small.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for char in text.chars() {
        match inside {
            true => out.extend(char.to_lowercase()),
            false => out.extend(char.to_uppercase()),
        }
        inside = char.is_lowercase() || char.is_uppercase();
    }
    out
}
