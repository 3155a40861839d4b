//! What is compared on every request, cached facts or not. Pure.

use chrono::{DateTime, Utc};

use super::error::EntitlementError;
use crate::domain::caller::{AccessToken, SenderBinding};
use crate::domain::entitlement::{CalendarTag, Entitlement};
use crate::domain::ids::KeyId;
use crate::domain::signing::SigningMode;

/// Compares a proof of entitlement with its presenter and with what is asked, in the order of contract §2.6: expiry,
/// confirmation, tenant and installation, then mode, key and predicate type. `key` is named only when it is not the
/// default one.
pub fn check_grant(
    entitlement: &Entitlement,
    token: &AccessToken,
    binding: SenderBinding,
    mode: SigningMode,
    key: Option<&KeyId>,
    predicate_type: &str,
    now: DateTime<Utc>,
) -> Result<(), EntitlementError> {
    check_presenter(entitlement, token, binding, now)?;
    check_features(entitlement, mode, key, predicate_type)
}

/// The part of [`check_grant`] that is about who presents it, whatever is asked.
pub fn check_presenter(
    entitlement: &Entitlement,
    token: &AccessToken,
    binding: SenderBinding,
    now: DateTime<Utc>,
) -> Result<(), EntitlementError> {
    if entitlement.expires <= now {
        return Err(EntitlementError::Expired);
    }
    check_confirmation(entitlement, binding)?;
    if entitlement.tenant != token.tenant || entitlement.installation != token.installation {
        return Err(EntitlementError::TenantMismatch);
    }
    Ok(())
}

/// The part of [`check_grant`] that is about what is asked.
pub fn check_features(
    entitlement: &Entitlement,
    mode: SigningMode,
    key: Option<&KeyId>,
    predicate_type: &str,
) -> Result<(), EntitlementError> {
    let features = &entitlement.features;
    if !features.allow_mode(mode) {
        return Err(EntitlementError::Mode(format!(
            "the plan does not include signing mode {mode}"
        )));
    }
    if key.is_some_and(|key| !features.allow_key(key)) {
        return Err(EntitlementError::Mode(
            "the plan does not include this keyId: leave keyId out for the default key".into(),
        ));
    }
    if !features.allow_predicate(predicate_type) {
        return Err(EntitlementError::Predicate(
            "the plan does not include this predicateType".into(),
        ));
    }
    Ok(())
}

/// A PoE's `cnf` must match the caller's sender binding, member by member (contract §4).
fn check_confirmation(entitlement: &Entitlement, binding: SenderBinding) -> Result<(), EntitlementError> {
    let Some(confirmation) = &entitlement.confirmation else {
        return Ok(());
    };
    let (key, certificate) = match binding {
        SenderBinding::Dpop(key) => (Some(key), None),
        SenderBinding::Mtls(certificate) => (None, Some(certificate)),
        SenderBinding::DpopAndMtls(key, certificate) => (Some(key), Some(certificate)),
    };
    let key_holds = confirmation.jkt.is_none_or(|bound| Some(bound) == key);
    let certificate_holds = confirmation
        .x5t_s256
        .is_none_or(|bound| Some(bound) == certificate);
    if !confirmation.is_empty() && key_holds && certificate_holds {
        return Ok(());
    }
    Err(EntitlementError::Invalid(
        "the proof of entitlement is bound to another sender".into(),
    ))
}

/// The scanner's release must lie inside the plan's window; an unknown release lies outside of every window.
pub fn check_version(entitlement: &Entitlement, release_tag: Option<&str>) -> Result<(), EntitlementError> {
    let Some(window) = entitlement.versions else {
        return Ok(());
    };
    match release_tag.and_then(CalendarTag::parse) {
        Some(tag) if window.contains(tag) => Ok(()),
        Some(tag) => Err(EntitlementError::Version(format!(
            "the plan does not cover scanner release {tag}: use a release inside the plan's version window"
        ))),
        None => Err(EntitlementError::Version(
            "the plan is limited to certain releases, and the scanner image names no signed release tag"
                .into(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::caller::Confirmation;
    use crate::domain::digest::Sha256Digest;
    use crate::domain::entitlement::{Features, VersionWindow};
    use crate::domain::tenant::{InstallationId, TenantId};
    use crate::testing;

    const BOM: &str = "https://cyclonedx.org/bom";

    fn check(change: impl FnOnce(&mut Entitlement)) -> Result<(), EntitlementError> {
        let mut entitlement = testing::entitlement();
        change(&mut entitlement);
        let token = testing::access_token();
        let binding = SenderBinding::Dpop(testing::KEY);
        check_grant(
            &entitlement,
            &token,
            binding,
            SigningMode::Kms,
            None,
            BOM,
            testing::NOW(),
        )
    }

    #[test]
    fn a_matching_entitlement_passes() {
        assert_eq!(check(|_| ()), Ok(()));
        assert_eq!(
            check(|e| e.confirmation = Some(Confirmation {
                jkt: Some(testing::KEY),
                x5t_s256: None
            })),
            Ok(())
        );
    }

    #[test]
    fn every_difference_is_refused_with_its_code() {
        assert_eq!(
            check(|e| e.expires = testing::NOW()),
            Err(EntitlementError::Expired)
        );
        let other = TenantId::parse("other").expect("a tenant");
        assert_eq!(check(|e| e.tenant = other), Err(EntitlementError::TenantMismatch));
        let other = InstallationId::parse("other").expect("an installation");
        assert_eq!(
            check(|e| e.installation = other),
            Err(EntitlementError::TenantMismatch)
        );
        let foreign = Confirmation {
            jkt: Some(Sha256Digest([7; 32])),
            x5t_s256: None,
        };
        assert!(matches!(
            check(|e| e.confirmation = Some(foreign)),
            Err(EntitlementError::Invalid(_))
        ));
        let both = Confirmation {
            jkt: Some(testing::KEY),
            x5t_s256: Some(Sha256Digest([7; 32])),
        };
        assert!(matches!(
            check(|e| e.confirmation = Some(both)),
            Err(EntitlementError::Invalid(_))
        ));
        assert!(matches!(
            check(|e| e.confirmation = Some(Confirmation::default())),
            Err(EntitlementError::Invalid(_))
        ));
        let features = |list: &[&str]| Features::new(list.iter().map(|f| (*f).to_owned()).collect());
        let no_mode = features(&["mode:keyless", "predicate:*"]);
        assert!(matches!(
            check(|e| e.features = no_mode),
            Err(EntitlementError::Mode(_))
        ));
        let no_type = features(&["mode:kms", "predicate:https://spdx.dev/*"]);
        assert!(matches!(
            check(|e| e.features = no_type),
            Err(EntitlementError::Predicate(_))
        ));
    }

    #[test]
    fn versions_outside_the_window_and_unknown_ones_are_refused() {
        let mut entitlement = testing::entitlement();
        assert_eq!(
            check_version(&entitlement, None),
            Ok(()),
            "no window, no question"
        );
        entitlement.versions = Some(VersionWindow {
            min: CalendarTag::parse("2026.04"),
            max: CalendarTag::parse("2026.10"),
        });
        assert_eq!(check_version(&entitlement, Some("2026.10")), Ok(()));
        for bad in [None, Some("latest"), Some("2026.11"), Some("2026.3")] {
            assert!(
                matches!(
                    check_version(&entitlement, bad),
                    Err(EntitlementError::Version(_))
                ),
                "{bad:?}"
            );
        }
    }
}
