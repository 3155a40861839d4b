//! `signer serve`: the service.

use std::io::Write;

use super::args::ServeArgs;
use super::{Exit, missing, report_errors};
use crate::config::{self, Inputs, Settings};

/// Loads the configuration and runs the service until it is told to stop.
pub async fn run(args: &ServeArgs, err: &mut dyn Write) -> Exit {
    let inputs = args.config.inputs();
    match config::load(inputs.clone()) {
        Ok(settings) => start(settings, inputs, err).await,
        Err(errors) => {
            let _ = report_errors(err, &errors);
            Exit::Usage
        }
    }
}

/// Hands over to [`crate::bootstrap`]. `inputs` is what `SIGHUP` loads again.
// INTEGRATION: replace the body by `crate::bootstrap::run(settings, inputs).await`.
async fn start(_settings: Settings, _inputs: Inputs, err: &mut dyn Write) -> Exit {
    missing(err, "serve")
}
