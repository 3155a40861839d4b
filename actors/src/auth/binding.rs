//! Sender binding: does the caller hold what the token is bound to? Pure.

use super::error::AuthError;
use crate::domain::caller::{AccessToken, Credentials, Scheme, SenderBinding, VerifiedProof};

/// Whether a proof must be verified for this token, by scheme and confirmation (contract §3; RFC 9449 §7.1-§7.2,
/// RFC 8705 §3). Everything that can be refused without cryptography is refused here.
pub fn proof_required(token: &AccessToken, credentials: &Credentials) -> Result<bool, AuthError> {
    let confirmation = &token.confirmation;
    let refuse = |what: &str| Err(AuthError::Token(what.to_owned()));
    match (
        confirmation.jkt.is_some(),
        confirmation.x5t_s256.is_some(),
        credentials.scheme,
    ) {
        (false, false, _) => {
            refuse("the token is not bound to its sender: obtain one with cnf.jkt or cnf.x5t#S256")
        }
        // RFC 9449 §7.2: a DPoP-bound token is never accepted as a bearer token.
        (true, _, Scheme::Bearer) => {
            refuse("the token is bound to a proof key: send it with the scheme DPoP")
        }
        (true, _, Scheme::Dpop) if credentials.proof.is_none() => Err(AuthError::Proof(
            "the DPoP field is missing: send one proof with every request".into(),
        )),
        (true, _, Scheme::Dpop) => Ok(true),
        (false, true, Scheme::Dpop) => {
            refuse("the token is not bound to a proof key: send it with the scheme Bearer")
        }
        (false, true, Scheme::Bearer) => Ok(false),
    }
}

/// Every confirmation that the token carries must hold.
pub fn check_binding(
    token: &AccessToken,
    credentials: &Credentials,
    proof: Option<&VerifiedProof>,
) -> Result<SenderBinding, AuthError> {
    let key = match (token.confirmation.jkt, proof) {
        (None, _) => None,
        (Some(bound), Some(proof)) if openssl::memcmp::eq(&bound.0, &proof.thumbprint.0) => Some(bound),
        (Some(_), _) => {
            return Err(AuthError::Token(
                "the proof's key is not the one that the token is bound to: obtain a token with the key that signs the proofs"
                    .into(),
            ));
        }
    };
    // RFC 8705 §3: the certificate of this connection; without one, or with another, 401 `invalid_token`.
    let certificate = match (token.confirmation.x5t_s256, credentials.client_certificate) {
        (None, _) => None,
        (Some(bound), Some(seen)) if openssl::memcmp::eq(&bound.0, &seen.0) => Some(bound),
        (Some(_), seen) => {
            let what = match seen {
                None => {
                    "the token is bound to a client certificate and none reached the service: connect with it"
                }
                Some(_) => {
                    "the token is bound to another client certificate than the one that reached the service: \
                     obtain a token with the one that connects"
                }
            };
            return Err(AuthError::Token(what.to_owned()));
        }
    };
    match (key, certificate) {
        (Some(key), Some(certificate)) => Ok(SenderBinding::DpopAndMtls(key, certificate)),
        (Some(key), None) => Ok(SenderBinding::Dpop(key)),
        (None, Some(certificate)) => Ok(SenderBinding::Mtls(certificate)),
        (None, None) => Err(AuthError::Token("the token is not bound to its sender".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::caller::Confirmation;
    use crate::domain::digest::Sha256Digest;
    use crate::testing;

    const KEY: Sha256Digest = Sha256Digest([1; 32]);
    const CERTIFICATE: Sha256Digest = Sha256Digest([2; 32]);
    const OTHER: Sha256Digest = Sha256Digest([9; 32]);

    fn outcome(
        jkt: Option<Sha256Digest>,
        x5t: Option<Sha256Digest>,
        scheme: Scheme,
        proof_key: Option<Sha256Digest>,
        certificate: Option<Sha256Digest>,
    ) -> Result<SenderBinding, AuthError> {
        let token = AccessToken {
            confirmation: Confirmation { jkt, x5t_s256: x5t },
            ..testing::access_token()
        };
        let credentials = Credentials {
            scheme,
            proof: proof_key.map(|_| "proof".into()),
            client_certificate: certificate,
            ..testing::credentials()
        };
        let proof = proof_key.map(|thumbprint| VerifiedProof {
            thumbprint,
            ..testing::proof()
        });
        let required = proof_required(&token, &credentials)?;
        check_binding(&token, &credentials, proof.as_ref().filter(|_| required))
    }

    #[test]
    fn what_is_bound_must_hold() {
        use Scheme::{Bearer, Dpop};
        assert_eq!(
            outcome(Some(KEY), None, Dpop, Some(KEY), None),
            Ok(SenderBinding::Dpop(KEY))
        );
        assert_eq!(
            outcome(None, Some(CERTIFICATE), Bearer, None, Some(CERTIFICATE)),
            Ok(SenderBinding::Mtls(CERTIFICATE))
        );
        assert_eq!(
            outcome(Some(KEY), Some(CERTIFICATE), Dpop, Some(KEY), Some(CERTIFICATE)),
            Ok(SenderBinding::DpopAndMtls(KEY, CERTIFICATE))
        );
        for (case, result) in [
            ("unbound", outcome(None, None, Dpop, Some(KEY), Some(CERTIFICATE))),
            (
                "dpop token as bearer",
                outcome(Some(KEY), None, Bearer, Some(KEY), None),
            ),
            ("no proof", outcome(Some(KEY), None, Dpop, None, None)),
            (
                "another proof key",
                outcome(Some(KEY), None, Dpop, Some(OTHER), None),
            ),
            (
                "mtls token with dpop",
                outcome(None, Some(CERTIFICATE), Dpop, Some(KEY), Some(CERTIFICATE)),
            ),
            (
                "no certificate",
                outcome(None, Some(CERTIFICATE), Bearer, None, None),
            ),
            (
                "another certificate",
                outcome(None, Some(CERTIFICATE), Bearer, None, Some(OTHER)),
            ),
            (
                "both bound, certificate missing",
                outcome(Some(KEY), Some(CERTIFICATE), Dpop, Some(KEY), None),
            ),
            (
                "both bound, sent as bearer",
                outcome(Some(KEY), Some(CERTIFICATE), Bearer, Some(KEY), Some(CERTIFICATE)),
            ),
        ] {
            assert!(result.is_err(), "{case}");
        }
    }
}
