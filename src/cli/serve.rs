//! `signer serve` and `signer dev`: the same service, once from an operator's configuration, once from a made one.

use std::io::{self, Write};
use std::sync::Arc;

use super::args::ServeArgs;
use super::dev::{self, DevArgs};
use super::{Exit, report_errors, say, say_ready};
use crate::bootstrap::reload::Reloader;
use crate::bootstrap::{self, Service};
use crate::config::{self, ConfigFile, Inputs, LogFormat, Settings};
use crate::shutdown::{Cause, drain, wait};
use crate::telemetry::logging::{self, Logging};
use crate::telemetry::panics;

/// Runs the service until it is told to end.
pub async fn run(args: &ServeArgs, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    let inputs = args.config.inputs();
    let settings = match load(inputs.clone(), err) {
        Ok(settings) => settings,
        Err(exit) => return exit,
    };
    let (logging, mut service) = match begin(&settings, err).await {
        Ok(begun) => begun,
        Err(exit) => return exit,
    };
    say_ready(out, service.listen, service.metrics_listen);
    let mut reloader = service.reloader.take();
    let reload = async || {
        if let Some(reloader) = &mut reloader {
            reload(inputs.clone(), &logging, reloader).await;
        }
    };
    until_told(service, &logging, reload).await
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
    let (logging, service) = match begin(&settings, err).await {
        Ok(begun) => begun,
        Err(exit) => return exit,
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
    // Its configuration is made anew by every run.
    until_told(service, &logging, async || ()).await
}

fn load(inputs: Inputs, err: &mut dyn Write) -> Result<Settings, Exit> {
    config::load(inputs).map_err(|errors| {
        let _: io::Result<()> = report_errors(err, &errors);
        Exit::Usage
    })
}

async fn begin(settings: &Settings, err: &mut dyn Write) -> Result<(Logging, Service), Exit> {
    let logging = start_log(settings);
    match bootstrap::start(settings, logging.logger().clone()).await {
        Ok(service) => Ok((logging, service)),
        Err(error) => {
            say(err, &format!("error: the service cannot start: {error}"));
            Err(Exit::Usage)
        }
    }
}

/// Logs go to standard error: standard output is for the ready line.
fn start_log(settings: &Settings) -> Logging {
    let format = match settings.log.format {
        LogFormat::Json => logging::Format::Json,
        LogFormat::Pretty => logging::Format::Pretty,
    };
    let level = level_of(settings);
    let logging = Logging::start(
        &logging::Settings {
            level,
            format,
            ..logging::Settings::default()
        },
        io::stderr(),
    );
    panics::install(logging.logger());
    warn(settings, &logging);
    logging
}

fn level_of(settings: &Settings) -> slog::FilterLevel {
    slog::FilterLevel::from_usize(settings.log.level.as_usize()).unwrap_or(slog::FilterLevel::Info)
}

/// SIGHUP: reads the configuration again and changes keys, trust and log level to it, all or nothing.
async fn reload(inputs: Inputs, logging: &Logging, reloader: &mut Reloader) {
    match config::load(inputs) {
        Ok(settings) => {
            if reloader.apply(&settings).await.is_ok() {
                logging.level().set(level_of(&settings));
                warn(&settings, logging);
            }
        }
        Err(errors) => reloader.refuse(&errors),
    }
}

fn warn(settings: &Settings, logging: &Logging) {
    for warning in &settings.warnings {
        slog::warn!(logging.logger(), "configuration"; "key" => &warning.key, "problem" => &warning.problem,
            "remedy" => &warning.remedy);
    }
}

async fn until_told(service: Service, logging: &Logging, reload: impl AsyncFnMut()) -> Exit {
    let timeout = service.drain_timeout;
    let cause = wait(&service, reload).await;
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
