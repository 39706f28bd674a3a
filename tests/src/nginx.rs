//! A real nginx in front of a server, with a path of its own for it. Installed where there is none.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;
use url::Url;

/// A running nginx.
#[derive(Debug)]
pub struct Nginx {
    child: Child,
    _directory: TempDir,
    address: SocketAddr,
}

impl Nginx {
    /// Passes `/packages/...` on to `...` of the server, and `/kept/...` as it is.
    #[must_use]
    pub fn start(server: &Url) -> Self {
        installed();
        let directory = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (root, server) = (directory.path().display(), server.authority());
        let forwarded = "proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_http_version 1.1;";
        let configuration = format!(
            "daemon off; pid {root}/pid; error_log {root}/error.log; worker_processes 1;\n\
             events {{ worker_connections 64; }}\n\
             http {{ access_log off; client_max_body_size 0; client_body_temp_path {root}/body; proxy_temp_path {root}/proxy;\n\
             fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;\n\
             server {{ listen {address};\n\
             location /packages/ {{ proxy_pass http://{server}/; {forwarded} }}\n\
             location /kept/ {{ proxy_pass http://{server}; {forwarded} }} }} }}\n"
        );
        let config = directory.path().join("nginx.conf");
        std::fs::write(&config, configuration).unwrap();
        let child = Command::new("nginx")
            .args([
                "-p".as_ref(),
                directory.path().as_os_str(),
                "-c".as_ref(),
                config.as_os_str(),
            ])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while TcpStream::connect(address).is_err() {
            std::thread::yield_now();
        }
        Self {
            child,
            _directory: directory,
            address,
        }
    }

    /// A URL at nginx.
    #[must_use]
    pub fn url(&self, path: &str) -> Url {
        format!("http://{}/{path}", self.address).parse().unwrap()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

fn installed() {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let is_there = Command::new("nginx")
            .arg("-v")
            .stderr(Stdio::null())
            .status()
            .is_ok();
        if !is_there {
            for arguments in [&["update", "-q"][..], &["install", "-qy", "nginx-light"]] {
                let done = Command::new("apt-get").args(arguments).status();
                assert!(
                    done.is_ok_and(|status| status.success()),
                    "nginx is needed, and cannot be installed"
                );
            }
        }
    });
}
