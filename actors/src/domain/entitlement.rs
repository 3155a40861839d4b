//! What a proof of entitlement (PoE) grants.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::caller::Confirmation;
use super::ids::KeyId;
use super::plan::PlanLimits;
use super::signing::SigningMode;
use super::tenant::{InstallationId, TenantId};

/// Facts of a verified PoE, narrowed by introspection. Cached by the token's digest; compared on every request.
#[derive(Clone, Debug, PartialEq)]
pub struct Entitlement {
    /// `lic`: the licence.
    pub license: String,
    /// `tid`
    pub tenant: TenantId,
    /// `inst`
    pub installation: InstallationId,
    /// `plan`: its name, for the response and the audit record.
    pub plan: String,
    /// `exp`, without skew.
    pub expires: DateTime<Utc>,
    /// `cnf`: when present it must match the caller's sender binding.
    pub confirmation: Option<Confirmation>,
    /// `limits`
    pub limits: PlanLimits,
    /// `versionWindow`: releases that may be used; absent means all.
    pub versions: Option<VersionWindow>,
    /// `features`
    pub features: Features,
}

/// A calendar release tag `YYYY.MM` with an optional numeric patch (`YYYY.MM.P`), compared numerically.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CalendarTag {
    year: u16,
    month: u8,
    patch: u32,
}

impl CalendarTag {
    /// Reads `YYYY.MM`, `YYYY.M` or either with `.PATCH`; month 1 to 12. `2026.2` and `2026.02` are equal.
    pub fn parse(value: &str) -> Option<Self> {
        let number = |s: &str, max_len: usize| {
            let digits = (1..=max_len).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| s.parse::<u32>().ok()).flatten()
        };
        let mut parts = value.split('.');
        let year = parts.next().filter(|s| s.len() == 4).and_then(|s| number(s, 4))?;
        let month = parts
            .next()
            .and_then(|s| number(s, 2))
            .filter(|m| (1..=12).contains(m))?;
        let patch = match parts.next() {
            Some(patch) => number(patch, 9)?,
            None => 0,
        };
        if parts.next().is_some() {
            return None;
        }
        Some(Self {
            year: u16::try_from(year).ok()?,
            month: u8::try_from(month).ok()?,
            patch,
        })
    }
}

impl fmt::Display for CalendarTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}.{:02}", self.year, self.month)?;
        if self.patch > 0 {
            write!(f, ".{}", self.patch)?;
        }
        Ok(())
    }
}

/// Inclusive bounds on calendar tags. A `max` of `YYYY.MM` covers all patches of that month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionWindow {
    /// Oldest release allowed.
    pub min: Option<CalendarTag>,
    /// Newest release allowed.
    pub max: Option<CalendarTag>,
}

impl VersionWindow {
    /// True when the release lies inside the window.
    pub fn contains(&self, tag: CalendarTag) -> bool {
        let above = self.min.is_none_or(|min| tag >= min);
        let below = self.max.is_none_or(|max| {
            tag <= max || (max.patch == 0 && tag.year == max.year && tag.month == max.month)
        });
        above && below
    }

    /// The intersection of both windows. As upper bounds, a month counts as later than each of its patches.
    pub fn narrowed_by(self, other: Self) -> Self {
        let reach = |tag: &CalendarTag| {
            let patch = if tag.patch == 0 { u32::MAX } else { tag.patch };
            (tag.year, tag.month, patch)
        };
        Self {
            min: self.min.max(other.min),
            max: match (self.max, other.max) {
                (Some(a), Some(b)) => Some(std::cmp::min_by_key(a, b, reach)),
                (a, b) => a.or(b),
            },
        }
    }
}

/// Features of a plan: `mode:keyless`, `mode:kms`, `key:<id>`, `predicate:<pattern>` (contract §4).
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Features(Vec<String>);

impl Features {
    /// The features as listed; unknown ones are kept and grant nothing.
    pub fn new(features: Vec<String>) -> Self {
        Self(features)
    }

    /// Every feature as listed.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// True when the plan may sign in this mode.
    pub fn allow_mode(&self, mode: SigningMode) -> bool {
        self.iter()
            .any(|f| f.strip_prefix("mode:") == Some(mode.as_str()))
    }

    /// True when the plan may name this key (needed for every key but the default one).
    pub fn allow_key(&self, key: &KeyId) -> bool {
        self.iter().any(|f| f.strip_prefix("key:") == Some(key.as_str()))
    }

    /// True when the plan may sign this predicate type.
    pub fn allow_predicate(&self, predicate_type: &str) -> bool {
        self.iter()
            .filter_map(|f| f.strip_prefix("predicate:"))
            .any(|p| pattern_matches(p, predicate_type))
    }

    /// What both lists have: introspection only narrows.
    pub fn narrowed_by(self, other: &Self) -> Self {
        Self(self.0.into_iter().filter(|f| other.0.contains(f)).collect())
    }
}

/// Exact match, or a prefix match when the pattern ends in `*` (contract §4). No other wildcard.
pub fn pattern_matches(pattern: &str, value: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => value.starts_with(prefix),
        None => pattern == value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(value: &str) -> CalendarTag {
        CalendarTag::parse(value).unwrap_or_else(|| panic!("{value} is a calendar tag"))
    }

    #[test]
    fn calendar_tags_compare_as_numbers() {
        assert!(tag("2026.10") > tag("2026.9"));
        assert!(tag("2026.10") > tag("2026.02"));
        assert_eq!(tag("2026.2"), tag("2026.02"));
        assert!(tag("2026.10.1") > tag("2026.10"));
        assert!(tag("2027.01") > tag("2026.12.99"));
        for bad in [
            "",
            "2026",
            "2026.13",
            "2026.0",
            "26.10",
            "v2026.10",
            "2026.10-rc1",
            "2026.10.",
            "2026.1.2.3",
            "+026.10",
        ] {
            assert!(CalendarTag::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn window_is_inclusive_and_a_month_covers_its_patches() {
        let window = VersionWindow {
            min: Some(tag("2026.04")),
            max: Some(tag("2026.10")),
        };
        for inside in ["2026.04", "2026.4.1", "2026.10", "2026.10.7"] {
            assert!(window.contains(tag(inside)), "{inside}");
        }
        for outside in ["2026.03", "2026.3.99", "2026.11", "2027.01"] {
            assert!(!window.contains(tag(outside)), "{outside}");
        }
    }

    #[test]
    fn narrowing_never_widens() {
        let bounds = [
            "2026.09",
            "2026.10",
            "2026.10.3",
            "2026.10.4",
            "2026.11",
            "2027.01",
        ];
        let releases = [
            "2026.09",
            "2026.9.5",
            "2026.10",
            "2026.10.3",
            "2026.10.4",
            "2026.10.9",
            "2026.11",
            "2027.1.1",
        ];
        let window = |min: &str, max: &str| VersionWindow {
            min: CalendarTag::parse(min),
            max: CalendarTag::parse(max),
        };
        let all = bounds
            .iter()
            .flat_map(|min| bounds.iter().map(|max| window(min, max)));
        let all: Vec<_> = all
            .chain([window("", ""), window("2026.10", ""), window("", "2026.10")])
            .collect();
        for (a, b) in all.iter().flat_map(|a| all.iter().map(move |b| (*a, *b))) {
            for release in releases.map(tag) {
                let both = a.contains(release) && b.contains(release);
                assert_eq!(
                    a.narrowed_by(b).contains(release),
                    both,
                    "{release} in {a:?} and {b:?}"
                );
            }
        }
    }

    #[test]
    fn features_grant_exactly_what_they_name() {
        let features = Features::new(
            [
                "mode:kms",
                "key:release-2026",
                "predicate:https://stella.ops/*",
                "predicate:https://spdx.dev/Document",
            ]
            .map(str::to_owned)
            .to_vec(),
        );
        assert!(features.allow_mode(SigningMode::Kms));
        assert!(!features.allow_mode(SigningMode::Keyless));
        assert!(features.allow_predicate("https://stella.ops/sbom@v1"));
        assert!(features.allow_predicate("https://spdx.dev/Document"));
        assert!(!features.allow_predicate("https://spdx.dev/Document/v2"));
        assert!(!features.allow_predicate("https://stella.op"));
        assert!(features.allow_key(&KeyId::parse("release-2026").expect("a key id")));
        assert!(!features.allow_key(&KeyId::parse("release-2027").expect("a key id")));
    }
}
