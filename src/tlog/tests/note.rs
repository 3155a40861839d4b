use openssl::pkey::{Id, PKey};

use super::*;

/// The example of signed-note.
const KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo \
    Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

#[test]
fn the_example_of_the_specification_verifies() {
    let key = VerifierKey::parse(KEY).unwrap();
    assert_eq!(key.to_string(), KEY);
    assert_eq!(key.name(), "example.com/foo");
    assert_eq!(key.open(NOTE), Ok("This is an example message.\n"));
    // Signatures of others are ignored, whatever they are.
    let other = format!("{NOTE}\u{2014} witness.example AAAAAAE=\n");
    assert_eq!(key.open(&other), Ok("This is an example message.\n"));
    assert_eq!(unverified_text(&other), Ok("This is an example message.\n"));
}

#[test]
fn anything_else_does_not() {
    let key = VerifierKey::parse(KEY).unwrap();
    let (text, signature) = NOTE.split_once("\n\n").unwrap();
    let table = [
        (
            NOTE.replace("example message", "example massage"),
            NoteError::Forged,
        ),
        (NOTE.replace("Uw2QOkn8", "Uw2QOkn9"), NoteError::Forged),
        (
            format!("{NOTE}{}", signature.replace("kn8", "kn9")),
            NoteError::Forged,
        ),
        (NOTE.replace("/foo ", "/fop "), NoteError::Unsigned),
        (NOTE.replace(" Uw2Q", " Uw2R"), NoteError::Unsigned),
        (NOTE.trim_end().to_owned(), NoteError::Malformed),
        (format!("{text}\n{signature}"), NoteError::Malformed),
        (format!("{text}\n\n"), NoteError::Malformed),
        (NOTE.replace('\u{2014}', "-"), NoteError::Malformed),
        (NOTE.replace("message", "message\r"), NoteError::Malformed),
        (NOTE.replace("Uw2Q", "Uw2*"), NoteError::Malformed),
        (NOTE.replace("This", &"This".repeat(40_000)), NoteError::Malformed),
        (String::new(), NoteError::Malformed),
    ];
    for (note, error) in table {
        assert_eq!(key.open(&note), Err(error), "{}", note.get(..60).unwrap_or(&note));
    }
    for bad in [
        "",
        "example.com/foo",
        &KEY.replace("530d903a", "530d903b"),
        &KEY.replace("530d903a", "530D903A"),
        &KEY.replace("+Aeky", "+Beky"),
        &KEY.replace("3U2k", ""),
        &KEY.replace("example.com", "example com"),
    ] {
        assert_eq!(VerifierKey::parse(bad), None, "{bad}");
    }
}

/// RFC 8032 §7.1, test 1: seed and public key.
const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

fn signer(name: &str) -> NoteSigner {
    let key = PKey::private_key_from_raw_bytes(&hex::decode(SEED).unwrap(), Id::ED25519).unwrap();
    NoteSigner::new(name, key).unwrap()
}

#[test]
fn what_is_signed_here_verifies_under_the_public_half() {
    let signer = signer("signer.test/log");
    let raw = hex::decode(PUBLIC).unwrap().try_into().unwrap();
    let key = VerifierKey::new("signer.test/log", raw).unwrap();
    assert_eq!(signer.verifier(), &key);
    let note = signer.sign("text\n\nwith an empty line\n").unwrap();
    assert_eq!(key.open(&note), Ok("text\n\nwith an empty line\n"));
    let elsewhere = VerifierKey::new("signer.test/other", raw).unwrap();
    assert_eq!(elsewhere.open(&note), Err(NoteError::Unsigned));
    assert!(signer.sign("no newline").is_err());
    let p256 = crate::crypto::generate_p256().unwrap();
    assert!(NoteSigner::new("a", p256).is_err_and(|error| error.contains("Ed25519")));
    assert!(VerifierKey::new("a b", raw).is_none() && VerifierKey::new("", raw).is_none());
}

#[test]
fn checkpoints_are_read_strictly() {
    let checkpoint = Checkpoint {
        origin: "signer.test/log".into(),
        size: 70_000,
        root: leaf(1),
    };
    let text = checkpoint.text();
    assert_eq!(Checkpoint::parse(&text), Some(checkpoint.clone()));
    assert_eq!(Checkpoint::parse(&format!("{text}extension\n")), Some(checkpoint));
    for bad in [
        text.trim_end().to_owned(),
        format!("{text}\n"),
        text.replace("70000", "070000"),
        text.replace("70000", "+70000"),
        text.replace("70000", "-1"),
        text.replace("70000", "18446744073709551616"),
        text.replace("signer.test/log", ""),
        text.replace('=', ""),
        "signer.test/log\n0\n".into(),
        String::new(),
    ] {
        assert_eq!(Checkpoint::parse(&bad), None, "{bad:?}");
    }
}

#[test]
fn a_proof_as_text_is_verified_whole() {
    let signer = signer("signer.test/log");
    let tree = Naive(leaves(11));
    let checkpoint = Checkpoint {
        origin: "signer.test/log".into(),
        size: 11,
        root: naive_root(&tree.0),
    };
    let proof = TlogProof {
        index: 4,
        path: inclusion_proof(&tree, 4, 11).unwrap(),
        checkpoint: signer.sign(&checkpoint.text()).unwrap(),
    };
    let text = proof.to_string();
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nindex 4\n"), "{text}");
    assert!(text.contains("\n\nsigner.test/log\n11\n"), "{text}");
    assert_eq!(TlogProof::parse(&text), Some(proof.clone()));
    let extra = text.replace("index", "extra AAAA\nindex");
    assert_eq!(TlogProof::parse(&extra), Some(proof.clone()));
    let key = signer.verifier();
    assert_eq!(proof.verify(&leaf(4), key), Ok(checkpoint.clone()));
    assert_eq!(proof.verify(&leaf(5), key), Err(NoteError::Malformed));
    let moved = TlogProof {
        index: 5,
        ..proof.clone()
    };
    assert_eq!(moved.verify(&leaf(4), key), Err(NoteError::Malformed));
    // Of another log, though signed by the same key.
    let foreign = Checkpoint {
        origin: "another/log".into(),
        ..checkpoint
    };
    let foreign = TlogProof {
        checkpoint: signer.sign(&foreign.text()).unwrap(),
        ..proof
    };
    assert_eq!(foreign.verify(&leaf(4), key), Err(NoteError::Malformed));
    for bad in [
        text.replace("@v1", "@v2"),
        text.replace("index 4", "index 04"),
        "".into(),
    ] {
        assert_eq!(TlogProof::parse(&bad), None);
    }
}
