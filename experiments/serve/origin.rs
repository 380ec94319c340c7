//! Who may ask from a browser: this server's own page. A page of another site that is open in the same browser could reach a server on
//! this machine as well, by its address or by a name of its own that it lets point here (DNS rebinding).
//!
//! - A request with an `Origin` is answered if that is the server that the request is for (`Host`). Programs send none.
//! - A server that listens on this machine alone and asks for no key is called by a name of this machine.

use std::net::IpAddr;

use axum::http::{HeaderMap, StatusCode, header};

use super::error::ApiError;

/// Characters of a client's value that a message shows.
const SHOWN: usize = 100;

/// Refuses requests of other sites' pages. `own_name`: what this machine is called beside its usual names, where nobody else is to reach
/// the server; `None` where any name will do.
///
/// # Errors
/// 403 with `wrong_host` or `wrong_origin`.
pub(crate) fn check(headers: &HeaderMap, own_name: Option<&str>) -> Result<(), ApiError> {
    let text = |name: header::HeaderName| {
        headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase())
    };
    let shown = |text: &str| format!("{:?}", text.chars().take(SHOWN).collect::<String>());
    let refused = |code, message: String| Err(ApiError::new(StatusCode::FORBIDDEN, Some(code), message));
    let (host, origin) = (text(header::HOST), text(header::ORIGIN));
    if let (Some(own), Some(host)) = (own_name, &host)
        && !is_local(name_of(host), own)
    {
        let message = format!(
            "this server is for programs of its own machine and is called localhost or 127.0.0.1, not {}; for others start it with \
             --host and --api-key-env",
            shown(host)
        );
        return refused("wrong_host", message);
    }
    let Some(origin) = origin else { return Ok(()) };
    let site = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    if site.is_some() && site == host.as_deref() {
        return Ok(());
    }
    let message = format!(
        "pages of other sites may not ask this server: the page is {}, the server is called {} (a proxy in between has to pass the \
         header Host on as it came)",
        shown(&origin),
        shown(host.as_deref().unwrap_or("nothing"))
    );
    refused("wrong_origin", message)
}

/// A host without its port.
fn name_of(host: &str) -> &str {
    if let Some((name, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return name;
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

fn is_local(name: &str, own: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost"
        || name.ends_with(".localhost")
        || name.eq_ignore_ascii_case(own)
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(host: &str, origin: Option<&str>, own: Option<&str>) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        check(&headers, own).err().map(|error| {
            assert_eq!(error.status, StatusCode::FORBIDDEN);
            error.code.unwrap_or_default()
        })
    }

    #[test]
    fn other_sites_are_refused() {
        let (own, local) = (Some("127.0.0.1"), "127.0.0.1:8000");
        for (host, origin, own, expected) in [
            (local, None, own, None),
            ("localhost:8000", Some("http://localhost:8000"), own, None),
            ("LOCALHOST:8000", Some("http://localhost:8000"), own, None),
            ("[::1]:8000", Some("http://[::1]:8000"), own, None),
            ("127.9.9.9", None, own, None),
            ("model.localhost:8000", None, own, None),
            ("mine:8000", None, Some("Mine"), None),
            ("example.org", Some("https://example.org"), None, None),
            // Another site's page, its port, its sandboxed frame.
            (local, Some("http://example.org"), own, Some("wrong_origin")),
            (local, Some("http://127.0.0.1:8001"), own, Some("wrong_origin")),
            (local, Some("http://localhost:8000"), own, Some("wrong_origin")),
            (local, Some("null"), own, Some("wrong_origin")),
            ("example.org", Some("https://other.example.org"), None, Some("wrong_origin")),
            // A name that its owner lets point here.
            ("example.org:8000", Some("http://example.org:8000"), own, Some("wrong_host")),
            ("127.0.0.1.example.org:8000", None, own, Some("wrong_host")),
            ("localhost.example.org", None, own, Some("wrong_host")),
        ] {
            assert_eq!(code(host, origin, own), expected, "{host} {origin:?}");
        }
        assert!(check(&HeaderMap::new(), own).is_ok());
    }
}
