//! The `pypicache` binary as a process, built by the tests themselves.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, OnceLock};

use url::Url;

/// A running `pypicache serve`. Killed when it is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it listens.
    pub url: Url,
    output: Arc<Mutex<String>>,
}

impl Server {
    /// Starts `pypicache serve` on a port of the system's choice, with its cache in `directory`.
    #[must_use]
    pub fn start(directory: &Path, arguments: &[&str]) -> Self {
        Self::start_with(directory, arguments, &[])
    }

    /// The same at an address, where an earlier one listened for example.
    #[must_use]
    pub fn start_at(address: &str, directory: &Path, arguments: &[&str]) -> Self {
        Self::launch(command(directory), address, directory, arguments)
    }

    /// The same on a disk that takes no file of more than so many blocks of half a kilobyte or one.
    #[must_use]
    pub fn start_limited(directory: &Path, arguments: &[&str], blocks: u32) -> Self {
        // Without the signal, writing beyond the limit is an error like that of a full disk.
        let line = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        Self::start_through(directory, arguments, &line)
    }

    /// The same started by a line of shell, which has the binary and its arguments as `"$0" "$@"`.
    #[must_use]
    pub fn start_through(directory: &Path, arguments: &[&str], line: &str) -> Self {
        let binary = command(directory).get_program().to_owned();
        let mut shell = clean(Command::new("sh"), directory);
        shell.args(["-c", line]).arg(binary);
        Self::launch(shell, "127.0.0.1:0", directory, arguments)
    }

    /// The same with further environment variables.
    #[must_use]
    pub fn start_with(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = command(directory);
        command.envs(variables.iter().copied());
        Self::launch(command, "127.0.0.1:0", directory, arguments)
    }

    /// The same with one thread that serves, each of its system calls written to the file `log` by `strace`.
    #[must_use]
    pub fn start_traced(directory: &Path, log: &Path, arguments: &[&str]) -> Self {
        let binary = command(directory).get_program().to_owned();
        let mut tracer = clean(Command::new("strace"), directory);
        // With -D the server is the child, not the tracer.
        tracer
            .args(["-D", "-f", "-qq", "-e", "signal=none", "-o"])
            .arg(log)
            .arg(binary);
        tracer.env("TOKIO_WORKER_THREADS", "1");
        Self::launch(tracer, "127.0.0.1:0", directory, arguments)
    }

    fn launch(mut command: Command, address: &str, directory: &Path, arguments: &[&str]) -> Self {
        let mut child = command
            .args(["serve", "--listen", address, "--cache-dir"])
            .arg(directory.join("cache"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{:?} does not start: {error}", command.get_program()));
        let output = Arc::new(Mutex::new(String::new()));
        let (sender, receiver) = mpsc::channel();
        let (lines, copy) = (
            BufReader::new(child.stderr.take().unwrap()).lines(),
            output.clone(),
        );
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some((_, rest)) = line.split_once("listening on ") {
                    let _ = sender.send(rest.split_whitespace().next().unwrap_or_default().to_owned());
                }
                copy.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        let Ok(url) = receiver.recv() else {
            panic!("the server did not start:\n{}", output.lock().unwrap())
        };
        Self {
            child,
            url: url.parse().unwrap(),
            output,
        }
    }

    /// The index's URL.
    #[must_use]
    pub fn index(&self) -> Url {
        self.url.join("simple/").unwrap()
    }

    /// Where it listens, as an argument.
    #[must_use]
    pub fn address(&self) -> String {
        self.url.authority().to_owned()
    }

    /// The same as an address.
    #[must_use]
    pub fn socket(&self) -> SocketAddr {
        self.url.authority().parse().unwrap()
    }

    /// Its number.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the server has said this: log lines are written behind answers.
    ///
    /// # Panics
    /// Where it does not within ten seconds.
    pub fn says(&self, text: &str) {
        let began = std::time::Instant::now();
        while !self.output().contains(text) {
            assert!(
                began.elapsed().as_secs() < 10,
                "{text:?} is not in:\n{}",
                self.output()
            );
            std::thread::yield_now();
        }
    }

    /// What it has said so far.
    #[must_use]
    pub fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// Where uploads go.
    #[must_use]
    pub fn legacy(&self) -> Url {
        self.url.join("legacy/").unwrap()
    }

    /// SIGTERM, and its exit status.
    #[must_use]
    pub fn stop(mut self) -> ExitStatus {
        let status = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
        self.child.wait().unwrap()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary with nothing of this machine's environment but the path.
#[must_use]
pub fn command(home: &Path) -> Command {
    clean(Command::new(binary()), home)
}

fn clean(mut command: Command, home: &Path) -> Command {
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home);
    command
}

/// Builds the binary once, with optimisation where this is built with it, and gives its path.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        // What the outer cargo says of this package would have others built anew, back and forth.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_"))
        {
            if name != "CARGO_TARGET_DIR" && name != "CARGO_HOME" {
                build.env_remove(name);
            }
        }
        let built = build
            .args([
                "build",
                "--package",
                "pypicache-cli",
                "--message-format=json",
                "--quiet",
                if cfg!(debug_assertions) {
                    "--profile=dev"
                } else {
                    "--profile=release"
                },
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(built.status.success(), "the binary does not build");
        let messages = String::from_utf8(built.stdout).unwrap();
        let executables = messages
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        executables
            .filter_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
            .next_back()
            .unwrap()
    })
}
