//! nginx with the same bytes: as static files, and as a cache in front of the same upstream.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::corpus::{Corpus, JSON};

pub(crate) struct Nginx {
    child: Child,
    _directory: TempDir,
    /// Where static files are.
    pub(crate) statics: SocketAddr,
    /// Where the cache is.
    pub(crate) cache: SocketAddr,
}

impl Nginx {
    /// `None` where there is no nginx on this machine.
    pub(crate) fn start(corpus: Option<&Corpus>, upstream: SocketAddr) -> Option<Self> {
        Command::new("nginx")
            .arg("-v")
            .stderr(Stdio::null())
            .status()
            .ok()?;
        let directory = tempfile::tempdir().unwrap();
        for (path, plain, packed) in corpus.into_iter().flat_map(Corpus::documents) {
            write(directory.path(), path, plain, packed.map(|bytes| &bytes[..]));
        }
        let [statics, cache] = [free_address(), free_address()];
        let config = directory.path().join("nginx.conf");
        std::fs::write(&config, configuration(directory.path(), statics, cache, upstream)).unwrap();
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
        let nginx = Self {
            child,
            _directory: directory,
            statics,
            cache,
        };
        while TcpStream::connect(statics).is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(nginx)
    }

    /// The master's.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

/// A page `/simple/x/` is `simple/x/index.json`.
fn write(root: &Path, path: &str, plain: &[u8], packed: Option<&[u8]>) {
    let path = root.join("static").join(path.trim_start_matches('/'));
    let file = if packed.is_some() {
        path.join("index.json")
    } else {
        path
    };
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, plain).unwrap();
    if let Some(packed) = packed {
        std::fs::write(file.with_extension("json.gz"), packed).unwrap();
    }
}

fn configuration(root: &Path, statics: SocketAddr, cache: SocketAddr, upstream: SocketAddr) -> String {
    let root = root.display();
    format!(
        "daemon off; user root; pid {root}/pid; error_log {root}/error.log; worker_processes auto;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; open_file_cache max=10000 inactive=60s;
  default_type application/octet-stream; types {{ {JSON} json; }} etag on;
  client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3; uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;
  proxy_cache_path {root}/cache levels=1:2 keys_zone=all:20m max_size=2g;
  server {{ listen {statics}; root {root}/static; index index.json; gzip_static on; }}
  server {{ listen {cache}; location / {{
    proxy_pass http://{upstream}; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_cache all; proxy_cache_lock on;
    proxy_cache_lock_timeout 30s; proxy_cache_valid 200 10m; }} }}
}}
"
    )
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
