//! What the store decides, in its own language: each script is one atomic step by the server's clock.

use redis::{Cmd, FromRedisValue, Value};

use super::failure::Failure;

macro_rules! script {
    ($name:literal, $($part:literal),+) => {
        Script { name: $name, text: concat!(include_str!("scripts/birth.lua"), $(include_str!(concat!("scripts/", $part)),)+) }
    };
}

/// A script and the place of its digest in [`Digests`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Script {
    /// What it is called in metrics, and in the folder `scripts`.
    pub(super) name: &'static str,
    /// Its text.
    pub(super) text: &'static str,
}

pub(super) const MEET: Script = script!("connect", "meet.lua");
pub(super) const SPEND: Script = script!("spend", "spend.lua");
pub(super) const ADMIT: Script = script!("admit", "rate.lua", "admit.lua");
pub(super) const CHARGE: Script = script!("charge", "rate.lua", "charge.lua");
pub(super) const RENEW: Script = script!("renew", "renew.lua");
pub(super) const CLAIM: Script = script!("claim", "keys.lua", "claim.lua");
pub(super) const BEGIN: Script = script!("begin", "keys.lua", "begin.lua");
pub(super) const KEEP: Script = script!("keep", "keys.lua", "keep.lua");
pub(super) const GIVE_UP: Script = script!("give_up", "keys.lua", "give_up.lua");

const ALL: [Script; 9] = [MEET, SPEND, ADMIT, CHARGE, RENEW, CLAIM, BEGIN, KEEP, GIVE_UP];

/// The names that one server gave to the scripts.
#[derive(Clone, Debug)]
pub(super) struct Digests(Vec<String>);

impl Digests {
    /// Commands that load every script; [`Self::of`] reads their answers.
    pub(super) fn load() -> redis::Pipeline {
        let mut all = redis::pipe();
        for script in ALL {
            all.cmd("SCRIPT").arg("LOAD").arg(script.text);
        }
        all
    }

    pub(super) fn of(answers: Vec<Value>) -> Option<Self> {
        let names = answers
            .into_iter()
            .map(|answer| String::from_redis_value(answer).ok());
        let names: Vec<String> = names.collect::<Option<_>>()?;
        (names.len() == ALL.len()).then_some(Self(names))
    }

    /// The command that runs a script by its digest.
    pub(super) fn run(&self, script: Script, call: &Call) -> Cmd {
        let known = ALL.iter().zip(&self.0).find(|(known, _)| **known == script);
        let mut command = redis::cmd("EVALSHA");
        command.arg(known.map_or("", |(_, digest)| digest.as_str()));
        call.append_to(&mut command);
        command
    }
}

/// The command that runs a script by its text, for a server that has forgotten it; it remembers it then.
pub(super) fn run_text(script: Script, call: &Call) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(script.text);
    call.append_to(&mut command);
    command
}

/// Keys and arguments of a script.
#[derive(Clone, Debug, Default)]
pub(super) struct Call {
    keys: Vec<String>,
    arguments: Vec<Vec<u8>>,
}

impl Call {
    pub(super) fn key(mut self, key: String) -> Self {
        self.keys.push(key);
        self
    }

    pub(super) fn number(self, number: impl Into<i128>) -> Self {
        self.bytes(number.into().to_string())
    }

    pub(super) fn bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.arguments.push(bytes.into());
        self
    }

    fn append_to(&self, command: &mut Cmd) {
        command.arg(self.keys.len());
        self.keys.iter().for_each(|key| {
            command.arg(key);
        });
        self.arguments.iter().for_each(|argument| {
            command.arg(argument.as_slice());
        });
    }
}

/// What a script answered: a word, the server's time and the birth, and what else it has to say, whole numbers first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// `ok` or why not.
    pub(super) word: String,
    /// The server's clock, in µs since 1970.
    pub(super) now: u64,
    /// Since when the server remembers everything, on the same clock.
    pub(super) born: u64,
    /// Further numbers.
    pub(super) numbers: Vec<u64>,
    /// The rest.
    pub(super) texts: Vec<Vec<u8>>,
}

impl Answer {
    /// Anything but a word, whole numbers and strings is no answer of ours.
    pub(super) fn of(value: Value) -> Result<Self, Failure> {
        let strange = || Failure::Answer("not an answer of a script of this service".into());
        let Value::Array(members) = value else {
            return Err(strange());
        };
        let mut members = members.into_iter();
        let word = match members.next() {
            Some(Value::BulkString(bytes)) => String::from_utf8(bytes).map_err(|_| strange())?,
            _ => return Err(strange()),
        };
        let (mut numbers, mut texts) = (Vec::new(), Vec::new());
        for member in members {
            match member {
                Value::Int(number) if texts.is_empty() => {
                    numbers.push(u64::try_from(number).map_err(|_| strange())?);
                }
                Value::BulkString(bytes) => texts.push(bytes),
                _ => return Err(strange()),
            }
        }
        let mut numbers = numbers.into_iter();
        Ok(Self {
            now: numbers.next().ok_or_else(strange)?,
            born: numbers.next().ok_or_else(strange)?,
            numbers: numbers.collect(),
            texts,
            word,
        })
    }

    /// Exactly so many further numbers, of an answer that says `ok`.
    pub(super) fn numbers<const N: usize>(&self) -> Result<[u64; N], Failure> {
        let strange = || Failure::Answer(format!("an unexpected answer {:?}", self.word));
        match (self.word.as_str(), <[u64; N]>::try_from(self.numbers.as_slice())) {
            ("ok", Ok(numbers)) => Ok(numbers),
            ("settling", _) => Err(Failure::Settling(self.numbers.first().copied().unwrap_or(0))),
            _ => Err(strange()),
        }
    }
}
