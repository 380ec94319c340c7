//! Templates in the style of the published families, and Python's behaviour where Jinja implementations differ. The expected
//! texts are what Jinja2 with Hugging Face's settings gives.

use super::*;
use serde_json::json;
use std::path::Path;

fn turns() -> Vec<Turn> {
    vec![Turn::user("<image>\nWhat is this?"), Turn::assistant("red apple")]
}

/// Renders a template on the two turns above.
fn shown(source: &str) -> String {
    let template = ChatTemplate::new(source).unwrap_or_else(|error| panic!("{source}: {error}"));
    template.render(&turns(), false).unwrap_or_else(|error| panic!("{source}: {error}"))
}

/// Renders a template with variables on no messages.
fn with(source: &str, variables: serde_json::Value) -> String {
    let serde_json::Value::Object(variables) = variables else { panic!("an object") };
    let options = RenderOptions {
        variables: variables.into_iter().map(|(name, value)| (name, serde_json::from_value(value).unwrap())).collect(),
        ..Default::default()
    };
    ChatTemplate::new(source).unwrap().render_messages(&[], &options).unwrap()
}

fn prompt() -> RenderOptions {
    RenderOptions { add_generation_prompt: true, ..Default::default() }
}

#[test]
fn tiny_template() {
    let template = ChatTemplate::tiny().unwrap();
    assert_eq!(
        template.render(&turns(), false).unwrap(),
        "<|user|><image>\nWhat is this?<|assistant|>red apple<|end|>"
    );
    assert_eq!(template.render(&turns()[..1], true).unwrap(), "<|user|><image>\nWhat is this?<|assistant|>");
    let error = template.render(&[Turn::system("Be brief.")], false).unwrap_err().to_string();
    assert!(error.contains("no system turn"), "{error}");
}

#[test]
fn whitespace_methods_and_loops() {
    let source = "{{ bos_token }}\n{% for m in messages %}\n    {% if m['content'].startswith('<image>') %}\nI\n    {% endif %}\n{{ m.content.split('\\n')[-1].strip().title() }}{{ eos_token }}{% endfor %}";
    let template = ChatTemplate::new(source).unwrap().with_special_tokens("<s>", "</s>");
    assert_eq!(template.render(&turns(), false).unwrap(), "<s>\nI\nWhat Is This?</s>Red Apple</s>");
    assert_eq!(
        shown("{% for m in messages %}{% if loop.index0 == 1 %}{% break %}{% endif %}{{ m.role }}{% endfor %}"),
        "user"
    );
    assert_eq!(shown("{% for m in messages[::-1] %}{{ loop.index0 }}{{ m.role }} {% endfor %}"), "0assistant 1user ");
    assert_eq!(
        shown("{{ messages[1:] | length }}{{ messages[0].content[1:6] }}{{ messages[-1]['role'] }}"),
        "1imageassistant"
    );
    assert_eq!(
        shown("{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}"),
        "2"
    );
    assert_eq!(shown("{{ (messages | map(attribute='role') | list) | join('-') }}"), "user-assistant");
    assert_eq!(shown("{% for k, v in messages[0].items() %}{{ k }},{% endfor %}"), "role,content,");
    assert_eq!(shown("{{ messages[0].get('name', 'nobody') }}{{ messages[0].content is string }}"), "nobodyTrue");
    assert_eq!(shown("{{ 'a</think>b'.split('</think>')[-1].lstrip('\\n') }}{{ '\\n x '.strip() }}"), "bx");
    assert_eq!(
        shown("{{ tools is none }}{{ tools is defined }}{{ nothing is defined }}{{ documents }}"),
        "TrueTrueFalseNone"
    );
    assert_eq!(shown("{% generation %}{{ messages[1].content }}{% endgeneration %}"), "red apple");
    assert_eq!(shown("{{ strftime_now('%Y') | length }}"), "4");
    assert_eq!(
        shown("{% macro f(x) %}[{{ x }}]{% endmacro %}{{ f('y') }}{{ 'no' if not messages else 'yes' }}"),
        "[y]yes"
    );
}

#[test]
fn tojson_is_pythons() {
    let value = json!({"a": "<b> & 'é' \"q\" \u{1}\n", "e": [], "n": [1, 2.5, true, null], "o": {}});
    assert_eq!(
        with("{{ v | tojson }}", json!({"v": value})),
        r#"{"a": "<b> & 'é' \"q\" \u0001\n", "e": [], "n": [1, 2.5, true, null], "o": {}}"#
    );
    assert_eq!(
        with("{{ v | tojson(indent=4) }}", json!({"v": {"a": [1, {"b": "c"}], "e": []}})),
        "{\n    \"a\": [\n        1,\n        {\n            \"b\": \"c\"\n        }\n    ],\n    \"e\": []\n}"
    );
    assert_eq!(with("{{ v | tojson(ensure_ascii=True) }}", json!({"v": "é😀"})), r#""\u00e9\ud83d\ude00""#);
    assert_eq!(with("{{ v | tojson(separators=(',', ':')) }}", json!({"v": {"a": 1, "b": 2}})), r#"{"a":1,"b":2}"#);
    assert_eq!(with("{{ 1e-7 | tojson }} {{ 3.0 | tojson }}", json!({})), "1e-07 3.0");
    assert_eq!(shown("{{ messages[1] | tojson }}"), r#"{"role": "assistant", "content": "red apple"}"#);
    // A value that contains itself ends in an error, not in the stack's end.
    let cycle = "{% set ns = namespace() %}{% set ns.me = ns %}{{ ns | tojson }}";
    assert!(ChatTemplate::new(cycle).unwrap().render(&turns(), false).is_err());
}

/// What Jinja2 3.1 and Python 3 give, run once.
#[test]
fn as_jinja2_and_python() {
    for (source, expected) in [
        (
            "{{ 'abc' is sequence }}{{ {'a': 1} is sequence }}{{ [1] is sequence }}{{ 3 is sequence }}",
            "TrueTrueTrueFalse",
        ),
        ("a\r\nb\rc{{ 'x\r\ny' | length }}", "a\nb\nc3"),
        ("{% macro f(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}{{ f(1, 2) }}{{ f(1, b=3) }}", "111213"),
        (
            "{% macro f(a, b=a + 1, c=b * 2) -%}\n {{ a }}{{ b }}{{ c }}{%- endmacro %}{{ f(1) }}{{ f(1, c=9) }}",
            "124129",
        ),
        ("{{ 'abcab'.removeprefix('ab') }} {{ 'abcab'.removesuffix('ab') }} {{ 'x'.removeprefix('y') }}", "cab abc x"),
        ("{{ 'a=b=c'.partition('=') | join('|') }} {{ 'a=b=c'.rpartition('=') | join('|') }}", "a|=|b=c a=b|=|c"),
        ("{{ 'a'.partition('=') | join('|') }} {{ 'a'.rpartition('=') | join('|') }}", "a|| ||a"),
        ("{{ 'a,b,c'.rsplit(',', 1) | join('|') }} {{ ' a b  c '.rsplit(None, 1) | join('|') }}", "a,b|c  a b|c"),
        ("{{ ' a b  c '.split(None, 1) | join('|') }}. {{ 'a b'.split() | join('|') }}", "a|b  c . a|b"),
        ("{{ 'a,b,c'.split(',', maxsplit=1) | join('|') }} {{ 'a'.split(',') | length }}", "a|b,c 1"),
        ("{{ '42'.zfill(5) }} {{ '-42'.zfill(5) }} {{ '+1'.zfill(1) }}", "00042 -0042 +1"),
        ("{{ 'Straße ΣΑΣ'.casefold() }} {{ 'ﬁ İ'.casefold() }}", "strasse σασ fi i\u{307}"),
        ("{{ 'Hello ß'.swapcase() }} {{ \"they're x1y\".title() }}", "hELLO SS They'Re X1Y"),
        (
            "{{ 'ab'.ljust(4) }}|{{ 'ab'.rjust(4, '.') }}|{{ 'ab'.center(5, '*') }}|{{ 'abc'.center(6, '-') }}",
            "ab  |..ab|**ab*|-abc--",
        ),
        (
            "{{ 'abcabc'.index('c') }}{{ 'abcabc'.index('c', 3) }}{{ 'abcabc'.rindex('a') }}{{ 'äbc'.find('c') }}",
            "2532",
        ),
        ("{{ 'abc'.find('a', 1) }}{{ 'abc'.rfind('z') }}{{ 'abcabc'.find('a', 1, -2) }}", "-1-13"),
        ("{{ [3, 1, 3].index(3) }}{{ [3, 1, 3].index(3, 1) }}{{ [1].copy() }}{{ {'a': 1}.copy() }}", "02[1]{'a': 1}"),
        ("{{ '%s' % 'x' }} {{ '%s-%03d' % ('a', 7) }} {{ '%.1f' % 2.25 }} {{ 7 % 4 }}", "x a-007 2.2 3"),
        ("{{ '%5d|%-4s|%(a)s 1234567 100%%' % {'a': 1} if false else '%5d|%-4s|' % (7, 'x') }}", "    7|x   |"),
        ("{{ '{:>4}|{{}}|{a}'.format('x', a=1) }}", "   x|{}|1"),
        (
            "{{ 'a\nb' | indent }}|{{ 'a\nb' | indent(1, true) }}|{{ 'a\nb' | indent(width=2) }}",
            "a\n    b| a\n b|a\n  b",
        ),
        ("{{ [1, 2, 3] | batch(2, 'x') | list }}{{ [1, 2, 3] | slice(2) | list }}", "[[1, 2], [3, 'x']][[1, 2], [3]]"),
        ("{{ '42'.isdecimal() }}{{ '42'.isdigit() }}{{ '42'.isnumeric() }}{{ '42'.isalnum() }}", "TrueTrueTrueTrue"),
        // A vowel sign is no letter for Python, so that a word with one is not of letters alone.
        (
            "{{ 'किताब'.isalpha() }}{{ 'किताब'.isalnum() }}{{ 'कमल'.isalpha() }}{{ 'कमल'.isalnum() }}",
            "FalseFalseTrueTrue",
        ),
        (
            "{{ 'Ⅻ'.isalpha() }}{{ 'Ⅻ'.isalnum() }}{{ 'ⓐ'.isalnum() }}{{ 'x²'.isalpha() }}{{ 'x²'.isalnum() }}{{ ''.isalpha() }}",
            "FalseTrueFalseFalseTrueFalse",
        ),
        (
            "{{ '٣４'.isdecimal() }}{{ '٣４'.isdigit() }}{{ '٣４'.isnumeric() }}{{ '٣４'.isalnum() }}",
            "TrueTrueTrueTrue",
        ),
        ("{{ '²'.isdecimal() }}{{ '²'.isdigit() }}{{ '²'.isnumeric() }}{{ '²'.isalnum() }}", "FalseTrueTrueTrue"),
        ("{{ '½'.isdecimal() }}{{ '½'.isdigit() }}{{ '½'.isnumeric() }}{{ '½'.isalnum() }}", "FalseFalseTrueTrue"),
        ("{{ '五'.isdecimal() }}{{ '五'.isdigit() }}{{ '五'.isnumeric() }}{{ '五'.isalnum() }}", "FalseFalseTrueTrue"),
        ("{{ ''.isdecimal() }}{{ ''.isdigit() }}{{ ''.isnumeric() }}{{ ''.isalnum() }}", "FalseFalseFalseFalse"),
        ("{{ '4a'.isdecimal() }}{{ '4a'.isdigit() }}{{ '4a'.isnumeric() }}{{ '4a'.isalnum() }}", "FalseFalseFalseTrue"),
        ("{{ 'a' ~ '%s' % messages[0].role | upper }}", "aUSER"),
        ("{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}", "21"),
        (
            "{{ 'aXbX'.replace('X', '-', 1) }}{{ 'ab' | replace('b', 'c') }}{{ 'aa' | replace('a', 'b', 1) }}",
            "a-bXacba",
        ),
        ("{{ [1, 'a', 2.5] | join(', ') }}{{ messages | join('/', attribute='role') }}", "1, a, 2.5user/assistant"),
    ] {
        assert_eq!(shown(source), expected, "{source}");
    }
    for (source, word) in [
        ("{{ 'a'.index('b') }}", "index"),
        ("{{ [1].index(2) }}", "not in the list"),
        ("{{ 'a'.split('') }}", "empty separator"),
        ("{{ 'a'.ljust(3, 'xy') }}", "one character"),
    ] {
        let error = ChatTemplate::new(source).unwrap().render(&turns(), false).unwrap_err().to_string();
        assert!(error.contains(word), "{source}: {error}");
    }
}

/// Tools, their arguments and the keys of a message, as `apply_chat_template` of transformers shows them.
#[test]
fn keys_keep_their_order() {
    let tools = r#"[{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"z": 1, "a": {"y": 2, "b": 3}}}}]"#;
    let template =
        ChatTemplate::new("{{ tools | tojson }}{% for m in messages %}{{ m | tojson }}{% endfor %}").unwrap();
    let text = r#"{"role": "assistant", "content": "", "tool_calls": [{"name": "f", "arguments": {"z": 1, "b": 2, "a": [{"d": 1, "c": 2}]}}], "audio": 1, "a": 2}"#;
    let message: Message = serde_json::from_str(text).unwrap();
    let variables = BTreeMap::from([("tools".to_owned(), tools.parse::<OrderedJson>().unwrap())]);
    let options = RenderOptions { variables, ..Default::default() };
    assert_eq!(template.render_messages(&[message], &options).unwrap(), format!("{tools}{text}"));
}

/// A value joined to itself, one step of which doubles it, ends at a small multiple of what was given.
#[test]
fn values_have_a_limit() {
    let loops = |body: &str, show: &str| {
        format!(
            "{{% set ns = namespace(a='xxxxxxxx', l=[1]) %}}{{% for i in range(60) %}}{body}{{% endfor %}}{{{{ {show} }}}}"
        )
    };
    for (source, word) in [
        (loops("{% set ns.a = ns.a + ns.a %}", "1"), "bytes"),
        (loops("{% set ns.a = ns.a ~ ns.a %}", "1"), "bytes"),
        (loops("{% set ns.a = '%s%s' % (ns.a, ns.a) %}", "1"), "bytes"),
        (loops("{% set ns.a = [ns.a, ns.a] | join %}", "1"), "bytes"),
        (loops("{% set ns.a = ns.a.replace('x', 'xx') %}", "1"), "bytes"),
        (loops("{% set ns.l = ns.l + ns.l %}", "1"), "items"),
        (loops("{% set ns.l = [ns.l, ns.l] %}", "1"), "items"),
        (loops("{% set b %}{{ ns.a }}{{ ns.a }}{% endset %}{% set ns.a = b %}", "1"), "bytes"),
        ("{{ 'x'.ljust(99999999999) }}".to_owned(), "bytes"),
        ("{{ 'xxxx'.replace('x', 'y' * 9999999) }}".to_owned(), "bytes"),
        ("{{ ['a'] | join('y' * 10) }}{{ range(99999) | join('y' * 99) }}".to_owned(), "bytes"),
        ("{% macro f(x) %}{{ f(x ~ x) }}{% endmacro %}{{ f('xxxxxxxx') }}".to_owned(), "bytes"),
        ("{{ ''.join([10**18] * 100000000) }}".to_owned(), "items"),
        ("{{ '%99999999999d' % 1 }}".to_owned(), "bytes"),
        ("{{ '%(a).99999999999f' % {'a': 1} }}".to_owned(), "bytes"),
        ("{{ '%*d' % (99999999999, 1) }}".to_owned(), "number"),
        ("{{ '%-99999999999s' | format('a') }}".to_owned(), "bytes"),
        ("{{ '{:>99999999999}'.format('a') }}".to_owned(), "bytes"),
        ("{{ 'a\nb' | indent(99999999999) }}".to_owned(), "bytes"),
        ("{{ 'a\nb' | indent(width=99999999999, first=true) }}".to_owned(), "bytes"),
        ("{% filter indent(99999999999, true) %}a{% endfilter %}".to_owned(), "bytes"),
        ("{{ [1] | batch(99999999999, 'x') | list | length }}".to_owned(), "items"),
        ("{{ [1] | slice(99999999999) | list | length }}".to_owned(), "items"),
        ("{{ [1] | tojson(indent=65) }}".to_owned(), "indent of more than 64"),
        ("{{ '{:{}}'.format('a', 99999999999) }}".to_owned(), "number"),
    ] {
        let error = ChatTemplate::new(&source).unwrap().render(&turns(), false).unwrap_err().to_string();
        assert!(error.contains(word), "{source}: {error}");
    }
    // What is long because the conversation is long may be assigned.
    let long = "y".repeat(3 << 20);
    let template =
        ChatTemplate::new("{% for m in messages %}{% set c = m.content ~ '!' %}{{ c | length }}{% endfor %}").unwrap();
    assert_eq!(template.render(&[Turn::user(long)], false).unwrap(), "3145729");
    let error = ChatTemplate::new(&format!("{{{{ 1{} }}}}", " + 1".repeat(500))).unwrap_err().to_string();
    assert!(error.contains("500 operators"), "{error}");
    let most = format!("{{{{ 1{} }}}}", " + 1".repeat(source::MAX_OPERATORS));
    assert_eq!(shown(&most), (source::MAX_OPERATORS + 1).to_string());
    // Brackets and blocks within each other: what fits, and what does not.
    let nested = |open: &str, inside: &str, close: &str, depth: usize| {
        format!("{}{inside}{}", open.repeat(depth), close.repeat(depth))
    };
    assert_eq!(shown(&format!("{{{{ {} }}}}", nested("(", "7", ")", 20))), "7");
    assert_eq!(shown(&nested("{% if true %}", "7", "{% endif %}", 20)), "7");
    for deep in [nested("(", "7", ")", 20_000), nested("[", "", "]", 20_000), nested("not ", "7", "", 20_000)] {
        assert!(ChatTemplate::new(&format!("{{{{ {deep} }}}}")).is_err());
    }
    assert!(ChatTemplate::new(&nested("{% if true %}", "7", "{% endif %}", 20_000)).is_err());
}

/// What a template does to the engine or to memory is an error, not the program's end.
#[test]
fn templates_that_attack_are_errors() {
    let doubled =
        "{% set ns = namespace(a=['a list']) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}";
    for (source, word) in [
        // Found by fuzzing: the engine's slices panic where they go backwards through nothing.
        ("{% for m in [][::-1] %}{% endfor %}".to_owned(), "engine failed"),
        ("{{ ''[::-1] }}".to_owned(), "engine failed"),
        (format!("{doubled}{{{{ ns.a }}}}"), "more than"),
        (format!("{doubled}{{{{ ns.a | tojson }}}}"), "more than"),
        ("{{ ([1] * 100000000) | tojson }}".to_owned(), "too long"),
        ("{{ 'x' * 99999999 }}".to_owned(), "longer than"),
        ("{% set ns = namespace() %}{% set ns.me = ns %}{{ ns }}".to_owned(), "hold a namespace"),
        ("{% set ns = namespace() %}{% set ns.me = [{'a': ns}] %}{{ ns }}".to_owned(), "hold a namespace"),
    ] {
        let error = ChatTemplate::new(&source).unwrap().render(&turns(), false).unwrap_err().to_string();
        assert!(error.contains(word), "{source}: {error}");
    }
}

/// Llama 3: one variable for the content, tools that are none, a date.
#[test]
fn llama_3_style() {
    let source = "{{- bos_token }}\n{%- if not date_string is defined %}{%- set date_string = strftime_now('%d %b %Y') %}{%- endif %}\n\
        {%- if messages[0]['role'] == 'system' %}\n    {%- set system = messages[0]['content'] | trim %}\n    {%- set messages = messages[1:] %}\n\
        {%- else %}\n    {%- set system = '' %}\n{%- endif %}\n\
        {{- '<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: ' + date_string + '\\n\\n' + system + '<|eot_id|>' }}\n\
        {%- if tools is not none %}{{- tools | tojson(indent=2) }}{%- endif %}\n\
        {%- for message in messages %}\n    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}\n{%- endfor %}\n\
        {%- if add_generation_prompt %}\n    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n{%- endif %}\n";
    let template = ChatTemplate::new(source).unwrap().with_special_tokens("<|begin_of_text|>", "<|eot_id|>");
    let messages = [Message::text("system", " Be brief. "), Message::text("user", "Hi\n")];
    let mut options = prompt();
    options.variables.insert("date_string".to_owned(), serde_json::from_value(json!("26 Jul 2024")).unwrap());
    let expected = "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nToday Date: 26 Jul 2024\n\nBe brief.<|eot_id|>\
        <|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n";
    assert_eq!(template.render_messages(&messages, &options).unwrap(), expected);
    options.variables.insert("tools".to_owned(), serde_json::from_value(json!([{"name": "f"}])).unwrap());
    let text = template.render_messages(&messages, &options).unwrap();
    assert!(text.contains("<|eot_id|>[\n  {\n    \"name\": \"f\"\n  }\n]<|start"), "{text}");
}

/// Qwen 2-VL: a default system turn, contents that are lists, counters in a namespace.
#[test]
fn qwen_2_vl_style() {
    let source = "{% set image_count = namespace(value=0) %}{% for message in messages %}\
        {% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}\
        <|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n\
        {% else %}{% for content in message['content'] %}{% if content['type'] == 'image' or 'image' in content %}\
        {% set image_count.value = image_count.value + 1 %}{% if add_vision_id %}Picture {{ image_count.value }}: {% endif %}\
        <|vision_start|><|image_pad|><|vision_end|>{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n\
        {% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
    let template = ChatTemplate::new(source).unwrap();
    let messages = [
        Message::with_images("user", 2, "Which?"),
        Message::text("assistant", "The first."),
        Message::text("user", "Why?"),
    ];
    let mut options = prompt();
    options.variables.insert("add_vision_id".to_owned(), serde_json::from_value(json!(true)).unwrap());
    let expected = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n\
        Picture 1: <|vision_start|><|image_pad|><|vision_end|>Picture 2: <|vision_start|><|image_pad|><|vision_end|>Which?<|im_end|>\n\
        <|im_start|>assistant\nThe first.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(template.render_messages(&messages, &options).unwrap(), expected);
}

/// Gemma 2: roles renamed, turns that must alternate, no system turn.
#[test]
fn gemma_2_style() {
    let source = "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}\
        {% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
        {{ raise_exception('Roles must alternate user/assistant') }}{% endif %}\
        {{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}\
        {% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}";
    let template = ChatTemplate::new(source).unwrap().with_special_tokens("<bos>", "<eos>");
    let text = template.render(&turns(), true).unwrap();
    assert_eq!(
        text,
        "<bos><start_of_turn>user\n<image>\nWhat is this?<end_of_turn>\n<start_of_turn>model\nred apple<end_of_turn>\n<start_of_turn>model\n"
    );
    let error = template.render(&[Turn::system("x")], false).unwrap_err().to_string();
    assert!(error.contains("System role not supported"), "{error}");
    let error = template.render(&[Turn::user("a"), Turn::user("b")], false).unwrap_err().to_string();
    assert!(error.contains("alternate"), "{error}");
}

/// LLaVA: pictures first, upper-case roles.
#[test]
fn llava_style() {
    let source = "{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': ' }}{% endif %}\
        {# Render all images first #}{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\\n' }}{% endfor %}\
        {% if message['role'] != 'assistant' %}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' ' }}{% endfor %}\
        {% else %}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{% generation %}{{ content['text'] + ' ' }}{% endgeneration %}{% endfor %}{% endif %}\
        {% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}";
    let template = ChatTemplate::new(source).unwrap();
    let messages: Vec<Message> = turns().iter().map(Message::from).collect();
    assert_eq!(
        template.render_messages(&messages, &prompt()).unwrap(),
        "USER: <image>\nWhat is this? ASSISTANT: red apple ASSISTANT:"
    );
}

#[test]
fn untrusted_templates_end() {
    let endless = "{% for i in range(9999) %}{% for j in range(9999) %}{{ i }}{% endfor %}{% endfor %}";
    let error = ChatTemplate::new(endless).unwrap().render(&turns(), false).unwrap_err();
    assert!(error.to_string().contains("fuel"), "{error}");
    let error = ChatTemplate::new("first\n{% for %}").unwrap_err().to_string();
    assert!(error.contains("chat_template:2"), "{error}");
}

#[test]
fn templates_of_folders() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let load = || ChatTemplate::from_folder(folder.path());
    let error = load().unwrap_err().to_string();
    assert!(error.contains("chat_template.jinja"), "{error}");
    let config = r#"{"bos_token": {"content": "<s>"}, "image_token": "<img>", "chat_template":
        [{"name": "default", "template": "{{ bos_token }}!"}, {"name": "tool_use", "template": "{{ image_token }}"}]}"#;
    write("tokenizer_config.json", config);
    assert_eq!(load().unwrap().render(&turns(), false).unwrap(), "<s>!");
    let tools = ChatTemplate::from_folder_named(folder.path(), "tool_use").unwrap();
    assert_eq!(tools.render(&turns(), false).unwrap(), "<img>");
    let error = ChatTemplate::from_folder_named(folder.path(), "rag").unwrap_err().to_string();
    assert!(error.contains("tokenizer_config.json") && error.contains("tool_use"), "{error}");
    // The processor's file goes before the tokenizer's, the template's own before both.
    write("chat_template.json", r#"{"chat_template": "json {{ bos_token }}"}"#);
    assert_eq!(load().unwrap().render(&turns(), false).unwrap(), "json <s>");
    write("chat_template.jinja", "jinja {{ pad_token }}{{ bos_token }}");
    write("special_tokens_map.json", r#"{"pad_token": "<pad>", "bos_token": "<other>"}"#);
    assert_eq!(load().unwrap().render(&turns(), false).unwrap(), "jinja <pad><s>");
    write("chat_template.jinja", "{% if %}");
    let error = load().unwrap_err().to_string();
    assert!(error.contains("chat_template.jinja"), "{error}");
}

/// A template of pictures with the words around it writes what transformers' template of the same model for videos writes; pictures and
/// words alone as before. The words around it were checked against Jinja2 3.1.6, too, with the same conversations.
#[test]
fn a_template_of_pictures_becomes_one_of_videos() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    let of = |name: &str| ChatTemplate::from_folder(fixtures.join(name)).unwrap();
    let (pictures, videos) = (of("llava_next_siglip_gemma2"), of("onevision_siglip_gemma2_video4"));
    let made = pictures.for_videos("<image>", "<video>").unwrap();
    assert!(pictures.made_source().is_none());
    let again = ChatTemplate::new(made.made_source().unwrap()).unwrap().with_variable("bos_token", "<bos>");
    let shown = |template: &ChatTemplate, turns: &[Turn], add_generation_prompt: bool| {
        let messages: Vec<Message> = turns.iter().map(Message::with_videos).collect();
        let options = RenderOptions { add_generation_prompt, ..Default::default() };
        template.render_messages(&messages, &options).unwrap()
    };
    for turns in [
        vec![Turn::user("<video>\nWhat?")],
        vec![Turn::user("<image>\nWhat?"), Turn::assistant("This."), Turn::user("and <image>\n<video>?")],
        vec![Turn::user("<video>\n<image>\n<video> a "), Turn::assistant("b"), Turn::user("<video>")],
        vec![Turn::user("What?"), Turn::assistant("That.")],
    ] {
        for prompt in [false, true] {
            let expected = shown(&videos, &turns, prompt);
            assert_eq!(shown(&made, &turns, prompt), expected);
            assert_eq!(shown(&again, &turns, prompt), expected);
        }
    }
    // Contents that are texts stay as they are, and their pictures count.
    let texts = [Message::text("user", "a <image> b"), Message::with_videos(&Turn::user("<video>c"))];
    let written = made.render_messages(&texts, &RenderOptions::default()).unwrap();
    assert!(written.contains("a <image> b") && written.contains("<video>\nc"), "{written}");
    // Where pictures come before the words, videos do, and the source's last line end is no part of what it writes.
    let first = "{% for m in messages %}{% for c in m.content | selectattr('type', 'equalto', 'image') %}<image>\n\n{% endfor %}\
                 {% for c in m.content | selectattr('type', 'equalto', 'text') %}{{ c.text }}{% endfor %}{% endfor %}\n";
    let made = ChatTemplate::new(first).unwrap().for_videos("<image>", "<video>").unwrap();
    assert_eq!(shown(&made, &[Turn::user("a<video>b<image>")], false), "<video>\n\n<image>\n\nab");
    assert!(pictures.for_videos("<image>", "it's").is_err());
}
