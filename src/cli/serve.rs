//! `signer serve` and `signer dev`: the same service, once from an operator's configuration, once from a made one.

use std::io::{self, Write};
use std::path::PathBuf;

use actix_rt::System;
use serde_json::json;

use super::dev::{self, DevArgs};
use super::{Exit, say};
use crate::bootstrap::{self, Service};
use crate::config::{self, ConfigError, ConfigFile, FlagValue, Inputs, LogFormat, Settings};
use crate::shutdown::{Cause, drain, wait};
use crate::telemetry::logging::{self, Logging};
use crate::telemetry::panics;

/// Arguments of `signer serve`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ServeArgs {
    /// Configuration file (TOML); every key can also be set as SIGNER__SECTION__KEY
    #[arg(long, value_name = "FILE", env = "SIGNER_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where to listen, instead of server.listen
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// Where operators find metrics, instead of server.metrics_listen
    #[arg(long, value_name = "ADDR")]
    pub metrics_listen: Option<String>,
    /// error, warn, info or debug, instead of log.level
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// json or pretty, instead of log.format
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

impl ServeArgs {
    /// What the configuration is read from.
    pub fn inputs(&self) -> Inputs {
        let flags = [
            ("--listen", "server.listen", &self.listen),
            ("--metrics-listen", "server.metrics_listen", &self.metrics_listen),
            ("--log-level", "log.level", &self.log_level),
            ("--log-format", "log.format", &self.log_format),
        ];
        let flags = flags
            .into_iter()
            .filter_map(|(flag, key, value)| value.clone().map(|value| FlagValue { flag, key, value }));
        Inputs {
            file: self.config.clone().map(ConfigFile::Path),
            environment: std::env::vars_os()
                .filter(|(name, _)| name != "SIGNER_CONFIG")
                .collect(),
            flags: flags.collect(),
        }
    }
}

/// Tells every error of a configuration: key, problem, remedy.
pub fn report(errors: &[ConfigError], err: &mut dyn Write) -> Exit {
    say(
        err,
        &format!(
            "{} in the configuration:",
            if errors.len() == 1 { "1 error" } else { "errors" }
        ),
    );
    for error in errors {
        let key = if error.key.is_empty() {
            "configuration"
        } else {
            &error.key
        };
        say(err, &format!("\n  {key}  ({})", error.source));
        say(err, &format!("    problem: {}", error.problem));
        say(err, &format!("    remedy:  {}", error.remedy));
    }
    Exit::Usage
}

/// Runs the service until it is told to end.
pub fn run(args: &ServeArgs) -> Exit {
    let settings = match config::load(args.inputs()) {
        Ok(settings) => settings,
        Err(errors) => return report(&errors, &mut io::stderr()),
    };
    let logging = start_log(&settings);
    System::new().block_on(async {
        let service = match bootstrap::start(&settings, logging.logger().clone()).await {
            Ok(service) => service,
            Err(error) => return cannot_start(&error),
        };
        let ready = json!({
            "ready": true,
            "listen": service.listen.to_string(),
            "metrics": service.metrics_listen.map(|address| address.to_string()),
        });
        let mut out = io::stdout();
        say(&mut out, &ready.to_string());
        until_told(service, &logging).await
    })
}

/// Runs the service with its neighbours.
pub fn run_dev(args: &DevArgs) -> Exit {
    System::new().block_on(async {
        let prepared = match dev::prepare(args).await {
            Ok(prepared) => prepared,
            Err(error) => {
                say(&mut io::stderr(), &format!("error: {error}"));
                return Exit::from_code(error.exit_code());
            }
        };
        let inputs = Inputs {
            file: Some(ConfigFile::Path(prepared.config.clone())),
            environment: Vec::new(),
            flags: Vec::new(),
        };
        let settings = match config::load(inputs) {
            Ok(settings) => settings,
            Err(errors) => return report(&errors, &mut io::stderr()),
        };
        let logging = start_log(&settings);
        let service = match bootstrap::start(&settings, logging.logger().clone()).await {
            Ok(service) => service,
            Err(error) => return cannot_start(&error),
        };
        let places = dev::Service {
            listen: service.listen,
            metrics: service.metrics_listen,
        };
        let code = prepared
            .announce(args, places, &mut io::stdout(), &mut io::stderr())
            .await;
        if args.once {
            let timeout = service.drain_timeout;
            drain(service, timeout).await;
            return Exit::from_code(code);
        }
        until_told(service, &logging).await
    })
}

fn cannot_start(error: &bootstrap::StartError) -> Exit {
    say(
        &mut io::stderr(),
        &format!("error: the service cannot start: {error}"),
    );
    Exit::Usage
}

/// Logs go to standard error: standard output is for the ready line.
fn start_log(settings: &Settings) -> Logging {
    let format = match settings.log.format {
        LogFormat::Json => logging::Format::Json,
        LogFormat::Pretty => logging::Format::Pretty,
    };
    let level =
        slog::FilterLevel::from_usize(settings.log.level.as_usize()).unwrap_or(slog::FilterLevel::Info);
    let logging = Logging::start(
        &logging::Settings {
            level,
            format,
            ..logging::Settings::default()
        },
        io::stderr(),
    );
    panics::install(logging.logger());
    for warning in &settings.warnings {
        slog::warn!(logging.logger(), "configuration"; "key" => &warning.key, "problem" => &warning.problem,
            "remedy" => &warning.remedy);
    }
    logging
}

async fn until_told(service: Service, logging: &Logging) -> Exit {
    let timeout = service.drain_timeout;
    let cause = wait(&service).await;
    match cause {
        Ok(Cause::Signal) => {
            let abandoned = drain(service, timeout).await;
            if abandoned == 0 { Exit::Done } else { Exit::Refused }
        }
        Ok(Cause::Fatal(actor)) => {
            slog::crit!(logging.logger(), "an actor is beyond saving: the process ends to be started anew"; "actor" => actor);
            drain(service, timeout).await;
            Exit::Refused
        }
        Err(error) => {
            slog::crit!(logging.logger(), "signals cannot be received"; "reason" => %error);
            drain(service, timeout).await;
            Exit::Refused
        }
    }
}
