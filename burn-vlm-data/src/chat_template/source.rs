//! A template's source made ready for the engine: what Jinja2 does and the engine does not is written in words that both know, and
//! sources beyond the limits are refused before the engine sees them.
//!
//! Unusual here:
//! - line ends become `\n`, as Jinja2 makes them, in strings too;
//! - `{% generation %}`, with which training codes mark what the assistant says, is a scope of its own: `{% with %}`;
//! - a macro's default that names an earlier argument is set in the macro's body, since the engine looks at the last one first;
//! - `'%s' % x` becomes `'%s'|format(x)`, where the text on the left is written out;
//! - a method of a list or dictionary that is written out, `[1].copy()`, is one of a group, `([1]).copy()`;
//! - what a template assigns goes through a filter that measures it ([`BOUNDED`]): a value joined to itself again and again takes few
//!   steps to fill the memory.

/// The longest source, in bytes; the longest published ones have 20,000.
const MAX_SOURCE: usize = 1 << 20;
/// Most operators of one tag. The engine follows them one inside of the other, and its stack has an end.
pub(super) const MAX_OPERATORS: usize = 400;
/// Most `elif` of a source, which the engine follows likewise.
const MAX_ELIF: usize = 400;
/// The name of the filter that measures what is assigned.
pub(super) const BOUNDED: &str = "_burn_vlm_bounded";
/// Words that are operators.
const WORDS: [&str; 6] = ["and", "or", "not", "in", "is", "if"];

/// The source as the engine takes it.
///
/// # Errors
/// A source that is too long or too deep, with the limit.
pub(super) fn prepared(source: &str) -> Result<String, String> {
    if source.len() > MAX_SOURCE {
        return Err(format!("the template has {} bytes, at most {MAX_SOURCE} are read", source.len()));
    }
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut out = String::with_capacity(source.len() + source.len() / 4);
    let mut rest = source.as_str();
    let mut elifs = 0;
    while let Some(begin) = opening(rest) {
        out.push_str(&rest[..begin]);
        rest = &rest[begin..];
        if rest.starts_with("{#") {
            let end = rest.find("#}").map_or(rest.len(), |end| end + 2);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        // Without an end it is the engine's to complain, which reads on until it finds that out.
        let Some(tag) = Tag::at(rest) else {
            check_operators(rest, &source, source.len() - rest.len())?;
            break;
        };
        check_operators(tag.body, &source, source.len() - rest.len())?;
        if tag.is_statement && tag.word() == "elif" {
            elifs += 1;
            if elifs > MAX_ELIF {
                return Err(format!("the template has more than {MAX_ELIF} `elif`"));
            }
        }
        out.push_str(&tag.rewritten());
        rest = &rest[tag.length..];
        if tag.is_statement && tag.word() == "raw" {
            let end = end_of_raw(rest);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Where the next tag or comment begins.
fn opening(text: &str) -> Option<usize> {
    let mut braces = text.match_indices('{').map(|(at, _)| at);
    braces.find(|at| matches!(text.as_bytes().get(at + 1), Some(b'%' | b'{' | b'#')))
}

/// Where the tag that ends a raw block begins.
fn end_of_raw(text: &str) -> usize {
    let mut from = 0;
    while let Some(at) = text[from..].find("{%") {
        let begin = from + at;
        let inside = text[begin + 2..].trim_start_matches(['-', '+', ' ', '\n', '\t']);
        if inside.starts_with("endraw") {
            return begin;
        }
        from = begin + 2;
    }
    text.len()
}

/// A tag, `{% ... %}` or `{{ ... }}`.
struct Tag<'a> {
    is_statement: bool,
    /// `-`, `+` or nothing behind the opening.
    open: &'a str,
    body: &'a str,
    /// The same before the end.
    close: &'a str,
    /// All of it, in bytes.
    length: usize,
}

impl<'a> Tag<'a> {
    /// The tag that `text` begins with; `None` if it has no end.
    fn at(text: &'a str) -> Option<Self> {
        let is_statement = text.starts_with("{%");
        let end = if is_statement { "%}" } else { "}}" };
        let open = sign_at(text, 2);
        let from = 2 + open.len();
        let mut at = from;
        while at < text.len() {
            let here = &text[at..];
            if here.starts_with(end) {
                let close = if text[from..at].ends_with(['-', '+']) { &text[at - 1..at] } else { "" };
                let body = &text[from..at - close.len()];
                return Some(Self { is_statement, open, body, close, length: at + end.len() });
            }
            at += match here.chars().next()? {
                '\'' | '"' => string_length(here)?,
                '(' | '[' | '{' => group_length(here)?,
                char => char.len_utf8(),
            };
        }
        None
    }

    /// The first word of a statement.
    fn word(&self) -> &'a str {
        let body = self.body.trim_start();
        &body[..word_length(body)]
    }

    fn rewritten(&self) -> String {
        let body = rewritten_body(self.body);
        if !self.is_statement {
            return format!("{{{{{}{body}{}}}}}", self.open, self.close);
        }
        let statement = |body: &str, close: &str| format!("{{%{}{body}{close}%}}", self.open);
        let word = self.word();
        match word {
            "generation" if body.trim() == word => statement(&body.replacen(word, "with", 1), self.close),
            "endgeneration" if body.trim() == word => statement(&body.replacen(word, "endwith", 1), self.close),
            "set" => statement(&bounded_set(&body), self.close),
            "macro" => match bounded_macro(&body) {
                Some((head, sets)) => {
                    let last = sets.len().saturating_sub(1);
                    let mut out = statement(&head, if sets.is_empty() { self.close } else { "" });
                    for (number, set) in sets.iter().enumerate() {
                        let close = if number == last { self.close } else { "" };
                        out.push_str(&format!("{{%{set}{close}%}}"));
                    }
                    out
                }
                None => statement(&body, self.close),
            },
            _ => statement(&body, self.close),
        }
    }
}

/// `set x = expression` with the expression measured; a block's content likewise.
fn bounded_set(body: &str) -> String {
    match top_level(body, |rest| rest.starts_with('=') && !rest.starts_with("==")).first() {
        Some(at) if !body[at + 1..].trim().is_empty() => {
            // Into a namespace nothing goes that holds one: it could be itself.
            let inside = if body[..*at].contains('.') { "(true)" } else { "" };
            format!("{}= ({})|{BOUNDED}{inside} ", &body[..*at], body[at + 1..].trim())
        }
        Some(_) => body.to_owned(),
        None => format!("{} | {BOUNDED} ", body.trim_end()),
    }
}

/// `macro name(a, b=a)` without the defaults that name another argument, and the statements that belong at the begin of its body:
/// those defaults, and the arguments measured.
fn bounded_macro(body: &str) -> Option<(String, Vec<String>)> {
    let open = body.find('(')?;
    let close = body.rfind(')').filter(|close| *close > open)?;
    let inside = &body[open + 1..close];
    let commas = top_level(inside, |rest| rest.starts_with(','));
    let mut begin = 0;
    let mut arguments = Vec::new();
    for end in commas.into_iter().chain([inside.len()]) {
        arguments.push(&inside[begin..end]);
        begin = (end + 1).min(inside.len());
    }
    let (mut names, mut sets): (Vec<&str>, Vec<String>) = (Vec::new(), Vec::new());
    let mut heads = Vec::new();
    for argument in arguments {
        let default = top_level(argument, |rest| rest.starts_with('=')).first().copied();
        let name = argument[..default.unwrap_or(argument.len())].trim();
        let head = match default.map(|at| argument[at + 1..].trim()) {
            Some(expression) if names_one(expression, &names) => {
                sets.push(format!(" if {name} is undefined "));
                sets.push(format!(" set {name} = ({expression}) "));
                sets.push(" endif ".to_owned());
                // Arguments behind one with a default need one, and this is none.
                format!("{name}=_burn_vlm_undefined")
            }
            _ => argument.trim().to_owned(),
        };
        if !name.is_empty() && word_length(name) == name.len() {
            sets.push(format!(" set {name} = {name}|{BOUNDED} "));
            names.push(name);
        }
        heads.push(head);
    }
    Some((format!("{}({}){}", &body[..open], heads.join(", "), &body[close + 1..]), sets))
}

/// Whether an expression names one of some variables.
fn names_one(expression: &str, names: &[&str]) -> bool {
    let mut at = 0;
    while at < expression.len() {
        let here = &expression[at..];
        if here.starts_with(['\'', '"']) {
            at += string_length(here).unwrap_or(here.len());
            continue;
        }
        let length = word_length(here);
        if length > 0 {
            let attribute = expression[..at].trim_end().ends_with('.');
            if !attribute && names.contains(&&here[..length]) {
                return true;
            }
            at += length;
            continue;
        }
        at += here.chars().next().map_or(1, char::len_utf8);
    }
    false
}

/// A body in which `'text' % operand` is `'text'|format(operand)`, and a list or a dictionary whose method is called stands in
/// parentheses.
fn rewritten_body(body: &str) -> String {
    let mut out = String::with_capacity(body.len());
    let mut at = 0;
    while at < body.len() {
        let here = &body[at..];
        if here.starts_with(['\'', '"']) {
            let length = string_length(here).unwrap_or(here.len());
            let (text, behind) = here.split_at(length);
            out.push_str(text);
            at += length;
            let operator = behind.len() - behind.trim_start().len();
            if behind[operator..].starts_with('%') {
                let from = operator + 1;
                let spaces = behind[from..].len() - behind[from..].trim_start().len();
                let operand = &behind[from + spaces..];
                let length = operand_length(operand);
                if length > 0 {
                    let operand_text = rewritten_body(&operand[..length]);
                    let splat = if text.contains("%(") { "**" } else { "" };
                    out.push_str(&format!("|format({splat}{})", arguments(&operand_text)));
                    at += from + spaces + length;
                }
            }
            continue;
        }
        if here.starts_with(['[', '{'])
            && begins_literal(&out)
            && let Some(length) = group_length(here).filter(|length| here[*length..].starts_with(['.', '[']))
        {
            out.push_str(&format!(
                "({}{}{})",
                &here[..1],
                rewritten_body(&here[1..length - 1]),
                &here[length - 1..length]
            ));
            at += length;
            continue;
        }
        let char = here.chars().next().unwrap_or(' ');
        out.push(char);
        at += char.len_utf8();
    }
    out
}

/// Whether a bracket behind this text begins a list or a dictionary, and is no index.
fn begins_literal(before: &str) -> bool {
    let before = before.trim_end();
    let rest = before.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_');
    let name = &before[rest.len()..];
    match name.is_empty() {
        true => !rest.ends_with([')', ']', '}', '\'', '"']),
        false => WORDS.contains(&name) || matches!(name, "else" | "elif"),
    }
}

/// The items of a tuple as arguments; anything else as it is.
fn arguments(operand: &str) -> String {
    let inside = operand.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    match inside {
        Some(inside) if !top_level(inside, |rest| rest.starts_with(',')).is_empty() => {
            inside.trim_end().trim_end_matches(',').to_owned()
        }
        _ => operand.to_owned(),
    }
}

/// Length of what a binary operator takes on its right: a name, number, text or group, with what hangs on it.
fn operand_length(text: &str) -> usize {
    let mut at = if text.starts_with('-') { 1 } else { 0 };
    let here = &text[at..];
    at += match here.chars().next() {
        Some('\'' | '"') => string_length(here).unwrap_or(0),
        Some('(' | '[' | '{') => group_length(here).unwrap_or(0),
        Some('0'..='9') => here.len() - here.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.').len(),
        Some(_) => here.len() - here.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_').len(),
        None => 0,
    };
    if at == 0 || text[..at] == *"-" {
        return 0;
    }
    loop {
        let here = &text[at..];
        let spaces = here.len() - here.trim_start().len();
        let next = &here[spaces..];
        match next.chars().next() {
            Some('(' | '[') if spaces == 0 => match group_length(next) {
                Some(length) => at += length,
                None => return at,
            },
            Some('.') if spaces == 0 => match word_length(&next[1..]) {
                0 => return at,
                length => at += 1 + length,
            },
            Some('|') => {
                let name = &next[1..];
                let before = name.len() - name.trim_start().len();
                match word_length(&name[before..]) {
                    0 => return at,
                    length => at += spaces + 1 + before + length,
                }
            }
            _ => return at,
        }
    }
}

/// Places where a condition holds outside of strings and groups.
fn top_level(text: &str, holds: impl Fn(&str) -> bool) -> Vec<usize> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < text.len() {
        let here = &text[at..];
        if holds(here) {
            found.push(at);
        }
        let length = match here.chars().next() {
            Some('\'' | '"') => string_length(here),
            Some('(' | '[' | '{') => group_length(here),
            _ => None,
        };
        // `==`, `!=`, `<=` and `>=` have a sign that is none by itself.
        let comparison = ["==", "!=", "<=", ">="].iter().any(|sign| here.starts_with(sign));
        let char = here.chars().next().map_or(1, char::len_utf8);
        at += length.unwrap_or(if comparison { 2 } else { char });
    }
    found
}

/// Length of the group that `text` begins with, brackets included.
fn group_length(text: &str) -> Option<usize> {
    let (mut depth, mut at) = (0usize, 0);
    while at < text.len() {
        let here = &text[at..];
        let char = here.chars().next()?;
        match char {
            '\'' | '"' => {
                at += string_length(here)?;
                continue;
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        at += char.len_utf8();
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// Length of the string that `text` begins with, quotes included; `None` if it has no end.
fn string_length(text: &str) -> Option<usize> {
    let quote = text.chars().next()?;
    let mut escaped = false;
    for (at, char) in text.char_indices().skip(1) {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            char if char == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Length of the word that `text` begins with; 0 if it begins with none.
fn word_length(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.len() - text.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_').len()
}

/// The sign of whitespace control at a place.
fn sign_at(text: &str, at: usize) -> &str {
    let sign = &text[at..];
    if sign.starts_with(['-', '+']) { &sign[..1] } else { "" }
}

/// Refuses a tag with too many operators.
fn check_operators(body: &str, source: &str, at: usize) -> Result<(), String> {
    // Most tags are shorter than that many operators.
    if body.len() < MAX_OPERATORS {
        return Ok(());
    }
    let (mut count, mut place) = (0, 0);
    while place < body.len() {
        let here = &body[place..];
        let char = here.chars().next().unwrap_or(' ');
        if matches!(char, '\'' | '"') {
            place += string_length(here).unwrap_or(here.len());
            continue;
        }
        let word = word_length(here);
        if word > 0 {
            count += usize::from(WORDS.contains(&&here[..word]));
            place += word;
            continue;
        }
        count += usize::from(matches!(
            char,
            '+' | '-' | '*' | '/' | '%' | '~' | '|' | '.' | '<' | '>' | '=' | '!' | '(' | '[' | '{'
        ));
        place += char.len_utf8();
    }
    if count <= MAX_OPERATORS {
        return Ok(());
    }
    let line = source[..at].matches('\n').count() + 1;
    Err(format!(
        "line {line}: a tag with {count} operators and brackets, at most {MAX_OPERATORS} are followed; split it with `set`"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(source: &str) -> String {
        prepared(source).unwrap().replace(&format!("|{BOUNDED}"), "|B").replace(&format!("| {BOUNDED}"), "| B")
    }

    #[test]
    fn generation_is_a_scope() {
        let source = "a{%- generation -%} b {%endgeneration%}{% if x %}c{% endif %} {% open";
        assert_eq!(shown(source), "a{%- with -%} b {%endwith%}{% if x %}c{% endif %} {% open");
        // Found by fuzzing: a percent sign that is both the beginning's and the end's.
        for source in ["{%}", "{%}%}", "{%%}", "x{%", "{{", "{{'}}", "{#", "{#}", "{{ {'a': {}}}}"] {
            assert_eq!(shown(source), source);
        }
        let raw = "{% raw %}{% generation %}'%s' % x{%- endraw %}";
        assert_eq!(shown(raw), raw);
        assert_eq!(shown("{# {% generation %} #}"), "{# {% generation %} #}");
    }

    #[test]
    fn percent_is_format() {
        for (source, expected) in [
            ("{{ '%s' % x }}", "{{ '%s'|format(x) }}"),
            ("{{ 'a' ~ \"%d-%s\" % (n, m.b[0]) + 'c' }}", "{{ 'a' ~ \"%d-%s\"|format(n, m.b[0]) + 'c' }}"),
            ("{{ '%s' % x|upper ~ y }}", "{{ '%s'|format(x|upper) ~ y }}"),
            ("{{ '%(a)s' % d }}", "{{ '%(a)s'|format(**d) }}"),
            ("{{ '%.1f' % 2.25 }}{{ '%d' % -3 }}", "{{ '%.1f'|format(2.25) }}{{ '%d'|format(-3) }}"),
            ("{{ '%s' % ('%d' % 3) }}", "{{ '%s'|format(('%d'|format(3))) }}"),
            ("{{ [3, {'a': 1}.copy()].index(x[0].y) }}", "{{ ([3, ({'a': 1}).copy()]).index(x[0].y) }}"),
            (
                "{{ x[1].y }}{{ f(x)[0].z }}{% if 1 in [1].copy() %}",
                "{{ x[1].y }}{{ f(x)[0].z }}{% if 1 in ([1]).copy() %}",
            ),
            ("{% elif [1].copy() %}", "{% elif ([1]).copy() %}"),
            ("{{ 7 % 2 }}{{ x % 2 }}{{ '100 % 3' }}", "{{ 7 % 2 }}{{ x % 2 }}{{ '100 % 3' }}"),
            ("{% if '%s' % (a,) == b %}{% endif %}", "{% if '%s'|format(a) == b %}{% endif %}"),
        ] {
            assert_eq!(shown(source), expected);
        }
    }

    #[test]
    fn assignments_are_measured() {
        assert_eq!(shown("{%- set a = b == c -%}"), "{%- set a = (b == c)|B -%}");
        assert_eq!(shown("{% set ns.x = '=' ~ y %}"), "{% set ns.x = ('=' ~ y)|B(true) %}");
        assert_eq!(shown("{% set x %}t{% endset %}"), "{% set x | B %}t{% endset %}");
        assert_eq!(shown("{% set x | upper %}"), "{% set x | upper | B %}");
        let found = shown("{% macro f(a, b=a.x, c='b') -%}\nt{% endmacro %}");
        assert_eq!(
            found,
            "{% macro f(a, b=_burn_vlm_undefined, c='b') %}{% set a = a|B %}{% if b is undefined %}{% set b = (a.x) %}{% endif %}\
             {% set b = b|B %}{% set c = c|B -%}\nt{% endmacro %}"
        );
        assert_eq!(shown("{% macro f() %}"), "{% macro f() %}");
    }

    #[test]
    fn limits() {
        let sum = |count: usize| format!("{{{{ 1{} }}}}", " + 1".repeat(count));
        assert!(prepared(&sum(MAX_OPERATORS)).is_ok());
        let error = prepared(&format!("a\r\nb\n{}", sum(MAX_OPERATORS + 1))).unwrap_err();
        assert!(error.contains("line 3") && error.contains("401 operators"), "{error}");
        // The same in tags that have no end, since a bracket or a text in them has none.
        for begin in ["{{ ", "{% for a in b[{{ ", "{{ (", "{% if a["] {
            let deep = |count: usize| format!("a\n{begin}{} 'b'] | c %}} }}", "-".repeat(count));
            assert!(prepared(&deep(20)).is_ok());
            let error = prepared(&deep(20_000)).unwrap_err();
            assert!(error.contains("line 2") && error.contains("operators"), "{begin}: {error}");
        }
        assert!(prepared(&"x".repeat(MAX_SOURCE)).is_ok());
        assert!(prepared(&"x".repeat(MAX_SOURCE + 1)).unwrap_err().contains("1048577 bytes"));
        // As many tags as there is room for.
        assert!(prepared(&"{{}}".repeat(MAX_SOURCE / 4)).is_ok());
        let elif = |count: usize| format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(count));
        assert!(prepared(&elif(MAX_ELIF)).is_ok() && prepared(&elif(MAX_ELIF + 1)).is_err());
    }
}
