//! A load generator: so many connections on one thread, each asking the same over and over, answers compared.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What is asked: a path and header lines.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Question {
    pub(crate) fn new(path: impl Into<String>, headers: &[(&'static str, &str)]) -> Self {
        let headers = headers
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        Self {
            path: path.into(),
            headers,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut text = format!("GET {} HTTP/1.1\r\nhost: localhost\r\n", self.path);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        format!("{text}\r\n").into_bytes()
    }
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) etag: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// A connection that is kept.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
}

/// What a range of load brought.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Brought {
    pub(crate) per_second: f64,
    pub(crate) answers: u64,
    pub(crate) bytes: u64,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            buffer: BytesMut::with_capacity(256 * 1024),
        }
    }

    /// Asks, and keeps the answer; `on_first` is called when its body begins.
    pub(crate) async fn context(&mut self, request: &Question, on_first: impl FnOnce()) -> Answer {
        self.stream.write_all(&request.bytes()).await.unwrap();
        let (status, etag, length) = self.head().await;
        on_first();
        let mut body = Vec::with_capacity(length);
        while body.len() < length {
            let take = self.buffer.len().min(length - body.len());
            body.extend_from_slice(&self.buffer[..take]);
            self.buffer.advance(take);
            if body.len() < length {
                assert!(
                    self.stream.read_buf(&mut self.buffer).await.unwrap() > 0,
                    "the answer broke off"
                );
            }
        }
        Answer { status, etag, body }
    }

    /// Asks, and compares the answer as it comes; `on_first` is called when its body begins.
    pub(crate) async fn compare(&mut self, request: &Question, expected: &[u8], on_first: impl FnOnce()) {
        self.stream.write_all(&request.bytes()).await.unwrap();
        let (_, _, length) = self.head().await;
        on_first();
        assert_eq!(length, expected.len());
        let mut position = 0;
        while position < length {
            let take = self.buffer.len().min(length - position);
            assert!(
                self.buffer[..take] == expected[position..position + take],
                "wrong bytes came"
            );
            self.buffer.advance(take);
            position += take;
            if position < length {
                assert!(
                    self.stream.read_buf(&mut self.buffer).await.unwrap() > 0,
                    "the answer broke off"
                );
            }
        }
    }

    /// Asks, and counts the answer's bytes only.
    async fn count(&mut self, request: &[u8]) -> (u16, usize) {
        self.stream.write_all(request).await.unwrap();
        let (status, _, length) = self.head().await;
        let mut left = length;
        while left > 0 {
            let take = self.buffer.len().min(left);
            self.buffer.advance(take);
            left -= take;
            if left > 0 {
                assert!(
                    self.stream.read_buf(&mut self.buffer).await.unwrap() > 0,
                    "the answer broke off"
                );
            }
        }
        (status, length)
    }

    async fn head(&mut self) -> (u16, Option<String>, usize) {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(
                self.stream.read_buf(&mut self.buffer).await.unwrap() > 0,
                "no answer"
            );
        };
        let head = self.buffer.split_to(end);
        let head = std::str::from_utf8(&head).unwrap();
        let status = head[9..12].parse().unwrap();
        let field = |name: &str| {
            head.lines().skip(1).find_map(|line| {
                let (field, value) = line.split_once(':')?;
                field.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let length = field("content-length").map_or(0, |length| length.parse().unwrap());
        (status, field("etag"), if status == 304 { 0 } else { length })
    }
}

/// Asks by so many connections for so long.
pub(crate) fn load(address: SocketAddr, request: &Question, connections: usize, time: Duration) -> Brought {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let request = request.bytes();
        let expected = Connection::open(address).await.count(&request).await;
        assert!(
            matches!(expected.0, 200 | 206 | 304),
            "{request:?}: {}",
            expected.0
        );
        let mut tasks = tokio::task::JoinSet::new();
        let began = Instant::now();
        for _ in 0..connections {
            let request = request.clone();
            tasks.spawn(async move {
                let mut connection = Connection::open(address).await;
                let mut answers = 0_u64;
                while began.elapsed() < time {
                    assert_eq!(connection.count(&request).await, expected);
                    answers += 1;
                }
                answers
            });
        }
        let answers: u64 = tasks.join_all().await.into_iter().sum();
        let bytes = answers * expected.1 as u64;
        Brought {
            per_second: answers as f64 / began.elapsed().as_secs_f64(),
            answers,
            bytes,
        }
    })
}

/// One request on a connection of its own.
pub(crate) fn once(address: SocketAddr, request: &Question) -> Answer {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async { Connection::open(address).await.context(request, || {}).await })
}
