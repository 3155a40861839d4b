//! `signer sign FILE…`: a client of the service.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};

use super::{Mode, say};
use crate::client::{Client, ClientError, Credentials, SignOptions, Signed};

/// Arguments of `signer sign`.
#[derive(Clone, Debug, clap::Args)]
pub struct SignArgs {
    /// Files to sign: CycloneDX and SPDX documents become the predicate, any other file is described
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Credentials file, as `signer dev` writes it
    #[arg(
        long,
        value_name = "FILE",
        env = "SIGNER_CREDENTIALS",
        default_value = "signer-dev/credentials.json"
    )]
    pub credentials: PathBuf,
    /// Folder for what is written; of several files each gets a folder of its own in it
    #[arg(long, value_name = "DIR", default_value = "signed")]
    pub out: PathBuf,
    /// Signing mode; the service's default when absent
    #[arg(long, value_enum)]
    pub mode: Option<Mode>,
    /// Key for mode kms; the service's default when absent
    #[arg(long, value_name = "ID")]
    pub key_id: Option<String>,
    /// Predicate type; the files must be JSON and are the predicates
    #[arg(long, value_name = "URI")]
    pub predicate_type: Option<String>,
}

/// Runs the command. Answers the exit code: of several failures the first.
pub async fn run(args: &SignArgs, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let prepared = targets(args).and_then(|targets| {
        let client = Client::new(Credentials::read(&args.credentials)?)?;
        Ok((targets, client))
    });
    let (targets, mut client) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return fail(err, None, &error),
    };
    let trusted_root = match client.trusted_root().await {
        Ok(trusted_root) => trusted_root,
        Err(error) => return fail(err, None, &error),
    };
    let options = SignOptions {
        mode: args.mode.map(|mode| mode.as_str().to_owned()),
        key_id: args.key_id.clone(),
        predicate_type: args.predicate_type.clone(),
    };
    let bar = progress(targets.len());
    let mut code = 0;
    for (file, directory) in &targets {
        bar.set_message(file.display().to_string());
        match sign_one(&mut client, file, directory, &options, &trusted_root).await {
            Ok(signed) => bar.suspend(|| say(out, &line(file, directory, &signed))),
            Err(error) => {
                let failed = bar.suspend(|| fail(err, Some(file), &error));
                code = if code == 0 { failed } else { code };
                if matches!(
                    error,
                    ClientError::Authentication(_) | ClientError::Unreachable(_)
                ) {
                    break;
                }
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    code
}

async fn sign_one(
    client: &mut Client,
    file: &Path,
    directory: &Path,
    options: &SignOptions,
    trusted_root: &[u8],
) -> Result<Signed, ClientError> {
    let signed = client.sign(file, options).await?;
    signed
        .write(directory, trusted_root)
        .map_err(|error| ClientError::Usage(format!("{} cannot be written: {error}", directory.display())))?;
    Ok(signed)
}

/// Each file with its folder.
fn targets(args: &SignArgs) -> Result<Vec<(PathBuf, PathBuf)>, ClientError> {
    if let [one] = args.files.as_slice() {
        return Ok(vec![(one.clone(), args.out.clone())]);
    }
    let mut names: BTreeSet<&OsStr> = BTreeSet::new();
    let mut targets = Vec::new();
    for file in &args.files {
        let shown = file.display();
        let name = file
            .file_name()
            .ok_or_else(|| ClientError::Usage(format!("{shown} names no file")))?;
        if !names.insert(name) {
            let text = format!("{shown}: another file has the same name, sign it with another --out");
            return Err(ClientError::Usage(text));
        }
        targets.push((file.clone(), args.out.join(name)));
    }
    Ok(targets)
}

/// Hidden for a single file, and where standard error is no terminal.
fn progress(files: usize) -> ProgressBar {
    if files < 2 {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(u64::try_from(files).unwrap_or(u64::MAX));
    match ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn line(file: &Path, directory: &Path, signed: &Signed) -> String {
    let summary = &signed.summary;
    format!(
        "signed {} with {} by {} (audit id {}) in {}",
        file.display(),
        summary.algorithm,
        summary.signer,
        summary.audit_id,
        directory.display()
    )
}

fn fail(err: &mut dyn Write, file: Option<&Path>, error: &ClientError) -> u8 {
    match file {
        Some(file) => say(err, &format!("error: {}: {error}", file.display())),
        None => say(err, &format!("error: {error}")),
    }
    error.exit_code()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(files: &[&str]) -> SignArgs {
        SignArgs {
            files: files.iter().map(PathBuf::from).collect(),
            credentials: "/nowhere/credentials.json".into(),
            out: "out".into(),
            mode: None,
            key_id: None,
            predicate_type: None,
        }
    }

    #[test]
    fn one_file_goes_into_the_folder_and_several_into_folders_of_their_own() {
        let one = targets(&args(&["a/x.json"])).unwrap();
        assert_eq!(one, [("a/x.json".into(), "out".into())]);
        let two = targets(&args(&["a/x.json", "b/y.json"])).unwrap();
        let folders: Vec<_> = two.iter().map(|(_, folder)| folder.clone()).collect();
        assert_eq!(
            folders,
            [PathBuf::from("out/x.json"), PathBuf::from("out/y.json")]
        );
        assert!(matches!(
            targets(&args(&["a/x", "b/x"])),
            Err(ClientError::Usage(_))
        ));
    }

    #[actix::test]
    async fn without_credentials_it_is_a_usage_error() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(run(&args(&["x"]), &mut out, &mut err).await, 2);
        let err = String::from_utf8(err).unwrap();
        assert!(err.contains("--credentials"), "{err}");
    }
}
