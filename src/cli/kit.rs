//! `signer kit`: everything that a verifier without a network needs, in one signed folder.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use signer_actors::domain::signing::{Algorithm, KeyState};
use zeroize::Zeroizing;

use super::args::{KitExportArgs, KitVerifyArgs};
use super::audit::{self, Refused};
use super::{Exit, report_errors, say};
use crate::adapters::audit_files::checkpoint_in_dir;
use crate::bootstrap::trust_documents;
use crate::bundle::trusted_root::{PublishedKeys, TrustedRoot};
use crate::bundle::verify::Trust;
use crate::config::{self, Settings};
use crate::crypto::{Nonce, PrivateKey, PublicKey, parse_public_pem};
use crate::kit::{self, KEYS, Manifest, TRUSTED_ROOT};
use crate::tlog::{Checkpoint, NoteSigner, VerifierKey};

/// The largest key file, in bytes.
const MAX_KEY_FILE: u64 = 64 * 1024;
/// What a kit's key may be.
const ALGORITHMS: [Algorithm; 5] = [
    Algorithm::Ed25519,
    Algorithm::EcdsaP256Sha256,
    Algorithm::EcdsaP384Sha384,
    Algorithm::RsaPssSha256,
    Algorithm::RsaPkcs1Sha256,
];
/// What people find in a kit.
const README: &str = include_str!("kit_readme.txt");

/// Files of a kit, by path.
type Files = BTreeMap<String, Vec<u8>>;

/// `signer kit export`
pub fn export(args: &KitExportArgs, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    let settings = match config::load(args.config.inputs()) {
        Ok(settings) => settings,
        Err(errors) => {
            // A terminal that went away changes nothing about the answer.
            let _ = report_errors(err, &errors);
            return Exit::Usage;
        }
    };
    let now = Utc::now();
    match try_export(args, &settings, now) {
        Ok((manifest, notes)) => {
            for note in notes {
                say(out, &format!("[warning] {note}"));
            }
            tell(out, &manifest);
            say(
                out,
                &format!(
                    "{}: give it to those who verify, and tell them the key another way",
                    args.out.display()
                ),
            );
            Exit::Done
        }
        Err((exit, what)) => {
            fail(err, &what);
            exit
        }
    }
}

fn try_export(
    args: &KitExportArgs,
    settings: &Settings,
    now: DateTime<Utc>,
) -> Result<(Manifest, Vec<String>), Refused> {
    let usage = |what: String| (Exit::Usage, what);
    let key = signing_key(&args.key, args.passphrase_file.as_deref())?;
    let (root, keys) = trust_documents(settings).map_err(usage)?;
    has_no_other_use(&key, &keys, settings).map_err(usage)?;
    let mut files = Files::from([("README.txt".to_owned(), README.as_bytes().to_vec())]);
    add_trust(&mut files, &root, &keys).map_err(usage)?;
    let notes = add_checkpoints(&mut files, args, settings)?;
    let lifetime = TimeDelta::days(i64::from(args.days));
    let manifest = Manifest::new(&settings.audit.origin, now, lifetime, &files).map_err(usage)?;
    let sealed = kit::seal(&manifest, &key).map_err(|what| (Exit::Refused, what))?;
    kit::write(&args.out, &sealed, &files).map_err(usage)?;
    Ok((manifest, notes))
}

/// The kit's key, from a file that nobody else reads.
fn signing_key(path: &Path, passphrase: Option<&Path>) -> Result<PrivateKey, Refused> {
    let pem = Zeroizing::new(key_file(path)?);
    let passphrase = passphrase.map(key_file).transpose()?.map(Zeroizing::new);
    let passphrase = passphrase.as_ref().map(|text| text.trim_ascii_end());
    let mode = fs::metadata(path).map_or(0, |metadata| metadata.mode());
    if mode & 0o077 != 0 {
        let what = format!("{} can be read by others: chmod 600", path.display());
        return Err((Exit::Usage, what));
    }
    let mut reason = "the key is of no kind that this service uses".to_owned();
    for algorithm in ALGORITHMS {
        match PrivateKey::from_pem(&pem, passphrase, algorithm, Nonce::Random) {
            Ok(key) => return Ok(key),
            Err(what) => reason = what,
        }
    }
    Err((Exit::Usage, format!("{}: {reason}", path.display())))
}

/// A kit's key says whom to believe: it is none of those that the kit speaks of, nor the log's.
fn has_no_other_use(key: &PrivateKey, keys: &PublishedKeys, settings: &Settings) -> Result<(), String> {
    let signing = keys.keys.iter().filter_map(|published| {
        let parsed = PublicKey::from_pem(published.public_key.as_bytes(), published.algorithm).ok()?;
        Some((format!("signing key {}", published.id), parsed.der().to_vec()))
    });
    let log = settings.audit.checkpoint_key.public_key_to_der().ok();
    let log = log.map(|der| ("audit.checkpoint_key".to_owned(), der));
    match signing.chain(log).find(|(_, der)| der == key.public().der()) {
        Some((name, _)) => Err(format!("the kit's key is also the {name}: make one of its own")),
        None => Ok(()),
    }
}

/// Trust as the service publishes it, and active keys as other programs read them.
fn add_trust(files: &mut Files, root: &TrustedRoot, keys: &PublishedKeys) -> Result<(), String> {
    let json = |what: serde_json::Result<Vec<u8>>| what.map_err(|error| error.to_string());
    if !root.certificate_authorities.is_empty() || !root.timestamp_authorities.is_empty() {
        files.insert(TRUSTED_ROOT.to_owned(), json(serde_json::to_vec_pretty(root))?);
    }
    if !keys.keys.is_empty() {
        files.insert(KEYS.to_owned(), json(serde_json::to_vec_pretty(keys))?);
    }
    for key in keys.keys.iter().filter(|key| key.state == KeyState::Active) {
        let path = format!("public-keys/{}.pem", file_name(&key.id));
        if files.insert(path, key.public_key.clone().into_bytes()).is_some() {
            return Err(format!(
                "two keys would be public-keys/{}.pem",
                file_name(&key.id)
            ));
        }
    }
    Ok(())
}

/// The newest tree heads: this replica's, and those given of the others. What the trail says later must go on from them.
fn add_checkpoints(
    files: &mut Files,
    args: &KitExportArgs,
    settings: &Settings,
) -> Result<Vec<String>, Refused> {
    let audit = &settings.audit;
    let usage = |what: String| (Exit::Usage, what);
    let own = NoteSigner::new(&audit.origin, audit.checkpoint_key.clone()).map_err(usage)?;
    let mut notes = Vec::new();
    let refuse = |what: String| (Exit::Refused, what);
    match checkpoint_in_dir(&audit.directory).map_err(refuse)? {
        Some(note) => add_checkpoint(files, own.verifier(), &note)?,
        None => notes.push("the audit trail has no checkpoint yet: the kit is without one".to_owned()),
    }
    if args.checkpoint.len() != args.checkpoint_key.len() {
        let what = "each --checkpoint needs its --checkpoint-key, in the same order";
        return Err(usage(what.into()));
    }
    for (file, named) in args.checkpoint.iter().zip(&args.checkpoint_key) {
        add_checkpoint(files, &audit::key(named)?, &audit::note(file)?)?;
    }
    Ok(notes)
}

fn add_checkpoint(files: &mut Files, key: &VerifierKey, note: &str) -> Result<(), Refused> {
    let refuse = |what: String| (Exit::Refused, what);
    let log = key.name();
    let text = key.open(note);
    let text = text.map_err(|error| refuse(format!("the checkpoint of {log} does not count: {error}")))?;
    let checkpoint = Checkpoint::parse(text).filter(|checkpoint| checkpoint.origin == log);
    if checkpoint.is_none() {
        return Err(refuse(format!("what {log} signed is no checkpoint of it")));
    }
    let path = format!("checkpoints/{}", file_name(log));
    files.insert(format!("{path}.vkey"), format!("{key}\n").into_bytes());
    match files.insert(format!("{path}.note"), note.as_bytes().to_vec()) {
        Some(_) => Err(refuse(format!("there are two checkpoints of {log}: give one"))),
        None => Ok(()),
    }
}

/// A name as files of a kit may have it.
fn file_name(text: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') {
            c
        } else {
            '_'
        }
    };
    let name: String = text.chars().map(plain).take(190).collect();
    match name.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None => name,
    }
}

/// `signer kit verify`
pub fn verify(args: &KitVerifyArgs, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    match open(&args.kit, &args.key, Utc::now()) {
        Ok((manifest, _)) => {
            tell(out, &manifest);
            say(out, "verified");
            Exit::Done
        }
        Err((exit, what)) => {
            fail(err, &what);
            exit
        }
    }
}

/// The trust that a kit brings, and a line about it.
///
/// # Errors
/// The kit does not count, or cannot be read.
pub(super) fn trust(folder: &Path, key: &Path, now: DateTime<Utc>) -> Result<(Trust, String), Refused> {
    let (manifest, files) = open(folder, key, now)?;
    let refuse = |what: String| (Exit::Refused, format!("{}: {what}", folder.display()));
    let mut trust = Trust::default();
    for name in [TRUSTED_ROOT, KEYS] {
        if let Some(text) = files.get(name) {
            trust.add_json(text).map_err(refuse)?;
        }
    }
    let line = format!(
        "kit of {}, made {}, good until {}",
        manifest.origin,
        show(manifest.created),
        show(manifest.expires)
    );
    Ok((trust, line))
}

fn open(folder: &Path, key: &Path, now: DateTime<Utc>) -> Result<(Manifest, Files), Refused> {
    if !folder.is_dir() {
        return Err((Exit::NotFound, format!("{} is no folder", folder.display())));
    }
    let usage = |what: String| (Exit::Usage, format!("{}: {what}", key.display()));
    let parsed = parse_public_pem(&key_file(key)?).map_err(usage)?;
    let keys = PublicKey::every_pin(&parsed).map_err(usage)?;
    kit::read(folder, &keys, now).map_err(|what| (Exit::Refused, format!("the kit does not count: {what}")))
}

/// Some errors have the word already.
fn fail(err: &mut dyn Write, what: &str) {
    say(
        err,
        &format!("error: {}", what.strip_prefix("error: ").unwrap_or(what)),
    );
}

fn tell(out: &mut dyn Write, manifest: &Manifest) {
    say(
        out,
        &format!(
            "kit of {}: {} files, made {}, good until {}",
            manifest.origin,
            manifest.files.len(),
            show(manifest.created),
            show(manifest.expires)
        ),
    );
    for file in &manifest.files {
        say(out, &format!("  {}  {}", file.sha256, file.path));
    }
}

fn key_file(path: &Path) -> Result<Vec<u8>, Refused> {
    let failed = |what: String| (Exit::NotFound, format!("cannot read {}: {what}", path.display()));
    let metadata = fs::metadata(path).map_err(|error| failed(error.to_string()))?;
    if !metadata.is_file() || metadata.len() > MAX_KEY_FILE {
        return Err(failed("it is no file, or too large for a key".into()));
    }
    fs::read(path).map_err(|error| failed(error.to_string()))
}

fn show(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
