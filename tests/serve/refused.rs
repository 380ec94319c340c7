//! What is refused, and how: by the name of the field, by a key, by where a page is from.

use super::*;

#[test]
fn what_is_wrong_is_refused_by_name() {
    let root = models().folder.join("pictures");
    let served = Served::start(
        &models().vlm(),
        &["--image-root", &root.display().to_string(), "--body-limit", "100KB", "--cache-memory", "1MB"],
    );
    let error = |body: &Value| {
        let reply = served.ask(body);
        let error = reply.json()["error"].clone();
        for name in ["message", "type", "param", "code"] {
            assert!(error.get(name).is_some(), "{body}: {error}");
        }
        let word = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        assert_eq!(word("type"), if reply.status < 500 { "invalid_request_error" } else { "server_error" });
        (reply.status, word("param"), word("code"), word("message"))
    };
    let of = |content: Value| request("tiny", content, json!({}));
    let url = |url: &str| of(json!([{"type": "image_url", "image_url": {"url": url}}]));
    let field = "messages[0].content[0].image_url.url";
    let cases = [
        (request("other", json!("Hi"), json!({})), 404, "model", "model_not_found"),
        (request("tiny", json!("Hi"), json!({"temperature": -1})), 400, "temperature", "invalid_value"),
        (request("tiny", json!("Hi"), json!({"max_tokens": 0})), 400, "max_tokens", "invalid_value"),
        (request("tiny", json!("Hi"), json!({"messages": []})), 400, "messages", "invalid_value"),
        (request("tiny", json!("Hi"), json!({"stop": 1})), 400, "stop", "invalid_type"),
        (request("tiny", json!("Hi"), json!({"max_token": 1})), 400, "max_token", "unknown_parameter"),
        (request("tiny", json!("Hi"), json!({"tools": [1]})), 400, "tools", "unsupported_parameter"),
        (
            request("tiny", json!("Hi"), json!({"response_format": {"type": "json_schema", "json_schema": {}}})),
            400,
            "response_format.json_schema.name",
            "missing_required_parameter",
        ),
        (
            request(
                "tiny",
                json!("Hi"),
                json!({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "string", "format": "date"}}}}),
            ),
            400,
            "response_format.json_schema.schema.format",
            "invalid_schema",
        ),
        (
            request("tiny", json!("Hi"), json!({"messages": [{"role": "robot", "content": "Hi"}]})),
            400,
            "messages[0].role",
            "invalid_value",
        ),
        (of(json!("what is <image>?")), 400, "messages[0].content", "invalid_value"),
        (of(json!([said("<ima"), said("ge>")])), 400, "messages[0].content", "invalid_value"),
        (url("data:image/png;base64,AQIDBAUGBwg="), 400, field, "invalid_image"),
        (url("https://example.org/cat.png"), 400, field, "invalid_image_url"),
        (url("nowhere.png"), 400, field, "invalid_image_url"),
        (url("../tiny/config.json"), 400, field, "invalid_image_url"),
        (url("/etc/passwd"), 400, field, "invalid_image_url"),
        (request("tiny", json!("Hi"), json!({"routing": true})), 400, "routing", "unsupported_parameter"),
    ];
    for (body, status, param, code) in cases {
        let (found, found_param, found_code, message) = error(&body);
        assert_eq!((found, found_param.as_str(), found_code.as_str()), (status, param, code), "{body}: {message}");
    }
    // A link that leads out, of which no option is named that this program does not have.
    std::os::unix::fs::symlink(models().vlm().join("config.json"), root.join("out.png")).unwrap();
    let (_, _, code, message) = error(&url("out.png"));
    assert!(
        code == "invalid_image_url" && message.contains("a link leads out") && !message.contains("allow"),
        "{message}"
    );
    // Files below the root are read, by their names and as addresses.
    let named =
        |name: &str| served.answer(&of(json!([{"type": "image_url", "image_url": {"url": name}}, said("what?")])));
    let sent = served.answer(&of(json!([shown(1), said("what?")])));
    assert_eq!(content(&named("1.png")), content(&sent));
    assert_eq!(content(&named(&format!("file://{}", picture_path(1)))), content(&sent));
    // Both numbers of a conversation that is too long.
    let long = of(json!("what is this? ".repeat(3000)));
    let (status, param, code, message) = error(&long);
    assert_eq!((status, param.as_str(), code.as_str()), (400, "messages", "context_length_exceeded"));
    assert!(message.contains(&POSITIONS.to_string()) && message.contains(" tokens"), "{message}");
    // So does one that the memory cannot hold: two layers of two heads of six numbers, twice, in four bytes are 192 bytes a token.
    let (status, _, code, message) = error(&of(json!(words_of(&served, POSITIONS - 500))));
    assert_eq!((status, code.as_str()), (400, "context_length_exceeded"), "{message}");
    assert!(message.contains("1000000 bytes"), "{message}");
    // Bodies.
    let json = "Content-Type: application/json\r\n";
    let post = |headers: &str, body: &[u8]| read(served.send("POST", "/v1/chat/completions", headers, body));
    let large = post(json, &vec![b' '; 3_000_000]);
    assert_eq!((large.status, large.json()["error"]["code"].as_str()), (413, Some("body_too_large")));
    assert_eq!(post(json, b"{").json()["error"]["code"], "invalid_json");
    let twice = br#"{"model": "tiny", "seed": 1, "messages": [{"role": "user", "content": "Hi"}], "seed": 2}"#;
    let twice = post(json, twice).json()["error"].clone();
    assert_eq!((twice["code"].as_str(), twice["param"].as_str()), (Some("repeated_parameter"), Some("seed")));
    // One that is too large by what its header says is refused before it comes.
    let began = Instant::now();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: {}\r\n{json}Content-Length: 10000000000\r\n",
        served.address
    );
    let large = served.raw(&format!("{head}Connection: close\r\n\r\n"));
    assert_eq!((large.status, large.json()["error"]["code"].as_str()), (413, Some("body_too_large")));
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    assert_eq!(post("Content-Type: text/plain\r\n", b"{}").status, 415);
    assert_eq!(post("", b"{}").status, 415);
    assert_eq!(post(&format!("{json}Content-Encoding: gzip\r\n"), b"{}").status, 415);
    let nowhere = served.get("/v1/completions");
    assert_eq!((nowhere.status, nowhere.json()["error"]["code"].as_str()), (404, Some("not_found")));
    let method = served.get("/v1/chat/completions");
    assert_eq!((method.status, method.json()["error"]["code"].as_str()), (405, Some("method_not_allowed")));
    assert!(method.headers.contains("allow: post"), "{}", method.headers);
    assert_eq!(read(served.send("POST", "/health", "", b"")).json()["error"]["code"], "method_not_allowed");
    // A conversation that the template refuses, whose folder is no client's matter.
    let (status, param, code, message) = error(&of(json!("please refuse")));
    assert_eq!((status, param.as_str(), code.as_str()), (400, "messages", "invalid_conversation"));
    assert!(message.contains("as it was asked") && !message.contains("tiny/"), "{message}");
    // Nothing of all this has hurt it.
    assert_eq!(served.get("/health").status, 200);
    served.answer(&of(json!("what?")));
    // A language model alone; a server without a folder of pictures.
    let served = Served::start(&models().language(), &[]);
    let refused = served.ask(&request("words", json!([shown(0), said("what?")]), json!({})));
    let error = refused.json()["error"].clone();
    assert_eq!(
        (refused.status, error["param"].as_str(), error["code"].as_str()),
        (400, Some(field), Some("image_not_supported"))
    );
    let content = json!([{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]);
    let refused = served.ask(&request("words", content, json!({}))).json();
    assert!(refused["error"]["message"].as_str().unwrap().contains("--image-root"), "{refused}");
}

#[test]
fn a_key_is_asked_for_and_never_told() {
    let key = "sk-a-long-secret";
    let mut served = Served::start_with(
        &models().language(),
        &["--api-key-env", "BURN_VLM_TEST_KEY", "--name", "org/words"],
        &[("BURN_VLM_TEST_KEY", key)],
    );
    let body = request("org/words", json!("what?"), json!({})).to_string();
    let ask = |headers: &str| {
        let headers = format!("Content-Type: application/json\r\n{headers}");
        read(served.send("POST", "/v1/chat/completions", &headers, body.as_bytes()))
    };
    for wrong in [
        "",
        "Authorization: Bearer sk-another\r\n",
        "Authorization: sk-a-long-secret\r\n",
        "Authorization: Bearer \r\n",
    ] {
        let reply = ask(wrong);
        assert_eq!((reply.status, reply.json()["error"]["code"].as_str()), (401, Some("invalid_api_key")), "{wrong}");
        assert!(!String::from_utf8_lossy(&reply.body).contains(key));
    }
    assert_eq!(ask(&format!("Authorization: Bearer {key}\r\n")).status, 200);
    for path in ["/v1/models", "/metrics", "/v1/models/org/words", "/nowhere"] {
        assert_eq!(served.get(path).status, 401, "{path}");
    }
    let authorized = read(served.send("GET", "/v1/models/org/words", &format!("Authorization: Bearer {key}\r\n"), b""));
    assert_eq!(authorized.status, 200);
    assert_eq!(served.get("/health").status, 200);
    served.signal("TERM");
    served.child.wait().unwrap();
    let mut log = String::new();
    served.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains("POST /v1/chat/completions 200") && log.contains(" 401 "), "{log}");
    assert!(!log.contains(key) && !log.contains("what?"), "{log}");
}

#[test]
fn an_open_server_without_a_key_warns() {
    let mut served = Served::start(&models().language(), &["--host", "0.0.0.0"]);
    served.address = served.address.replace("0.0.0.0", "127.0.0.1");
    assert_eq!(served.get("/health").status, 200);
    served.signal("TERM");
    served.child.wait().unwrap();
    let mut log = String::new();
    served.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(log.contains("warning: 0.0.0.0") && log.contains("--api-key-env"), "{log}");
}

#[test]
fn pages_of_other_sites_are_refused() {
    let served = Served::start(&models().language(), &[]);
    let ask = |host: &str, headers: &str| {
        served.raw(&format!("GET /v1/models HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n"))
    };
    let port = served.address.rsplit(':').next().unwrap();
    assert_eq!(ask(&served.address, "").status, 200);
    assert_eq!(ask(&served.address, &format!("Origin: http://{}\r\n", served.address)).status, 200);
    assert_eq!(ask(&format!("localhost:{port}"), &format!("Origin: http://localhost:{port}\r\n")).status, 200);
    for (host, origin, code) in [
        (served.address.as_str(), "http://example.org", "wrong_origin"),
        (&served.address, "null", "wrong_origin"),
        ("example.org", "http://example.org", "wrong_host"),
    ] {
        let refused = ask(host, &format!("Origin: {origin}\r\n"));
        assert_eq!((refused.status, refused.json()["error"]["code"].as_str()), (403, Some(code)), "{host} {origin}");
        assert!(!refused.headers.contains("access-control"), "{}", refused.headers);
    }
    // Whoever has the key may call the server as they like.
    let key = [("BURN_VLM_TEST_KEY", "sk-a")];
    let served = Served::start_with(&models().language(), &["--api-key-env", "BURN_VLM_TEST_KEY"], &key);
    let named = "GET /v1/models HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\nAuthorization: Bearer sk-a\r\n";
    assert_eq!(served.raw(&format!("{named}Origin: https://example.org\r\n\r\n")).status, 200);
    assert_eq!(served.raw(&format!("{named}Origin: https://example.com\r\n\r\n")).status, 403);
}
