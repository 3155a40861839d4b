//! Who pays and where it runs.

use std::fmt;
use std::sync::Arc;

/// The grammar both names share: 1 to 128 characters of `[A-Za-z0-9._:@/-]`.
///
/// No control characters, spaces or quotes, so that a name is safe in logs, records and annotations as it is.
fn fits(value: &str) -> bool {
    (1..=128).contains(&value.len())
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'@' | b'/' | b'-'))
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Accepts a name that fits the grammar (1 to 128 characters of `[A-Za-z0-9._:@/-]`).
            pub fn parse(value: &str) -> Option<Self> {
                fits(value).then(|| Self(Arc::from(value)))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A customer of the platform: claim `tid` of the operational token and of the proof of entitlement.
    TenantId
}
name! {
    /// One deployment of the platform at a tenant: claim `inst`.
    InstallationId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_take_only_their_grammar() {
        for good in ["acme", "acme:eu/west-1", "a@b.c", &"t".repeat(128)] {
            assert!(TenantId::parse(good).is_some(), "{good}");
        }
        for bad in ["", "a b", "a\u{0}", "tenant\n", "a\"b", "ü", &"t".repeat(129)] {
            assert!(TenantId::parse(bad).is_none(), "{bad:?}");
        }
    }
}
