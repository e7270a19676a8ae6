//! A client made of bytes.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub struct RawClient {
    pub stream: TcpStream,
}

/// One message of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    pub kind: u8,
    pub body: Vec<u8>,
}

impl Reply {
    /// A field of an ErrorResponse or NoticeResponse.
    pub fn field(&self, code: u8) -> Option<String> {
        let field = self.body.split(|byte| *byte == 0).find(|field| field.first() == Some(&code))?;
        Some(String::from_utf8(field[1..].to_vec()).unwrap())
    }

    pub fn state(&self) -> String {
        assert_eq!(self.kind, b'E', "{self:?}");
        self.field(b'C').unwrap()
    }
}

/// The kinds of messages, as a string to compare.
pub fn kinds(replies: &[Reply]) -> String {
    replies.iter().map(|reply| reply.kind as char).collect()
}

pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

pub fn startup(version: u32, parameters: &str) -> Vec<u8> {
    let mut bytes = (parameters.len() as u32 + 8).to_be_bytes().to_vec();
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes.extend_from_slice(parameters.as_bytes());
    bytes
}

pub const VERSION_3_0: u32 = 0x30000;

pub fn query(sql: &str) -> Vec<u8> {
    message(b'Q', format!("{sql}\0").as_bytes())
}

pub fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', format!("{name}\0{sql}\0\0\0").as_bytes())
}

/// Without parameters, results in text.
pub fn bind(portal: &str, statement: &str) -> Vec<u8> {
    message(b'B', format!("{portal}\0{statement}\0\0\0\0\0\0\0").as_bytes())
}

pub fn describe(kind: char, name: &str) -> Vec<u8> {
    message(b'D', format!("{kind}{name}\0").as_bytes())
}

pub fn execute(portal: &str, max_rows: i32) -> Vec<u8> {
    message(b'E', &[portal.as_bytes(), b"\0", &max_rows.to_be_bytes()].concat())
}

pub fn sync() -> Vec<u8> {
    message(b'S', b"")
}

/// Parse, Bind, Describe, Execute, Sync.
pub fn extended(sql: &str) -> Vec<u8> {
    [parse("", sql), bind("", ""), describe('P', ""), execute("", 0), sync()].concat()
}

impl RawClient {
    pub async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap() }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub async fn start(&mut self) -> Vec<Reply> {
        self.send(&startup(VERSION_3_0, "user\0tester\0database\0db\0\0")).await;
        self.until_ready().await
    }

    /// The next message; `None` when the server has closed.
    pub async fn reply(&mut self) -> Option<Reply> {
        let kind = self.stream.read_u8().await.ok()?;
        let length = self.stream.read_u32().await.ok()?;
        let mut body = vec![0; length as usize - 4];
        self.stream.read_exact(&mut body).await.unwrap();
        Some(Reply { kind, body })
    }

    pub async fn until_ready(&mut self) -> Vec<Reply> {
        let mut replies = Vec::new();
        loop {
            let reply = self.reply().await.unwrap_or_else(|| panic!("closed after {}", kinds(&replies)));
            replies.push(reply);
            if replies.last().unwrap().kind == b'Z' {
                return replies;
            }
        }
    }

    /// Sends and collects up to ReadyForQuery.
    pub async fn exchange(&mut self, bytes: &[u8]) -> Vec<Reply> {
        self.send(bytes).await;
        self.until_ready().await
    }

    /// The kinds of the answers to a simple query.
    pub async fn ask(&mut self, sql: &str) -> String {
        kinds(&self.exchange(&query(sql)).await)
    }

    /// Everything up to the close.
    pub async fn until_closed(&mut self) -> Vec<Reply> {
        let mut replies = Vec::new();
        while let Some(reply) = self.reply().await {
            replies.push(reply);
        }
        replies
    }
}
