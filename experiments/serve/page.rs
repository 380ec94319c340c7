//! The page at `/`: one HTML file without anything from elsewhere, put together of the files in `page/`.
//!
//! Whatever is in a conversation, the browser runs nothing but this script and asks nobody but this server: its policy
//! (`Content-Security-Policy`) allows a script and a style sheet by a number that is another for every reply, pictures that the page has
//! itself, and requests to where it came from.

use std::sync::LazyLock;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;

use super::routes::random;

/// Where the number of a reply stands in [`PAGE`].
const NONCE: &str = "{{nonce}}";

/// The page, its number left open.
static PAGE: LazyLock<String> = LazyLock::new(|| {
    let style = include_str!("page/page.css");
    let script = [
        include_str!("page/store.js"),
        include_str!("page/api.js"),
        include_str!("page/conversation.js"),
        include_str!("page/export.js"),
        include_str!("page/view.js"),
        include_str!("page/page.js"),
    ];
    include_str!("page/page.html").replace("{{style}}", style).replace("{{script}}", &script.concat())
});

/// A reply with the page.
pub(super) fn page() -> Response {
    let nonce = format!("{:016x}{:016x}", random(), random());
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data: blob:; media-src blob:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let mut response = Response::new(Body::from(PAGE.replace(NONCE, &nonce)));
    let headers = response.headers_mut();
    let fixed = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        // The number is for one reply.
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // It is of letters, digits and signs alone.
    headers.extend(HeaderValue::from_str(&policy).map(|policy| (header::CONTENT_SECURITY_POLICY, policy)));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_and_needs_nobody_else() {
        assert!(PAGE.starts_with("<!doctype html>") && PAGE.trim_end().ends_with("</html>"));
        assert_eq!(PAGE.matches(NONCE).count(), 2);
        assert_eq!(PAGE.matches("{{").count(), 2, "an open mark");
        assert_eq!(PAGE.matches("<script").count(), 1);
        // A namespace is a name, not an address that is asked.
        let rest = PAGE.replace("http://www.w3.org/2000/svg", "");
        for word in ["http://", "https://", "innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "document.write"] {
            assert!(!rest.contains(word), "{word}");
        }
    }

    #[test]
    fn every_reply_has_another_number() {
        let policy = || page().headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        let (one, other) = (policy(), policy());
        assert_ne!(one, other);
        assert!(one.starts_with("default-src 'none'; script-src 'nonce-"), "{one}");
    }
}
