//! The real installers and uploaders. They are installed once into an environment below `target/`, and run with nothing of
//! this machine's settings: no caches, no configuration, no other indexes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::sync::OnceLock;

use url::Url;

use crate::package::sha256;

/// What the tests are run with. New versions are tried by changing this line.
const TOOLS: [&str; 3] = ["pip==26.3", "uv==0.13.8", "twine==7.0.0"];

/// An environment to install into, in a directory of the test's own.
#[derive(Debug)]
pub struct Environment {
    home: PathBuf,
    root: PathBuf,
    /// A PEM file of the certificate authorities that the tools trust; the system's where there is none.
    authorities: Option<PathBuf>,
}

impl Environment {
    /// A new, empty environment in `directory`.
    #[must_use]
    pub fn new(directory: &Path, name: &str) -> Self {
        let environment = Self {
            home: directory.to_owned(),
            root: directory.join(name),
            authorities: None,
        };
        let output = environment.run(
            tool("uv")
                .args(["venv", "--quiet", "--no-project"])
                .arg(&environment.root),
        );
        assert!(output.status.success(), "{}", text(&output));
        environment
    }

    /// The same, with tools that trust these certificate authorities.
    #[must_use]
    pub fn trusting(mut self, authorities: &Path) -> Self {
        self.authorities = Some(authorities.to_owned());
        self
    }

    /// `pip install --index-url INDEX ARGUMENTS`.
    #[must_use]
    pub fn pip_install(&self, index: &Url, arguments: &[&str]) -> Output {
        let mut pip = tool("pip");
        pip.arg("--python").arg(self.python()).args([
            "install",
            "--no-input",
            "--disable-pip-version-check",
            "--no-cache-dir",
        ]);
        self.run(
            pip.args(["--retries", "0", "--index-url", index.as_str()])
                .args(arguments),
        )
    }

    /// `uv pip install --default-index INDEX ARGUMENTS`, with a cache of its own that is empty.
    #[must_use]
    pub fn uv_install(&self, index: &Url, arguments: &[&str]) -> Output {
        let mut uv = tool("uv");
        uv.args([
            "pip",
            "install",
            "--no-cache",
            "--no-config",
            "--no-progress",
            "--python",
        ])
        .arg(self.python());
        self.run(
            uv.env("UV_HTTP_RETRIES", "0")
                .args(["--default-index", index.as_str()])
                .args(arguments),
        )
    }

    /// The same as [`Self::pip_install`] by another version of pip, which is installed where it is not there yet.
    #[must_use]
    pub fn pip_install_by(&self, version: &str, index: &Url, arguments: &[&str]) -> Output {
        let mut pip = Command::new(self.python());
        pip.env("PYTHONPATH", release("pip", version))
            .args([
                "-m",
                "pip",
                "install",
                "--no-input",
                "--disable-pip-version-check",
            ])
            .args(["--no-cache-dir", "--retries", "0", "--index-url", index.as_str()]);
        self.run(pip.args(arguments))
    }

    /// The same as [`Self::uv_install`] by another version of uv, which is installed where it is not there yet.
    #[must_use]
    pub fn uv_install_by(&self, version: &str, index: &Url, arguments: &[&str]) -> Output {
        let mut uv = Command::new(release("uv", version).join("bin/uv"));
        uv.args(["pip", "install", "--no-cache", "--index-url", index.as_str()])
            .arg("--python")
            .arg(self.python());
        self.run(uv.args(arguments))
    }

    /// `uv ARGUMENTS` in a project's directory, for this environment, with a cache of its own that is empty.
    #[must_use]
    pub fn uv(&self, project: &Path, arguments: &[&str]) -> Output {
        let mut uv = tool("uv");
        uv.args(["--no-cache", "--no-progress"]).args(arguments);
        uv.current_dir(project)
            .env("UV_HTTP_RETRIES", "0")
            .env("UV_PYTHON", self.python())
            .env("UV_PROJECT_ENVIRONMENT", &self.root);
        self.run(&mut uv)
    }

    /// `twine upload` of files, with a token or without one.
    #[must_use]
    pub fn twine_upload(&self, upload: &Url, token: Option<&str>, files: &[&Path]) -> Output {
        match token {
            Some(token) => self.twine_upload_as(upload, "__token__", token, files),
            None => self.run(twine(upload).args(files)),
        }
    }

    /// The same by somebody with a name and a password.
    #[must_use]
    pub fn twine_upload_as(&self, upload: &Url, user: &str, password: &str, files: &[&Path]) -> Output {
        let mut twine = twine(upload);
        twine.args(["--username", user, "--password", password]);
        self.run(twine.args(files))
    }

    /// `uv publish` of files as a job of GitHub's does it, which gets its identity token from `job`.
    #[must_use]
    pub fn uv_publish_as_job(&self, upload: &Url, job: &Url, files: &[&Path]) -> Output {
        let mut uv = tool("uv");
        uv.args([
            "publish",
            "--no-config",
            "--no-progress",
            "--trusted-publishing",
            "always",
        ]);
        uv.args(["--publish-url", upload.as_str()]);
        uv.env("GITHUB_ACTIONS", "true")
            .env("ACTIONS_ID_TOKEN_REQUEST_URL", format!("{job}?api=1"))
            .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "unimportant")
            .env("UV_HTTP_RETRIES", "0");
        self.run(uv.args(files))
    }

    /// `uv publish` of files, with a token or without one.
    #[must_use]
    pub fn uv_publish(&self, upload: &Url, token: Option<&str>, files: &[&Path], more: &[&str]) -> Output {
        let mut uv = tool("uv");
        uv.args([
            "publish",
            "--no-config",
            "--no-progress",
            "--trusted-publishing",
            "never",
        ]);
        uv.args(["--publish-url", upload.as_str()]).args(more);
        match token {
            Some(token) => uv.args(["--token", token]),
            None => uv.args(["--username", "nobody", "--password", "nothing"]),
        };
        self.run(uv.env("UV_HTTP_RETRIES", "0").args(files))
    }

    /// Every installed file that comes out of a package, with its digest.
    #[must_use]
    pub fn tree(&self) -> BTreeMap<String, String> {
        let library = self.root.join("lib");
        let site = fs::read_dir(library)
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path()
            .join("site-packages");
        let mut files = BTreeMap::new();
        collect(&site, &site, &mut files);
        files
    }

    fn python(&self) -> PathBuf {
        self.root.join("bin/python")
    }

    fn run(&self, command: &mut Command) -> Output {
        let kept = ["PATH"].map(|name| (name, std::env::var_os(name).unwrap_or_default()));
        if let Some(authorities) = &self.authorities {
            // uv and OpenSSL, pip, twine.
            for name in ["SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "TWINE_CERT"] {
                command.env(name, authorities);
            }
        }
        let set: Vec<_> = command
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        command
            .env_clear()
            .envs(kept)
            .envs(set)
            .env("HOME", &self.home)
            .env("PIP_CONFIG_FILE", "/dev/null")
            .output()
            .unwrap()
    }
}

/// What a command printed, for a test's message.
#[must_use]
pub fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Asserts that a command went well.
pub fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}", text(output));
}

fn twine(upload: &Url) -> Command {
    let mut twine = tool("twine");
    twine.args([
        "upload",
        "--non-interactive",
        "--disable-progress-bar",
        "--repository-url",
        upload.as_str(),
    ]);
    twine
}

fn tool(name: &str) -> Command {
    Command::new(tools().join("bin").join(name))
}

/// Where one release of a tool is unpacked, beside those that the tests usually run.
fn release(name: &str, version: &str) -> PathBuf {
    let directory = python_tools().join(format!("{name}-{version}"));
    let requirement = format!("{name}=={version}");
    let newest_pip = tools().join("bin/python");
    install_once(&directory, &requirement, || {
        vec![
            pip_install(&newest_pip)
                .args(["--no-deps", "--target"])
                .arg(&directory)
                .arg(&requirement)
                .status(),
        ]
    });
    directory
}

/// Installs the tools where they are not there yet.
fn tools() -> &'static Path {
    static TOOLS_AT: OnceLock<PathBuf> = OnceLock::new();
    TOOLS_AT.get_or_init(|| {
        let environment = python_tools().join("environment");
        install_once(&environment, &TOOLS.join(" "), || {
            let create = Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(&environment)
                .status();
            vec![
                create,
                pip_install(&environment.join("bin/python")).args(TOOLS).status(),
            ]
        });
        environment
    })
}

fn pip_install(python: &Path) -> Command {
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    pip
}

/// Runs an installation unless its stamp says that this content is there. Several test processes may ask at once.
fn install_once(directory: &Path, content: &str, install: impl FnOnce() -> Vec<std::io::Result<ExitStatus>>) {
    let beside = |suffix: &str| PathBuf::from(format!("{}.{suffix}", directory.display()));
    let lock = File::create(beside("lock")).unwrap();
    lock.lock().unwrap();
    if fs::read_to_string(beside("installed")).ok().as_deref() != Some(content) {
        for status in install() {
            assert!(status.unwrap().success(), "{content} cannot be installed");
        }
        fs::write(beside("installed"), content).unwrap();
    }
}

/// The directory for tools below the build's own.
fn python_tools() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
        PathBuf::from,
    );
    let root = target.join("python-tools");
    fs::create_dir_all(&root).unwrap();
    root.canonicalize().unwrap()
}

fn collect(root: &Path, directory: &Path, files: &mut BTreeMap<String, String>) {
    // Written by the installer, not by the package.
    const INSTALLERS: [&str; 7] = [
        "RECORD",
        "INSTALLER",
        "REQUESTED",
        "direct_url.json",
        "uv_cache.json",
        "_virtualenv.py",
        "_virtualenv.pth",
    ];
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "__pycache__" {
            collect(root, &path, files);
        } else if path.is_file() && !INSTALLERS.contains(&name) {
            let relative = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.insert(relative, sha256(&fs::read(&path).unwrap()));
        }
    }
}
