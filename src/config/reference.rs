//! `config/reference.toml`, from the declarations: every key with its meaning and default.

use std::fmt::Write;

use super::reader::{Declared, Key, Reader};

const HEAD: &str = "\
# Every key of the StellaOps Signer with its meaning and default. Made from the declarations in src/config; a test keeps
# it true (UPDATE_REFERENCE=1 cargo test reference writes it anew). Not meant to be used as it is: take what you change.
#
# Each key is also an environment variable: SIGNER__SECTION__KEY, for example SIGNER__AUTH__DPOP__NONCE=required.
# Flags win over the environment, the environment wins over the file.
# (required) marks keys without a default; the value shown is an example.
# Secrets are references: \"file:PATH\" or \"env:NAME\". Relative paths start at the folder of the configuration file.
# Durations are digits and one unit: ms, s, m, h. URLs are https; http is for loopback addresses only.
";

/// Width of comments.
const WIDTH: usize = 118;

/// The text of `config/reference.toml`.
pub fn reference() -> String {
    let mut text = HEAD.to_owned();
    let mut before = String::new();
    for declared in declarations() {
        // Writing to a string cannot fail.
        let _ = match declared {
            Declared::Section { path, doc, repeated } => {
                let header = if repeated {
                    format!("[[{path}]]")
                } else {
                    format!("[{path}]")
                };
                // A second kind of the same table needs no second explanation.
                let doc = if path == before {
                    String::new()
                } else {
                    comment(doc)
                };
                before = path;
                writeln!(text, "\n{doc}{header}")
            }
            Declared::Key { key, .. } => write_key(&mut text, &key),
        };
    }
    text
}

fn write_key(text: &mut String, key: &Key) -> std::fmt::Result {
    let needed = if key.required { "(required) " } else { "" };
    let comment = comment(&format!("{needed}{}", key.doc));
    writeln!(text, "{comment}{} = {}", key.name, key.value)
}

/// Lines of a comment, wrapped at spaces.
fn comment(doc: &str) -> String {
    let mut lines = String::new();
    let mut line = "#".to_owned();
    for word in doc.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            lines.push_str(&line);
            lines.push('\n');
            "#".clone_into(&mut line);
        }
        line.push(' ');
        line.push_str(word);
    }
    lines + &line + "\n"
}

/// All declarations, without reading anything.
pub(crate) fn declarations() -> Vec<Declared> {
    let mut reader = Reader::describing();
    let _ = reader.root(super::read_sections);
    reader.declared
}

/// Dotted names of all keys that environment and flags may set; arrays of tables are one key each.
pub(crate) fn settable() -> Vec<String> {
    let mut all: Vec<String> = declarations()
        .into_iter()
        .filter_map(|declared| match declared {
            Declared::Section { path, repeated, .. } => repeated.then_some(path),
            Declared::Key { section, .. } if section.contains('[') => None,
            Declared::Key { section, key } => Some(format!("{section}.{}", key.name)),
        })
        .collect();
    all.dedup();
    all
}
