//! `docs/reference/authentication.md` says what the service says.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use signer::config::reference;
use signer_actors::domain::code::Code;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn page() -> String {
    fs::read_to_string(root().join("docs/reference/authentication.md")).unwrap()
}

/// Every Rust source of the service, with continued string literals joined.
fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

fn joined(text: &str) -> String {
    let mut pieces = text.split("\\\n");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |whole, piece| whole + piece.trim_start())
}

/// What stands between these two marks, each time.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Vec<&'a str> {
    let after = text.split(open).skip(1);
    after.filter_map(|rest| Some(rest.split_once(close)?.0)).collect()
}

#[test]
fn every_quoted_answer_is_one_of_the_service() {
    let mut text = String::new();
    for folder in ["src", "actors/src"] {
        sources(&root().join(folder), &mut text);
    }
    let said = joined(&text);
    let page = page();
    let troubleshooting = page.split("## Troubleshooting").nth(1).unwrap();
    let (_, table) = troubleshooting.split_once("| answer |").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let quoted = between(table, "“", "”");
    assert!(quoted.len() > 20, "{}", quoted.len());
    for text in quoted {
        // One text has its scope filled in.
        let text = text.replace("the scope signer.sign", "the scope {}");
        let start = text.trim_end_matches('…').trim_end();
        assert!(said.contains(start), "nothing says “{start}”");
    }
}

#[test]
fn every_code_and_key_exists() {
    let codes: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let page = page();
    let tables = page.split("| check | source | code |").skip(1);
    let mut seen = 0;
    for table in tables {
        for row in table.lines().skip(2).take_while(|row| row.starts_with('|')) {
            let column = row.trim_end_matches('|').rsplit('|').next().unwrap();
            for code in between(&format!("{column} "), " `", "`") {
                assert!(codes.contains(code), "{code} is no code");
                seen += 1;
            }
        }
    }
    assert!(seen > 15, "{seen}");
    let reference = reference();
    for key in page.split('`').filter(|word| !word.contains(' ')) {
        let Some((section, name)) = key.rsplit_once('.') else {
            continue;
        };
        if !["auth", "auth.dpop", "server", "server.tls"].contains(&section) {
            continue;
        }
        let name = name.split(['"', '=']).next().unwrap();
        let (_, keys) = reference.split_once(&format!("[{section}]\n")).expect(section);
        let keys = keys.split("\n[").next().unwrap();
        assert!(
            keys.lines()
                .any(|line| line.trim_start_matches("# ").starts_with(&format!("{name} ="))),
            "{key} is no key"
        );
    }
}
