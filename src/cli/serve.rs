//! `signer serve` and `signer dev`: the same service, once from an operator's configuration, once from a made one.

use std::io::{self, Write};
use std::sync::Arc;

use serde_json::json;

use super::args::ServeArgs;
use super::dev::{self, DevArgs};
use super::{Exit, report_errors, say};
use crate::bootstrap::{self, Service};
use crate::config::{self, ConfigFile, Inputs, LogFormat, Settings};
use crate::shutdown::{Cause, drain, wait};
use crate::telemetry::logging::{self, Logging};
use crate::telemetry::panics;

/// Runs the service until it is told to end.
pub async fn run(args: &ServeArgs, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    let settings = match load(args.config.inputs(), err) {
        Ok(settings) => settings,
        Err(exit) => return exit,
    };
    let logging = start_log(&settings);
    let service = match bootstrap::start(&settings, logging.logger().clone()).await {
        Ok(service) => service,
        Err(error) => return cannot_start(&error, err),
    };
    let ready = json!({
        "ready": true,
        "listen": service.listen.to_string(),
        "metrics": service.metrics_listen.map(|address| address.to_string()),
    });
    say(out, &ready.to_string());
    until_told(service, &logging).await
}

/// Runs the service with its neighbours. They end when it does.
pub async fn run_dev(args: &DevArgs, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    let prepared = match dev::prepare(args).await {
        Ok(prepared) => prepared,
        Err(error) => {
            say(err, &format!("error: {error}"));
            return Exit::from_code(error.exit_code());
        }
    };
    let file = Some(ConfigFile::Path(prepared.config.clone()));
    let settings = match load(
        Inputs {
            file,
            ..Inputs::default()
        },
        err,
    ) {
        Ok(settings) => settings,
        Err(exit) => return exit,
    };
    let logging = start_log(&settings);
    let service = match bootstrap::start(&settings, logging.logger().clone()).await {
        Ok(service) => service,
        Err(error) => return cannot_start(&error, err),
    };
    let places = dev::Service {
        listen: service.listen,
        metrics: service.metrics_listen,
        measured: Arc::clone(&service.state.metrics),
    };
    let code = prepared.announce(args, places, out, err).await;
    if args.once {
        let timeout = service.drain_timeout;
        drain(service, timeout).await;
        return Exit::from_code(code);
    }
    until_told(service, &logging).await
}

fn load(inputs: Inputs, err: &mut dyn Write) -> Result<Settings, Exit> {
    config::load(inputs).map_err(|errors| {
        let _: io::Result<()> = report_errors(err, &errors);
        Exit::Usage
    })
}

fn cannot_start(error: &bootstrap::StartError, err: &mut dyn Write) -> Exit {
    say(err, &format!("error: the service cannot start: {error}"));
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
