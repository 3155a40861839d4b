//! Where values come from: flags over environment over file. Nothing is interpreted here.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use signer_actors::domain::digest::Sha256Digest;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::error::{ConfigError, Source};

/// Every environment variable of the configuration starts so; section and key follow, parted by two underscores.
pub(crate) const PREFIX: &str = "SIGNER__";

/// A configuration file is text that people write: more than this is something else.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What the configuration is read from.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// The file of `--config`.
    pub file: Option<ConfigFile>,
    /// The process environment: values for keys, and what `env:…` refers to.
    pub environment: Vec<(OsString, OsString)>,
    /// Values of flags, which win over all else.
    pub flags: Vec<FlagValue>,
}

/// The configuration file, or what stands for it.
#[derive(Clone, Debug)]
pub enum ConfigFile {
    /// A file on disk; relative paths inside it are relative to its folder.
    Path(PathBuf),
    /// Text already in memory (`signer dev`, tests).
    Text {
        /// TOML.
        text: String,
        /// What relative paths are relative to.
        folder: PathBuf,
    },
}

/// A flag that sets a key: `--listen ADDR` sets `server.listen`.
#[derive(Clone, Debug)]
pub struct FlagValue {
    /// The flag with its dashes.
    pub flag: &'static str,
    /// The dotted key.
    pub key: &'static str,
    /// The value as typed.
    pub value: String,
}

/// A value as found, not yet typed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Raw<'a> {
    /// From the file: TOML has typed it.
    Typed(&'a Value),
    /// From environment or flag: the key decides how it is read.
    Text(&'a str),
}

/// The three layers.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    /// The file's content.
    pub(crate) file: Table,
    /// The file's path and the line of each key.
    path: PathBuf,
    lines: BTreeMap<String, usize>,
    /// Dotted key to variable and value.
    environment: BTreeMap<String, (String, String)>,
    /// Dotted key to flag and value.
    flags: BTreeMap<String, (String, String)>,
    /// Every variable that is text, for `env:…`.
    pub(crate) variables: BTreeMap<String, String>,
    /// What relative paths are relative to.
    pub(crate) folder: PathBuf,
}

impl Layers {
    /// Gathers the layers. An unreadable file or a syntax error ends it: without the file every other finding would
    /// mislead.
    pub(crate) fn gather(inputs: Inputs) -> Result<Self, Vec<ConfigError>> {
        let mut layers = Self {
            folder: PathBuf::from("."),
            ..Self::default()
        };
        if let Some(file) = inputs.file {
            layers.take_file(file).map_err(|error| vec![error])?;
        }
        let errors = layers.take_environment(inputs.environment);
        if !errors.is_empty() {
            return Err(errors);
        }
        for FlagValue { flag, key, value } in inputs.flags {
            layers.flags.insert(key.to_owned(), (flag.to_owned(), value));
        }
        Ok(layers)
    }

    fn take_file(&mut self, file: ConfigFile) -> Result<(), ConfigError> {
        let text = match file {
            ConfigFile::Text { text, folder } => {
                self.path = PathBuf::from("built-in configuration");
                self.folder = folder;
                text
            }
            ConfigFile::Path(path) => {
                self.folder = match path.parent() {
                    Some(folder) if folder != Path::new("") => folder.to_owned(),
                    _ => PathBuf::from("."),
                };
                self.path = path;
                self.read_file()?
            }
        };
        let parsed = DeTable::parse(&text).and_then(|spans| Ok((spans, text.parse::<Table>()?)));
        let (spans, table) = parsed.map_err(|error| {
            let line = error.span().map(|span| line_of(&text, span.start));
            // Only the message: the error's own display repeats the line, which may hold what should not be shown.
            self.file_error(
                line,
                format!("is not valid TOML: {}", error.message()),
                "correct the line; keys and sections may appear once only",
            )
        })?;
        record_lines(&text, "", spans.get_ref(), &mut self.lines);
        self.file = table;
        Ok(())
    }

    fn read_file(&self) -> Result<String, ConfigError> {
        let unreadable = |error: std::io::Error| {
            self.file_error(
                None,
                format!("cannot be read: {error}"),
                "name a TOML file that this user may read with --config",
            )
        };
        let mut text = String::new();
        let file = std::fs::File::open(&self.path).map_err(unreadable)?;
        file.take(MAX_FILE_BYTES + 1)
            .read_to_string(&mut text)
            .map_err(unreadable)?;
        if u64::try_from(text.len()).is_ok_and(|len| len <= MAX_FILE_BYTES) {
            Ok(text)
        } else {
            Err(self.file_error(
                None,
                format!("is larger than {MAX_FILE_BYTES} bytes"),
                "name a configuration file with --config",
            ))
        }
    }

    fn file_error(&self, line: Option<usize>, problem: String, remedy: &str) -> ConfigError {
        ConfigError {
            key: String::new(),
            source: Source::File {
                path: self.path.clone(),
                line,
            },
            problem,
            remedy: remedy.to_owned(),
        }
    }

    fn take_environment(&mut self, environment: Vec<(OsString, OsString)>) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        for (name, value) in environment {
            let Ok(name) = name.into_string() else { continue };
            let key = name
                .strip_prefix(PREFIX)
                .map(|rest| rest.replace("__", ".").to_ascii_lowercase());
            match (value.into_string(), key) {
                (Ok(value), None) => {
                    self.variables.insert(name, value);
                }
                (Ok(value), Some(key)) => {
                    self.environment.insert(key, (name, value));
                }
                (Err(_), Some(key)) => errors.push(ConfigError {
                    key,
                    source: Source::Environment { variable: name },
                    problem: "is not UTF-8".to_owned(),
                    remedy: "set it to UTF-8 text".to_owned(),
                }),
                (Err(_), None) => {}
            }
        }
        errors
    }

    /// The value that holds for a key (`server.listen`), and where it was set.
    pub(crate) fn lookup<'a>(&'a self, key: &str, in_file: Option<&'a Value>) -> Option<(Raw<'a>, Source)> {
        if let Some((flag, value)) = self.flags.get(key) {
            return Some((Raw::Text(value), Source::Flag { flag: flag.clone() }));
        }
        if let Some((variable, value)) = self.environment.get(key) {
            let source = Source::Environment {
                variable: variable.clone(),
            };
            return Some((Raw::Text(value), source));
        }
        in_file.map(|value| (Raw::Typed(value), self.file_source(key)))
    }

    /// The file as a source, with the line of this key or of the nearest table around it.
    pub(crate) fn file_source(&self, key: &str) -> Source {
        let mut near = key;
        let line = loop {
            if let Some(line) = self.lines.get(near) {
                break Some(*line);
            }
            match near.rfind(['.', '[']) {
                Some(end) => near = near.get(..end).unwrap_or_default(),
                None => break None,
            }
        };
        Source::File {
            path: self.path.clone(),
            line,
        }
    }

    /// Every key that is set, by a digest of its value's text: to see what another reading has changed. A table in an array is
    /// part of its array.
    pub(crate) fn written(&self) -> BTreeMap<String, Sha256Digest> {
        let mut all = BTreeMap::new();
        write_down("", &self.file, &mut all);
        for (key, (_, value)) in self.environment.iter().chain(&self.flags) {
            all.insert(key.clone(), Sha256Digest::of(value.as_bytes()));
        }
        all
    }

    /// True when environment or flags set anything below this section.
    pub(crate) fn sets_below(&self, section: &str) -> bool {
        let below = |key: &String| {
            key.strip_prefix(section)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        self.environment.keys().any(below) || self.flags.keys().any(below)
    }

    /// Keys set by environment and flags, with their source.
    pub(crate) fn overrides(&self) -> impl Iterator<Item = (&str, Source)> {
        let environment = self.environment.iter().map(|(key, (variable, _))| {
            let variable = variable.clone();
            (key.as_str(), Source::Environment { variable })
        });
        let flags = self.flags.iter().map(|(key, (flag, _))| {
            let flag = flag.clone();
            (key.as_str(), Source::Flag { flag })
        });
        environment.chain(flags)
    }
}

fn write_down(prefix: &str, table: &Table, all: &mut BTreeMap<String, Sha256Digest>) {
    for (name, value) in table {
        let key = join(prefix, name);
        match value {
            Value::Table(table) => write_down(&key, table, all),
            value => {
                all.insert(key, Sha256Digest::of(value.to_string().as_bytes()));
            }
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or_default();
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

fn record_lines(text: &str, prefix: &str, table: &DeTable<'_>, lines: &mut BTreeMap<String, usize>) {
    for (name, value) in table {
        let key = join(prefix, name.get_ref());
        lines.insert(key.clone(), line_of(text, name.span().start));
        record_value(text, &key, value, lines);
    }
}

fn record_value(text: &str, key: &str, value: &Spanned<DeValue<'_>>, lines: &mut BTreeMap<String, usize>) {
    match value.get_ref() {
        DeValue::Table(table) => record_lines(text, key, table, lines),
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let key = format!("{key}[{index}]");
                lines.insert(key.clone(), line_of(text, item.span().start));
                record_value(text, &key, item, lines);
            }
        }
        _ => {}
    }
}

/// `server` and `listen` give `server.listen`; an empty prefix gives the name.
pub(crate) fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() {
        name.to_owned()
    } else {
        format!("{prefix}.{name}")
    }
}
