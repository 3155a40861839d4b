//! What `POST /sign/dsse/batch` answers (contract §2.2), in pieces: the answers of its items are joined nowhere but on
//! the connection.

use actix_web::web::Bytes;

/// An item's member of `results`.
#[derive(Debug)]
pub struct ItemAnswer(Vec<Bytes>);

impl ItemAnswer {
    /// Of a signature: `answer` is that of a single request, an object with members.
    pub fn signed(answer: Bytes) -> Self {
        let members = answer.slice(1..);
        Self(vec![Bytes::from_static(b"{\"status\":200,"), members])
    }

    /// Of a refusal, with its problem document.
    pub fn refused(status: u16, problem: Vec<u8>) -> Self {
        let status = format!("{{\"status\":{status},\"problem\":");
        Self(vec![status.into(), problem.into(), Bytes::from_static(b"}")])
    }
}

/// The whole body.
pub fn results(items: Vec<ItemAnswer>) -> Vec<Bytes> {
    let mut pieces = vec![Bytes::from_static(b"{\"results\":[")];
    for (place, ItemAnswer(item)) in items.into_iter().enumerate() {
        if place > 0 {
            pieces.push(Bytes::from_static(b","));
        }
        pieces.extend(item);
    }
    pieces.push(Bytes::from_static(b"]}"));
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_are_one_document() {
        let items = vec![
            ItemAnswer::signed(Bytes::from_static(br#"{"bundle":1}"#)),
            ItemAnswer::refused(429, br#"{"code":"rate_limited"}"#.to_vec()),
        ];
        assert_eq!(
            results(items).concat(),
            br#"{"results":[{"status":200,"bundle":1},{"status":429,"problem":{"code":"rate_limited"}}]}"#
        );
    }
}
