//! Reads keys one by one. Each key is declared where it is read, once: name, default, documentation, parser. The same
//! declarations give the typed settings, the list of known keys, and `config/reference.toml`.
//!
//! A section's function reads *all* its keys into `Option`s before it builds anything, so that every error is seen.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::{Table, Value};

use super::error::{ConfigError, Problem, Source, Warning};
use super::layers::{Layers, Raw, join};
use super::parse;
use super::suggest::nearest;

/// A key as declared.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    /// The default, or an example when the key is required. Its type is the key's type.
    pub(crate) value: Value,
    pub(crate) required: bool,
    pub(crate) doc: &'static str,
}

/// A key with a default.
pub(crate) fn key(name: &'static str, default: impl Into<Value>, doc: &'static str) -> Key {
    Key {
        name,
        value: default.into(),
        required: false,
        doc,
    }
}

/// A key that must be set; `example` shows what it looks like.
pub(crate) fn required(name: &'static str, example: impl Into<Value>, doc: &'static str) -> Key {
    Key {
        name,
        value: example.into(),
        required: true,
        doc,
    }
}

/// A section or key, in the order of declaration.
#[derive(Clone, Debug)]
pub(crate) enum Declared {
    Section {
        path: String,
        doc: &'static str,
        repeated: bool,
    },
    Key {
        section: String,
        key: Key,
    },
}

/// What all sections share: the layers, and what has been found so far.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    pub(crate) layers: Layers,
    pub(crate) errors: Vec<ConfigError>,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) declared: Vec<Declared>,
    /// True when only the declarations are wanted: every section is entered, errors mean nothing.
    describing: bool,
}

impl Reader {
    pub(crate) fn new(layers: Layers) -> Self {
        Self {
            layers,
            ..Self::default()
        }
    }

    /// Collects declarations instead of values.
    pub(crate) fn describing() -> Self {
        Self {
            describing: true,
            ..Self::default()
        }
    }

    /// Reads everything below the root and refuses what no one declared.
    pub(crate) fn root<T>(&mut self, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let table = self.layers.file.clone();
        let mut root = Section {
            reader: self,
            path: String::new(),
            table,
            origin: None,
            known: Vec::new(),
        };
        let value = read(&mut root);
        root.refuse_unknown();
        value
    }

    /// Adds an error about a key whose value came from wherever it was set.
    pub(crate) fn report(&mut self, key: &str, problem: Problem) {
        let source = self.origin(key);
        let Problem { problem, remedy } = problem;
        self.errors.push(ConfigError {
            key: key.to_owned(),
            source,
            problem,
            remedy,
        });
    }

    fn origin(&self, key: &str) -> Source {
        let mut at = Some(&Value::Table(self.layers.file.clone())).cloned();
        for part in key.split(['.', '[']) {
            at = at.and_then(|value| match part.strip_suffix(']') {
                Some(index) => value.get(index.parse::<usize>().ok()?).cloned(),
                None => value.get(part).cloned(),
            });
        }
        let whole = key.split('[').next().unwrap_or(key);
        let over = self.layers.lookup(whole, None).map(|(_, source)| source);
        over.or_else(|| at.map(|_| self.layers.file_source(key)))
            .unwrap_or(Source::Unset)
    }
}

/// One table of the configuration while it is read.
#[derive(Debug)]
pub(crate) struct Section<'r> {
    reader: &'r mut Reader,
    path: String,
    table: Table,
    /// For a table inside an array: where the array was set. Such keys have no variables of their own.
    origin: Option<Source>,
    known: Vec<&'static str>,
}

impl Section<'_> {
    /// Dotted path of a key of this section.
    pub(crate) fn path(&self, name: &str) -> String {
        join(&self.path, name)
    }

    /// Where a key of this section was set.
    fn find(&self, name: &str, like: &Value) -> Result<Option<(Value, Source)>, ConfigError> {
        let path = self.path(name);
        let in_table = self.table.get(name);
        let found = match &self.origin {
            Some(origin) => in_table.map(|value| {
                let source = match origin {
                    Source::File { .. } => self.reader.layers.file_source(&path),
                    other => other.clone(),
                };
                (Raw::Typed(value), source)
            }),
            None => self.reader.layers.lookup(&path, in_table),
        };
        let Some((raw, source)) = found else {
            return Ok(None);
        };
        let typed = match raw {
            Raw::Typed(value) => parse::same_type(value, like),
            Raw::Text(text) => parse::coerce(text, like),
        };
        match typed {
            Ok(value) => Ok(Some((value, source))),
            Err(Problem { problem, remedy }) => Err(ConfigError {
                key: path,
                source,
                problem,
                remedy,
            }),
        }
    }

    /// The value of a key: set, or default. `None` once an error has been noted.
    fn value(&mut self, key: Key) -> Option<(Value, Source)> {
        let found = self.find(key.name, &key.value);
        let (name, default, needed) = (key.name, key.value.clone(), key.required);
        self.known.push(name);
        let shown = match &found {
            // The example of a table that differs by kind is told its kind.
            Ok(Some((value, _))) if self.reader.describing => value.clone(),
            _ => default.clone(),
        };
        self.reader.declared.push(Declared::Key {
            section: self.path.clone(),
            key: Key { value: shown, ..key },
        });
        match found {
            Ok(Some(found)) => Some(found),
            Ok(None) if needed => {
                let error = ConfigError {
                    key: self.path(name),
                    source: Source::Unset,
                    problem: "is required and not set".to_owned(),
                    remedy: format!("set it, for example {name} = {default}"),
                };
                self.reader.errors.push(error);
                None
            }
            Ok(None) => Some((default, Source::Unset)),
            Err(error) => {
                self.reader.errors.push(error);
                None
            }
        }
    }

    fn accept<T>(&mut self, key: String, source: Source, parsed: Result<T, Problem>) -> Option<T> {
        match parsed {
            Ok(value) => Some(value),
            Err(Problem { problem, remedy }) => {
                self.reader.errors.push(ConfigError {
                    key,
                    source,
                    problem,
                    remedy,
                });
                None
            }
        }
    }

    /// A key whose text a parser turns into something better.
    pub(crate) fn text<T>(
        &mut self,
        key: Key,
        parser: impl FnOnce(&str, &Layers) -> Result<T, Problem>,
    ) -> Option<T> {
        let path = self.path(key.name);
        let (value, source) = self.value(key)?;
        let parsed = parser(value.as_str().unwrap_or_default(), &self.reader.layers);
        self.accept(path, source, parsed)
    }

    /// As [`Self::text`], and empty text means none.
    pub(crate) fn optional<T>(
        &mut self,
        key: Key,
        parser: impl FnOnce(&str, &Layers) -> Result<T, Problem>,
    ) -> Option<Option<T>> {
        self.text(key, |text, layers| match text {
            "" => Ok(None),
            text => parser(text, layers).map(Some),
        })
    }

    /// A list of texts, each parsed; at most `most` of them.
    pub(crate) fn list<T>(
        &mut self,
        key: Key,
        most: usize,
        parser: impl Fn(&str, &Layers) -> Result<T, Problem>,
    ) -> Option<Vec<T>> {
        let path = self.path(key.name);
        let (value, source) = self.value(key)?;
        let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
        if items.len() > most {
            let problem = format!("has {} entries, more than {most}", items.len());
            return self.accept(path, source, Err(Problem::new(problem, "shorten the list")));
        }
        let mut all = Some(Vec::with_capacity(items.len()));
        for (index, item) in items.iter().enumerate() {
            let parsed = match item.as_str() {
                Some(text) => parser(text, &self.reader.layers),
                None => Err(parse::wrong_type("string", item)),
            };
            let parsed = self.accept(format!("{path}[{index}]"), source.clone(), parsed);
            all = all.zip(parsed).map(|(mut all, item)| {
                all.push(item);
                all
            });
        }
        all
    }

    /// A whole number inside bounds.
    pub(crate) fn integer<T: TryFrom<i64>>(&mut self, key: Key, bounds: RangeInclusive<i64>) -> Option<T> {
        let path = self.path(key.name);
        let (value, source) = self.value(key)?;
        let number = value.as_integer().unwrap_or_default();
        let inside = bounds.contains(&number).then(|| T::try_from(number).ok());
        let parsed = inside.flatten().ok_or_else(|| {
            let remedy = format!("choose a number from {} to {}", bounds.start(), bounds.end());
            Problem::new(format!("{number} is out of bounds"), remedy)
        });
        self.accept(path, source, parsed)
    }

    /// `true` or `false`.
    pub(crate) fn switch(&mut self, key: Key) -> Option<bool> {
        self.value(key)?.0.as_bool()
    }

    /// A length of time inside bounds.
    pub(crate) fn duration(&mut self, key: Key, bounds: RangeInclusive<Duration>) -> Option<Duration> {
        self.text(key, |text, _| parse::duration(text, &bounds))
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(&mut self, key: Key, words: &[(&str, T)]) -> Option<T> {
        self.text(key, |text, _| parse::choice(text, words))
    }

    /// A table below this one that is always there.
    pub(crate) fn section<T>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        read: impl FnOnce(&mut Section<'_>) -> Option<T>,
    ) -> Option<T> {
        let table = self.subtable(name)?;
        self.enter(name, doc, table.unwrap_or_default(), read)
    }

    /// A table that may be left out: `Some(None)` then.
    pub(crate) fn optional_section<T>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        read: impl FnOnce(&mut Section<'_>) -> Option<T>,
    ) -> Option<Option<T>> {
        let table = self.subtable(name)?;
        let path = self.path(name);
        if table.is_none() && !self.reader.layers.sets_below(&path) && !self.reader.describing {
            return Some(None);
        }
        self.enter(name, doc, table.unwrap_or_default(), read).map(Some)
    }

    /// An array of tables, at most `most`. `kinds` lists the values of the key `kind`, if tables differ by one.
    pub(crate) fn tables<T>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        most: usize,
        kinds: &[&str],
        mut read: impl FnMut(&mut Section<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        self.known.push(name);
        let path = self.path(name);
        let found = self.find(name, &Value::Array(Vec::new()));
        let (items, origin) = match found {
            Ok(found) => found.unwrap_or((Value::Array(self.examples(kinds)), Source::Unset)),
            Err(error) => {
                self.reader.errors.push(error);
                return None;
            }
        };
        let items = items.as_array().cloned().unwrap_or_default();
        if items.len() > most {
            let problem = format!("has {} entries, more than {most}", items.len());
            return self.accept(path, origin, Err(Problem::new(problem, "shorten the list")));
        }
        let mut all = Some(Vec::with_capacity(items.len()));
        for (index, item) in items.into_iter().enumerate() {
            let at = format!("{path}[{index}]");
            let table = match item {
                Value::Table(table) => Ok(table),
                other => Err(parse::wrong_type("table", &other)),
            };
            let table = self.accept(at.clone(), origin.clone(), table);
            let value =
                table.and_then(|table| self.enter_item(&path, at, doc, table, origin.clone(), &mut read));
            all = all.zip(value).map(|(mut all, value)| {
                all.push(value);
                all
            });
        }
        all
    }

    fn examples(&self, kinds: &[&str]) -> Vec<Value> {
        let tables = |kind: &&str| Table::from_iter([("kind".to_owned(), Value::from(*kind))]);
        match (self.reader.describing, kinds) {
            (false, _) => Vec::new(),
            (true, []) => vec![Value::Table(Table::new())],
            (true, kinds) => kinds.iter().map(tables).map(Value::Table).collect(),
        }
    }

    fn subtable(&mut self, name: &'static str) -> Option<Option<Table>> {
        self.known.push(name);
        match self.table.get(name) {
            None => Some(None),
            Some(Value::Table(table)) => Some(Some(table.clone())),
            Some(other) => {
                let (path, problem) = (self.path(name), parse::wrong_type("table", other));
                self.reader.report(&path, problem);
                None
            }
        }
    }

    fn enter<T>(
        &mut self,
        name: &str,
        doc: &'static str,
        table: Table,
        read: impl FnOnce(&mut Section<'_>) -> Option<T>,
    ) -> Option<T> {
        let path = self.path(name);
        self.reader.declared.push(Declared::Section {
            path: path.clone(),
            doc,
            repeated: false,
        });
        let mut inner = Section {
            reader: self.reader,
            path,
            table,
            origin: None,
            known: Vec::new(),
        };
        let value = read(&mut inner);
        inner.refuse_unknown();
        value
    }

    fn enter_item<T>(
        &mut self,
        array: &str,
        path: String,
        doc: &'static str,
        table: Table,
        origin: Source,
        read: &mut impl FnMut(&mut Section<'_>) -> Option<T>,
    ) -> Option<T> {
        self.reader.declared.push(Declared::Section {
            path: array.to_owned(),
            doc,
            repeated: true,
        });
        let mut inner = Section {
            reader: self.reader,
            path,
            table,
            origin: Some(origin),
            known: Vec::new(),
        };
        let value = read(&mut inner);
        // Without its kind nothing else of a table was looked at, so nothing else can be called unknown.
        if value.is_some() || inner.known.len() > 1 {
            inner.refuse_unknown();
        }
        value
    }

    /// Notes an error about a key of this section.
    pub(crate) fn refuse(&mut self, name: &str, problem: impl Into<String>, remedy: impl Into<String>) {
        let path = self.path(name);
        self.reader.report(&path, Problem::new(problem, remedy));
    }

    /// Notes something that works but is unusual.
    pub(crate) fn warn(&mut self, name: &str, problem: impl Into<String>, remedy: impl Into<String>) {
        let warning = Warning {
            key: self.path(name),
            problem: problem.into(),
            remedy: remedy.into(),
        };
        self.reader.warnings.push(warning);
    }

    fn refuse_unknown(&mut self) {
        let unknown: Vec<String> = self
            .table
            .keys()
            .filter(|name| !self.known.contains(&name.as_str()))
            .cloned()
            .collect();
        for name in unknown {
            let path = self.path(&name);
            let remedy = match nearest(&name, self.known.iter().copied()) {
                Some(near) => format!("did you mean {}?", self.path(near)),
                None => "remove it; config/reference.toml lists every key".to_owned(),
            };
            let source = match &self.origin {
                Some(origin @ (Source::Environment { .. } | Source::Flag { .. })) => origin.clone(),
                _ => self.reader.layers.file_source(&path),
            };
            self.reader.errors.push(ConfigError {
                key: path,
                source,
                problem: "is not a key of this version".to_owned(),
                remedy,
            });
        }
    }
}
