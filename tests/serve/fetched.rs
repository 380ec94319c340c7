//! `--allow-fetch`: what is named by an address is as what is sent, and nothing else is asked than what was allowed.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{LONGEST, Served, content, models, request, said, shown};

/// A server of files on this machine that remembers what it was asked.
struct Files {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Files {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let seen = seen.clone();
                std::thread::spawn(move || serve(stream.unwrap(), port, &seen));
            }
        });
        Self { port, asked }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn sent(number: u8) -> Vec<u8> {
    let uri = shown(number)["image_url"]["url"].as_str().unwrap().to_owned();
    STANDARD.decode(uri.split_once(',').unwrap().1).unwrap()
}

fn serve(mut stream: TcpStream, port: u16, asked: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let path = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
    while lines.next().is_some_and(|line| !line.is_empty()) {}
    asked.lock().unwrap().push(path.clone());
    let head = |status: &str, more: &str| format!("HTTP/1.1 {status}\r\nConnection: close\r\n{more}\r\n").into_bytes();
    let reply = match path.as_str() {
        "/1.png" => [head("200 OK", "Content-Type: image/png\r\n"), sent(1)].concat(),
        "/moved" => head("302 Found", "Location: /1.png\r\nContent-Length: 0\r\n"),
        "/away" => head("302 Found", &format!("Location: http://localhost:{port}/1.png\r\nContent-Length: 0\r\n")),
        "/round" => head("302 Found", "Location: /round\r\nContent-Length: 0\r\n"),
        // Nothing of what is announced comes.
        "/announced" => {
            let _ = stream.write_all(&head("200 OK", "Content-Length: 1000000000000\r\n"));
            std::thread::sleep(LONGEST);
            return;
        }
        "/packed" => [head("200 OK", "Content-Encoding: gzip\r\n"), sent(1)].concat(),
        "/large" => [head("200 OK", ""), vec![7; 200_000]].concat(),
        "/page" => [head("200 OK", "Content-Type: text/html; charset=utf-8\r\n"), b"<html>".to_vec()].concat(),
        "/empty" => head("200 OK", "Content-Length: 0\r\n"),
        "/cut" => [head("200 OK", "Content-Length: 1000\r\n"), vec![7; 10]].concat(),
        "/slow" => {
            std::thread::sleep(LONGEST);
            return;
        }
        _ => head("404 Not Found", "Content-Length: 0\r\n"),
    };
    // Whoever has seen enough leaves.
    let _ = stream.write_all(&reply);
}

fn named(url: &str) -> Value {
    request("tiny", json!([{"type": "image_url", "image_url": {"url": url}}, said("what?")]), json!({}))
}

/// The message of a refusal, which names the field of the address.
fn refused(served: &Served, body: &Value) -> String {
    let reply = served.ask(body);
    let error = reply.json()["error"].clone();
    assert_eq!(
        (reply.status, error["param"].as_str(), error["code"].as_str()),
        (400, Some("messages[0].content[0].image_url.url"), Some("invalid_image_url")),
        "{body}: {error}"
    );
    error["message"].as_str().unwrap().to_owned()
}

#[test]
fn what_is_named_by_an_address_is_as_what_is_sent() {
    let files = Files::start();
    let (port, model) = (files.port, models().vlm());
    let host = format!("--allow-fetch=127.0.0.1:{port}");
    let served = Served::start(&model, &[&host, "--fetch-timeout", "2", "--body-limit", "100KB"]);
    let at = |path: &str| named(&format!("http://127.0.0.1:{port}{path}"));
    let expected = content(&served.answer(&request("tiny", json!([shown(1), said("what?")]), json!({})))).to_owned();
    assert_eq!(content(&served.answer(&at("/1.png"))), expected);
    assert_eq!(content(&served.answer(&at("/moved"))), expected);
    assert_eq!(files.asked(), ["/1.png", "/moved", "/1.png"]);
    // What stands twice is asked for once.
    let one = json!({"type": "image_url", "image_url": {"url": format!("http://127.0.0.1:{port}/1.png")}});
    served.answer(&request("tiny", json!([one, one, said("what?")]), json!({})));
    assert_eq!(files.asked(), ["/1.png"]);
    let seen = served.post("/v1/inspect", &at("/1.png")).json();
    assert_eq!(seen["pictures"][0]["param"], "messages[0].content[0].image_url.url");

    let away = format!("--allow-fetch=localhost:{port}");
    let wrong = [
        ("/away", away.as_str()),
        ("/round", "leads on more than"),
        ("/large", "--body-limit"),
        ("/announced", "--body-limit"),
        ("/packed", "packed"),
        ("/page", "text/html"),
        ("/empty", "empty"),
        ("/cut", ""),
        ("/slow", "--fetch-timeout"),
        ("/nowhere", "404"),
    ];
    for (path, part) in wrong {
        let message = refused(&served, &at(path));
        assert!(message.contains(part) && message.contains(path), "{path}: {message}");
    }
    files.asked();
    // What a request names counts together: each of two would fit.
    let large = {
        let one = json!({"type": "image_url", "image_url": {"url": format!("http://127.0.0.1:{port}/slow")}});
        request("tiny", json!([one, one, said("what?")]), json!({}))
    };
    assert!(refused(&served, &large).contains("--fetch-timeout"));
    assert_eq!(files.asked(), ["/slow"]);
    // Too many are not fetched first.
    let one = json!({"type": "image_url", "image_url": {"url": format!("http://127.0.0.1:{port}/1.png")}});
    let many = served.ask(&request("tiny", Value::Array(vec![one; 65]), json!({})));
    assert_eq!((many.status, files.asked().len()), (400, 0));
    // Another port, another name of this machine, a name and a password.
    for url in [
        "http://127.0.0.1:1/1.png".to_owned(),
        format!("http://localhost:{port}/1.png"),
        format!("http://me:it@127.0.0.1:{port}/1.png"),
    ] {
        refused(&served, &named(&url));
    }
    assert_eq!(files.asked().len(), 0);
}

#[test]
fn nothing_is_fetched_that_was_not_allowed() {
    let files = Files::start();
    let url = format!("http://127.0.0.1:{}/1.png", files.port);
    let closed = Served::start(&models().vlm(), &[]);
    assert!(refused(&closed, &named(&url)).contains("--allow-fetch"));
    // Every public host is not this machine, by whatever name.
    let public = Served::start(&models().vlm(), &["--allow-fetch"]);
    for url in [&url, &url.replace("127.0.0.1", "localhost"), &url.replace("127.0.0.1", "[::ffff:127.0.0.1]")] {
        let message = refused(&public, &named(url));
        assert!(message.contains("not on the public internet") || message.contains("no such host"), "{url}: {message}");
    }
    assert_eq!(files.asked().len(), 0);
}
