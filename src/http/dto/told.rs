//! An answer without its payload: what is kept of it for retries, and what every answer is made of.

use actix_web::web::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem::Finder;
use signer_actors::domain::ids::AuditId;

/// Stands where the payload belongs. Whoever supplies other text of an answer, such as a plan's name, cannot know the
/// audit id, so nothing else looks like it.
pub fn place_of_payload(audit_id: AuditId) -> String {
    format!("the payload of {audit_id}")
}

/// The whole answer: the payload, in base64, in all its places. `None` if there are none, or it is no text: what was kept
/// comes from a store.
pub fn whole(told: &[u8], audit_id: AuditId, payload: &[u8]) -> Option<Bytes> {
    std::str::from_utf8(told).ok()?;
    let place = place_of_payload(audit_id);
    let finder = Finder::new(place.as_bytes());
    let places = finder.find_iter(told).count();
    if places == 0 {
        return None;
    }
    let encoded = payload.len().div_ceil(3).saturating_mul(4);
    let mut whole = Vec::with_capacity(told.len().saturating_add(encoded.saturating_mul(places)));
    let mut copied = 0;
    for at in finder.find_iter(told) {
        whole.extend_from_slice(told.get(copied..at)?);
        let start = whole.len();
        whole.resize(start + encoded, 0);
        STANDARD.encode_slice(payload, whole.get_mut(start..)?).ok()?;
        copied = at + place.len();
    }
    whole.extend_from_slice(told.get(copied..)?);
    Some(Bytes::from(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_put_into_every_place() {
        let id = AuditId(uuid::Uuid::from_u128(7));
        let place = place_of_payload(id);
        let of = |told: &str| {
            whole(told.as_bytes(), id, b"fooba").map(|whole| String::from_utf8(whole.into()).expect("UTF-8"))
        };
        // RFC 4648 §10: BASE64("fooba") = "Zm9vYmE=".
        assert_eq!(
            of(&format!("[\"{place}\",1,\"{place}\"]")).as_deref(),
            Some(r#"["Zm9vYmE=",1,"Zm9vYmE="]"#)
        );
        assert_eq!(of(&place).as_deref(), Some("Zm9vYmE="));
        assert_eq!(of("{}"), None);
        let other = place_of_payload(AuditId(uuid::Uuid::from_u128(8)));
        assert_eq!(of(&other), None, "another's place is text");
        assert_eq!(whole(&[place.as_bytes(), b"\xff"].concat(), id, b""), None);
    }
}
