//! An answer without its payload: what is kept of it for retries, and what every answer is made of.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use signer_actors::domain::ids::AuditId;

/// Stands where the payload belongs. Whoever supplies other text of an answer, such as a plan's name, cannot know the
/// audit id, so nothing else looks like it.
pub fn place_of_payload(audit_id: AuditId) -> String {
    format!("the payload of {audit_id}")
}

/// The whole answer: the payload, in base64, in all its places. `None` if there are none.
pub fn whole(told: &[u8], audit_id: AuditId, payload: &[u8]) -> Option<String> {
    let told = std::str::from_utf8(told).ok()?;
    let place = place_of_payload(audit_id);
    let places = told.matches(&place).count();
    if places == 0 {
        return None;
    }
    let encoded = payload.len().div_ceil(3).saturating_mul(4);
    let mut whole = String::with_capacity(told.len().saturating_add(encoded.saturating_mul(places)));
    for (index, part) in told.split(&place).enumerate() {
        if index > 0 {
            STANDARD.encode_string(payload, &mut whole);
        }
        whole.push_str(part);
    }
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_put_into_every_place() {
        let id = AuditId(uuid::Uuid::from_u128(7));
        let place = place_of_payload(id);
        let of = |told: &str| whole(told.as_bytes(), id, b"fooba");
        // RFC 4648 §10: BASE64("fooba") = "Zm9vYmE=".
        assert_eq!(
            of(&format!("[\"{place}\",1,\"{place}\"]")).as_deref(),
            Some(r#"["Zm9vYmE=",1,"Zm9vYmE="]"#)
        );
        assert_eq!(of(&place).as_deref(), Some("Zm9vYmE="));
        assert_eq!(of("{}"), None);
        let other = place_of_payload(AuditId(uuid::Uuid::from_u128(8)));
        assert_eq!(of(&other), None, "another's place is text");
        assert_eq!(whole(b"\xff", id, b""), None);
    }
}
