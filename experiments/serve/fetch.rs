//! Pictures and videos of other machines, where the server was started with `--allow-fetch`.
//!
//! Whoever asks this server chooses the address, and the server may reach what the asker cannot: its own machine, its network, a cloud's
//! addresses for machines. So the check is made where connections begin, of the addresses that are connected to, and again for
//! every address that a reply leads on to:
//! - a host that was named at the start is fetched from, wherever it is;
//! - of other hosts, if they are allowed at all, only addresses of the public internet.
//!
//! Proxies of the environment are not used: behind one nobody sees which machine is reached.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

/// How often a reply may lead on.
const MOST_REDIRECTS: u32 = 5;

/// Where `--allow-fetch` lets the server fetch from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AllowedHost {
    /// Every host of the public internet.
    Public,
    /// A host by its name or address; without a port with all of them.
    Named { host: String, port: Option<u16> },
}

impl AllowedHost {
    /// What stands for [`AllowedHost::Public`].
    pub(super) const ANY: &'static str = "*";

    /// Reads `*`, `HOST` or `HOST:PORT`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text == Self::ANY {
            return Ok(Self::Public);
        }
        let expected =
            "expected a host, such as images.example.org, or with its port, such as 10.0.0.7:8080 or [::1]:8080";
        let wrong = || expected.to_owned();
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or_else(wrong)?,
            // Of several colons nobody can say whether the last one is before a port.
            None if text.matches(':').count() > 1 => return Err(wrong()),
            None if text.contains(':') => text.split_at(text.find(':').unwrap_or(text.len())),
            None => (text, ""),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => Some(port.parse().map_err(|_| wrong())?),
            None if port.is_empty() => None,
            None => return Err(wrong()),
        };
        let is_name = |host: &str| host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
        if host.is_empty() || !(is_name(host) || host.parse::<Ipv6Addr>().is_ok()) {
            return Err(wrong());
        }
        Ok(Self::Named { host: plain(host), port })
    }
}

/// A host as it is compared: without the brackets of IPv6, in small letters, without the root's dot.
fn plain(host: &str) -> String {
    let host = host.trim_matches(['[', ']']);
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Fetches what requests name.
#[derive(Debug)]
pub(super) struct Fetcher {
    agent: Agent,
    within: Duration,
    most: usize,
}

impl Fetcher {
    /// A fetcher that gives a request `within` for all that it names, and `most` bytes.
    pub(super) fn new(allowed: Vec<AllowedHost>, within: Duration, most: usize) -> Self {
        let config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(MOST_REDIRECTS)
            .max_idle_connections(0)
            .proxy(None)
            .user_agent(concat!("burn-vlm/", env!("CARGO_PKG_VERSION")))
            .build();
        let guard = Guard { allowed, inner: DefaultResolver::default() };
        Self { agent: Agent::with_parts(config, DefaultConnector::default(), guard), within, most }
    }

    /// What a request may still fetch.
    pub(super) fn request(&self) -> Fetching<'_> {
        let until = Instant::now() + self.within;
        Fetching { fetcher: self, left: Cell::new(self.most), until, known: RefCell::default() }
    }
}

/// A request's fetching.
pub(super) struct Fetching<'a> {
    fetcher: &'a Fetcher,
    /// Bytes.
    left: Cell<usize>,
    until: Instant,
    /// What has come already: an address that stands twice is asked for once.
    known: RefCell<HashMap<String, Vec<u8>>>,
}

impl Fetching<'_> {
    /// The bytes behind an address; what is wrong with it is the message of an error.
    pub(super) fn get(&self, url: &str) -> Result<Vec<u8>, String> {
        let known = self.known.borrow().get(url).cloned();
        let bytes = known.map_or_else(|| self.fetch(url), Ok)?;
        // Copies are held, too.
        let left = self.left.get().checked_sub(bytes.len()).ok_or_else(|| self.large())?;
        self.left.set(left);
        self.known.borrow_mut().entry(url.to_owned()).or_insert_with(|| bytes.clone());
        Ok(bytes)
    }

    fn late(&self) -> String {
        let seconds = self.fetcher.within.as_secs_f64();
        format!("it did not come within the {seconds} s that a request's addresses have (--fetch-timeout)")
    }

    fn large(&self) -> String {
        format!("what a request names may be {} bytes in all (--body-limit), and this is more", self.fetcher.most)
    }

    fn fetch(&self, url: &str) -> Result<Vec<u8>, String> {
        let time = self.until.saturating_duration_since(Instant::now());
        if time.is_zero() {
            return Err(self.late());
        }
        let told = |error: Error| match error {
            Error::Timeout(_) => self.late(),
            Error::BodyExceedsLimit(_) => self.large(),
            Error::HostNotFound => "no such host is found".to_owned(),
            Error::TooManyRedirects => format!("it leads on more than {MOST_REDIRECTS} times"),
            // Their own words, without the library's.
            Error::Other(error) => error.to_string(),
            Error::Io(error) => error.to_string(),
            Error::Http(error) => error.to_string(),
            other => other.to_string(),
        };
        let asked = self.fetcher.agent.get(url).config().timeout_global(Some(time)).build().call();
        let mut reply = asked.map_err(told)?;
        if !reply.status().is_success() {
            return Err(format!("the answer is {}", reply.status()));
        }
        let header = |name| reply.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if header(CONTENT_TYPE).to_ascii_lowercase().starts_with("text/html") {
            return Err("it is a page (text/html): name the file that the page shows".to_owned());
        }
        let packed = header(CONTENT_ENCODING).trim();
        if !packed.is_empty() && !packed.eq_ignore_ascii_case("identity") {
            return Err("it comes packed (Content-Encoding), though nobody asked for that".to_owned());
        }
        let left = self.left.get() as u64;
        if reply.body().content_length().is_some_and(|length| length > left) {
            return Err(self.large());
        }
        // One byte more than what is allowed tells a larger body from one that just fits.
        reply.body_mut().with_config().limit(left + 1).read_to_vec().map_err(told)
    }
}

/// A host and its port as `--allow-fetch` takes them.
fn shown(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Finds the addresses of hosts that may be fetched from.
#[derive(Debug)]
struct Guard {
    allowed: Vec<AllowedHost>,
    inner: DefaultResolver,
}

impl Guard {
    /// Whether a host may be fetched from wherever it is; only at public addresses otherwise.
    ///
    /// # Errors
    /// It may not at all.
    fn everywhere(&self, uri: &Uri) -> Result<bool, String> {
        let authority = uri.authority().ok_or("an address without a host")?;
        if authority.as_str().contains('@') {
            return Err("the address holds a name or a password".to_owned());
        }
        let (host, usual) = (plain(authority.host()), if uri.scheme_str() == Some("https") { 443 } else { 80 });
        if host.is_empty() {
            return Err("an address without a host".to_owned());
        }
        // A port that is no number is not the usual one.
        let given = authority.as_str().rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
        let at = match given {
            Some(port) => port.parse().map_err(|_| format!("there is no port {port}"))?,
            None => usual,
        };
        let named = |allowed: &AllowedHost| match allowed {
            AllowedHost::Named { host: name, port } => *name == host && port.is_none_or(|port| port == at),
            AllowedHost::Public => false,
        };
        match self.allowed.iter().any(named) {
            true => Ok(true),
            false if self.allowed.contains(&AllowedHost::Public) => Ok(false),
            false => Err(format!(
                "this server does not fetch from {host}, port {at}; it was not started with --allow-fetch={}",
                shown(&host, at)
            )),
        }
    }
}

impl Resolver for Guard {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let refused = |message: String| Error::Other(message.into());
        let everywhere = self.everywhere(uri).map_err(refused)?;
        let found = self.inner.resolve(uri, config, timeout)?;
        let mut kept = self.empty();
        for address in found.iter().filter(|address| everywhere || is_public(address.ip())) {
            kept.push(*address);
        }
        if kept.is_empty() {
            let host = plain(uri.host().unwrap_or_default());
            return Err(refused(format!(
                "{host} is not on the public internet: this server fetches from such hosts only where it was started with --allow-fetch={host}"
            )));
        }
        Ok(kept)
    }
}

/// Whether an address is of the public internet: none of the special ones of IANA's registries (RFC 6890 and later).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(inside) => is_public_v4(inside),
            None => is_public_v6(address),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_documentation()
        // This network; of carriers; for protocols; relays to IPv6; measurements; reserved, broadcast.
        || a == 0
        || (a == 100 && b & 0xC0 == 64)
        || (a, b, c) == (192, 0, 0)
        || (a, b, c) == (192, 88, 99)
        || (a == 198 && b & 0xFE == 18)
        || a >= 240;
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // 2000::/3 is all that is given out; of it not: for protocols (Teredo, ...), documentation, addresses that hold one of IPv4.
    a & 0xE000 == 0x2000 && !(a == 0x2001 && (b < 0x200 || b == 0xDB8)) && a != 0x2002 && !(a == 0x3FFF && b < 0x1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(host: &str, port: Option<u16>) -> AllowedHost {
        AllowedHost::Named { host: host.to_owned(), port }
    }

    #[test]
    fn hosts_are_read() {
        let good = [
            ("*", AllowedHost::Public),
            ("Images.Example.org", named("images.example.org", None)),
            ("images.example.org.:8080", named("images.example.org", Some(8080))),
            ("10.0.0.7", named("10.0.0.7", None)),
            ("[::1]:80", named("::1", Some(80))),
            ("[::1]", named("::1", None)),
        ];
        for (text, host) in good {
            assert_eq!(AllowedHost::parse(text), Ok(host), "{text}");
        }
        for text in [
            "",
            "https://example.org",
            "example.org/a",
            "a:b",
            "a:70000",
            "a@b",
            "[::1",
            "[::1]8",
            "::1",
            "::1:8080",
            "1:2:3",
            "*.example.org",
            "a b",
        ] {
            assert!(AllowedHost::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_that_are_not_public_are_known() {
        let public = [
            "1.1.1.1",
            "93.184.215.14",
            "100.128.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "2606:4700::1111",
            "2001:4860:4860::8888",
        ];
        for address in public {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        let special = [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:a00:1::1",
            "3fff::1",
        ];
        for address in special {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn a_host_is_allowed_by_name_and_port() {
        let guard = |allowed: &[AllowedHost]| Guard { allowed: allowed.to_vec(), inner: DefaultResolver::default() };
        let everywhere = |guard: &Guard, uri: &str| guard.everywhere(&uri.parse().unwrap());
        let one = guard(&[named("example.org", Some(443)), named("::1", None)]);
        for uri in
            ["https://example.org/a.png", "https://EXAMPLE.org./a", "http://example.org:443/a", "http://[::1]:9000/a"]
        {
            assert_eq!(everywhere(&one, uri), Ok(true), "{uri}");
        }
        for uri in [
            "http://example.org/a",
            "https://www.example.org/a",
            "https://example.org.evil.example/a",
            "https://me@example.org/a",
        ] {
            assert!(everywhere(&one, uri).is_err(), "{uri}");
        }
        let all = guard(&[AllowedHost::Public, named("10.0.0.7", None)]);
        assert_eq!(everywhere(&all, "http://example.org/a"), Ok(false));
        assert_eq!(everywhere(&all, "http://10.0.0.7/a"), Ok(true));
        assert!(everywhere(&all, "http://me:secret@example.org/a").is_err());
    }
}
