//! The service as operators run it: a process of its own.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use serde_json::Value;

use super::World;

/// The binary under test.
pub(crate) const SIGNER: &str = env!("CARGO_BIN_EXE_signer");

/// A running process; killed when dropped.
pub(crate) struct Child {
    process: std::process::Child,
    /// What it wrote to standard output up to the ready line, that line included.
    pub(crate) said: Vec<String>,
    /// Where it listens.
    pub(crate) base: String,
    log: PathBuf,
}

impl Child {
    /// `signer serve` in this world, ready.
    pub(crate) fn serve(world: &World, name: &str) -> Self {
        let mut command = Command::new(SIGNER);
        command.args(["serve", "--config"]).arg(world.config_file());
        Self::spawn(command, world.folder.path(), name)
    }

    /// The same, and then a limit on the size of files, as a full disk would have it.
    pub(crate) fn serve_with_file_limit(world: &World, name: &str, kibibytes: usize) -> Self {
        let mut command = Command::new("bash");
        // Ignored signals stay ignored across exec: a write beyond the limit fails with EFBIG.
        command
            .args([
                "-c",
                r#"trap "" XFSZ; exec "$@""#,
                "bash",
                SIGNER,
                "serve",
                "--config",
            ])
            .arg(world.config_file());
        let child = Self::spawn(command, world.folder.path(), name);
        // Not earlier: what a start makes is larger.
        let limited = Command::new("prlimit")
            .args(["--pid", &child.pid().to_string()])
            .arg(format!("--fsize={}:unlimited", kibibytes * 1024))
            .status();
        assert!(
            limited.is_ok_and(|status| status.success()),
            "prlimit (util-linux) sets the limit"
        );
        child
    }

    fn spawn(mut command: Command, folder: &Path, name: &str) -> Self {
        let log = folder.join(format!("{name}.log"));
        command
            .env_clear()
            // Which check is taken away, where tests/weakenings has it taken away.
            .envs(std::env::var_os("WEAKEN").map(|id| ("WEAKEN", id)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap());
        let mut process = command.spawn().unwrap();
        let mut said = Vec::new();
        let mut base = None;
        for line in BufReader::new(process.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let parsed: Option<Value> = serde_json::from_str(&line).ok();
            said.push(line);
            if let Some(ready) = parsed.filter(|line| line["ready"] == true) {
                base = ready["listen"].as_str().map(|listen| format!("http://{listen}"));
                break;
            }
        }
        let base = base.unwrap_or_else(|| {
            panic!("not ready: {said:?} {}", std::fs::read_to_string(&log).unwrap());
        });
        Self {
            process,
            said,
            base,
            log,
        }
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.send("-TERM");
    }

    /// Sends SIGHUP.
    pub(crate) fn hang_up(&self) {
        self.send("-HUP");
    }

    fn send(&self, signal: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Where operators look.
    pub(crate) fn operations(&self) -> String {
        let ready: Value = serde_json::from_str(self.said.last().unwrap()).unwrap();
        format!("http://{}", ready["metrics"].as_str().unwrap())
    }

    /// Sends SIGKILL and reaps.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// The status, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What it logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
