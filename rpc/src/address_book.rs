//! The nodes that a restarted node must find again, in a file of its store.
//!
//! The file is `BSLTNOD1`, the length and the CRC-32 of the rest (four bytes each, big-endian), and a [`Book`]. It is replaced
//! as a whole: written beside, synced, renamed. A damaged one is refused: a node that has forgotten a removal would talk to
//! those that must not take part any more, and one that has forgotten its own lives cannot show that it is not a copy.

use std::io;

use basalt_env::{Disk, OpenMode};
use prost::Message;

use crate::{RpcError, message::Book};

const FILE: &str = "NODES";
const FILE_BESIDE: &str = "NODES.new";
const MAGIC: &[u8; 8] = b"BSLTNOD1";
const HEADER_BYTES: usize = 16;
const FILE_BYTES_MAX: u64 = 64 << 20;

/// An empty book if there is no file.
pub(crate) fn read(disk: &dyn Disk) -> Result<Book, RpcError> {
    let file = match disk.open(FILE, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Book::default()),
        Err(error) => return Err(wrong(&error)),
    };
    let length = file.len().map_err(|error| wrong(&error))?;
    if length > FILE_BYTES_MAX {
        return Err(wrong(&"it is damaged: it is too long"));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    let read = file.read_at(0, &mut bytes).map_err(|error| wrong(&error))?;
    bytes.truncate(read);
    parse(&bytes).ok_or_else(|| wrong(&"it is damaged: wipe the store and join anew"))
}

fn parse(bytes: &[u8]) -> Option<Book> {
    let (header, body) = bytes.split_at_checked(HEADER_BYTES)?;
    let (magic, numbers) = header.split_at(MAGIC.len());
    let (length, checksum) = numbers.split_at(4);
    let sound = magic == MAGIC
        && length == u32::try_from(body.len()).ok()?.to_be_bytes()
        && checksum == crc32fast::hash(body).to_be_bytes();
    if sound { Book::decode(body).ok() } else { None }
}

pub(crate) async fn write(disk: &dyn Disk, book: &Book) -> Result<(), RpcError> {
    let body = book.encode_to_vec();
    let mut bytes = MAGIC.to_vec();
    bytes.extend(u32::try_from(body.len()).expect("a book is small").to_be_bytes());
    bytes.extend(crc32fast::hash(&body).to_be_bytes());
    bytes.extend(body);
    let written = async {
        let file = disk.open(FILE_BESIDE, OpenMode::ReadWriteCreate)?;
        file.set_len(0)?;
        file.write_at(0, &bytes)?;
        file.sync().await?;
        disk.rename(FILE_BESIDE, FILE)?;
        disk.sync_dir("").await
    };
    written.await.map_err(|error: io::Error| wrong(&error))
}

fn wrong(cause: &dyn std::fmt::Display) -> RpcError {
    RpcError::AddressBook { path: FILE.to_owned(), cause: cause.to_string() }
}

#[cfg(test)]
mod tests {
    use basalt_env::os::os_env;

    use super::*;
    use crate::message::{Met, Record};

    #[tokio::test]
    async fn it_is_read_as_written_and_refused_when_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let disk = os_env(folder.path()).disk;
        assert_eq!(read(&*disk).unwrap(), Book::default());
        let record = Record { node_id: 2, rpc_address: "b:1".into(), ..Record::default() };
        let long = Book { incarnation: 7, records: vec![record.clone(), record], ..Book::default() };
        let met = vec![Met { node_id: 3, life: u64::MAX }];
        let short = Book { incarnation: 8, records: Vec::new(), lives: vec![1, u64::MAX], met };
        for book in [&long, &short, &long] {
            write(&*disk, book).await.unwrap();
            assert_eq!(&read(&*disk).unwrap(), book);
        }
        let file = disk.open(FILE, OpenMode::ReadWriteCreate).unwrap();
        for at in 0..file.len().unwrap() {
            let mut byte = [0];
            file.read_at(at, &mut byte).unwrap();
            file.write_at(at, &[byte[0] ^ 1]).unwrap();
            assert!(read(&*disk).unwrap_err().to_string().contains("damaged"), "byte {at}");
            file.write_at(at, &byte).unwrap();
        }
        file.set_len(20).unwrap();
        assert!(read(&*disk).is_err());
    }
}
