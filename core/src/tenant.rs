//! Tenants: whom functions and tasks belong to, and what share of the slots they have.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::task::InvalidWord;

/// The longest name of a tenant, in bytes.
pub const MAX_TENANT_BYTES: usize = 63;

/// Whom a function or a task belongs to: a short name. Nobody else sees it. A cheap clone.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tenant(Option<Arc<str>>);

impl Tenant {
    /// The name of the tenant to whom everything belongs where no keys are in use.
    pub const DEFAULT: &str = "default";

    /// Whether it is the default tenant.
    #[must_use]
    pub const fn is_default(&self) -> bool {
        self.0.is_none()
    }

    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or(Self::DEFAULT)
    }

    /// Its name in the store, where the default tenant has none: most deployments have no other, and
    /// their records are no longer for it.
    #[must_use]
    pub fn mark(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// The tenant of a name in the store; `None` if it is no name.
    #[must_use]
    pub fn of_mark(mark: &str) -> Option<Self> {
        if mark.is_empty() { Some(Self::default()) } else { mark.parse().ok() }
    }
}

impl FromStr for Tenant {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let is_alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_name = (1..=MAX_TENANT_BYTES).contains(&text.len())
            && text.as_bytes().first().is_some_and(is_alphanumeric)
            && text.bytes().all(|byte| is_alphanumeric(&byte) || b"-_.".contains(&byte));
        if !is_name {
            return Err(InvalidWord {
                what: "tenant",
                text: text.to_owned(),
                expected: "at most 63 lower-case letters, digits, `-`, `_` and `.`, a letter or digit first",
            });
        }
        Ok(Self((text != Self::DEFAULT).then(|| text.into())))
    }
}

impl TryFrom<String> for Tenant {
    type Error = InvalidWord;

    fn try_from(text: String) -> Result<Self, InvalidWord> {
        text.parse()
    }
}

impl From<Tenant> for String {
    fn from(tenant: Tenant) -> Self {
        tenant.as_str().to_owned()
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How large the share of a tenant is where tenants compete for slots: one of weight 3 gets three times as much as one of
/// weight 1, which is the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Weight(u32);

impl Weight {
    /// The largest weight.
    pub const MAX: u32 = 1000;

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(1)
    }
}

impl TryFrom<u32> for Weight {
    type Error = InvalidWord;

    fn try_from(number: u32) -> Result<Self, InvalidWord> {
        if (1..=Self::MAX).contains(&number) {
            return Ok(Self(number));
        }
        let text = number.to_string();
        Err(InvalidWord { what: "weight", text, expected: "a whole number from 1 to 1000" })
    }
}

impl From<Weight> for u32 {
    fn from(weight: Weight) -> Self {
        weight.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_a_plain_name() {
        let longest = "a".repeat(MAX_TENANT_BYTES);
        for name in ["a", "acme", "team-1.eu_west", "0", Tenant::DEFAULT, &longest] {
            let tenant: Tenant = name.parse().expect("a name");
            assert_eq!(tenant.as_str(), name);
            assert_eq!(Tenant::of_mark(tenant.mark()), Some(tenant));
        }
        let longer = "a".repeat(MAX_TENANT_BYTES + 1);
        for text in ["", "A", "a b", "a@b", "a\n", "-a", ".", "é", &longer] {
            assert!(text.parse::<Tenant>().is_err(), "{text}");
        }
        assert_eq!(Tenant::default(), "default".parse().expect("a name"));
    }

    #[test]
    fn a_weight_is_from_1_to_1000() {
        for number in [1, 2, Weight::MAX] {
            assert_eq!(Weight::try_from(number).expect("a weight").get(), number);
        }
        for number in [0, Weight::MAX + 1, u32::MAX] {
            let error = Weight::try_from(number).expect_err("no weight").to_string();
            assert!(
                error.contains(&format!("`{number}`")) && error.contains("1 to 1000"),
                "{error}"
            );
        }
        assert_eq!(Weight::default().get(), 1);
    }
}
