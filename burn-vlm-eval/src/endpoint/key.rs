//! The key of an endpoint, which is never shown.

use std::fmt;

use super::EndpointError;

/// Where the key of an endpoint that generates data is looked for.
pub const KEY_VARIABLE: &str = "BURN_VLM_ENDPOINT_KEY";
/// Stands for the key in what is shown.
const HIDDEN: &str = "***";

/// A key. It is neither printed nor stored.
#[derive(Clone)]
pub struct Key(String);

impl Key {
    /// The key of an environment variable; `None` where that is absent or empty, as endpoints of one's own want none.
    ///
    /// # Errors
    /// A key that cannot be sent.
    pub fn from_environment(variable: &'static str) -> Result<Option<Self>, EndpointError> {
        match std::env::var(variable) {
            Ok(key) if key.trim().is_empty() => Ok(None),
            Ok(key) => Self::new(variable, &key).map(Some),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(EndpointError::Key { variable, why: "expected letters, found bytes that are none" })
            }
        }
    }

    /// A key, of the variable that errors name; white space around it is left out.
    ///
    /// # Errors
    /// A key that cannot be sent in a header.
    pub fn new(variable: &'static str, key: &str) -> Result<Self, EndpointError> {
        let key = key.trim();
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            let why = "expected printable ASCII characters without spaces between them";
            return Err(EndpointError::Key { variable, why });
        }
        Ok(Self(key.to_owned()))
    }

    /// What is sent.
    pub(super) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// A text from outside without the key.
    pub(super) fn hide(&self, text: &str) -> String {
        text.replace(&self.0, HIDDEN)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}
