//! How requests and answers go over the socket: four bytes with the length, big-endian, then JSON.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;

use super::Request;

/// Bytes before the JSON.
pub(super) const HEAD_BYTES: usize = 4;

/// Longest request: three short fields.
const REQUEST_BYTES_MAX: usize = 1024;

/// Longest answer: the results of an analysis, of 256 KiB at most. The waveform of 32 channels has 64,004 bytes, and twice as
/// many hexadecimal digits.
pub(super) const ANSWER_BYTES_MAX: usize = 260 * 1024;

/// A value as it goes over the socket.
pub(super) fn encode(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; HEAD_BYTES];
    serde_json::to_writer(&mut frame, value)?;
    let length = u32::try_from(frame.len() - HEAD_BYTES).map_err(io::Error::other)?;
    if let Some(head) = frame.first_chunk_mut::<HEAD_BYTES>() {
        *head = length.to_be_bytes();
    }
    Ok(frame)
}

/// The length of what follows this head.
///
/// # Errors
/// `InvalidData` where it is longer than any answer.
pub(super) fn length(head: [u8; HEAD_BYTES]) -> io::Result<usize> {
    let length = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
    if length <= ANSWER_BYTES_MAX { Ok(length) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Sends a whole frame, and the open file beside it.
///
/// # Errors
/// `WouldBlock` where the socket has no room yet and doesn't wait.
pub(super) fn send_with_file(socket: BorrowedFd<'_>, frame: &[u8], file: BorrowedFd<'_>) -> io::Result<()> {
    let files = [file];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !beside.push(SendAncillaryMessage::ScmRights(&files)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let sent = sendmsg(socket, &[IoSlice::new(frame)], &mut beside, SendFlags::NOSIGNAL)?;
    // A request is far smaller than an empty socket's buffer.
    if sent == frame.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Waits for a request and its file; `None` when the parent has gone.
///
/// # Errors
/// `InvalidData` where it is no request of this program.
pub(super) fn receive_request(socket: &UnixStream) -> io::Result<Option<(Request, File)>> {
    let mut start = [0; HEAD_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut start)], &mut beside, RecvFlags::CMSG_CLOEXEC)?;
    let files = beside.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => Some(files),
        _ => None,
    });
    let file = files.flatten().next().map(File::from);
    if received.bytes == 0 {
        return Ok(None);
    }
    let length = usize::try_from(u32::from_be_bytes(start)).unwrap_or(usize::MAX);
    let (Some(file), HEAD_BYTES, ..=REQUEST_BYTES_MAX) = (file, received.bytes, length) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let mut json = vec![0; length];
    (&*socket).read_exact(&mut json)?;
    Ok(Some((serde_json::from_slice(&json)?, file)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;

    use super::*;
    use crate::cell::Work;

    const REQUEST: Request = Request { work: Work::Proof, memory_bytes: 7, processor_seconds: 8 };

    #[test]
    fn a_request_arrives_with_its_open_file() {
        let (parent, child) = UnixStream::pair().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"sound").unwrap();
        let frame = encode(&REQUEST).unwrap();
        for _ in 0..2 {
            send_with_file(parent.as_fd(), &frame, file.as_fd()).unwrap();
            let (request, received) = receive_request(&child).unwrap().unwrap();
            assert_eq!(request, REQUEST);
            assert_eq!(received.metadata().unwrap().len(), 5);
        }
        drop(parent);
        assert!(receive_request(&child).unwrap().is_none(), "the parent has gone");
    }

    #[test]
    fn anything_else_is_no_request() {
        let file = tempfile::tempfile().unwrap();
        let without_file = encode(&REQUEST).unwrap();
        let (mut parent, child) = UnixStream::pair().unwrap();
        parent.write_all(&without_file).unwrap();
        assert!(receive_request(&child).is_err());
        for frame in [&[0xff; 40][..], b"\0\0\0\x02{}", &[0, 0], b"\0\0\x05\0too long"] {
            let (parent, child) = UnixStream::pair().unwrap();
            send_with_file(parent.as_fd(), frame, file.as_fd()).unwrap();
            drop(parent);
            assert!(receive_request(&child).is_err(), "{frame:?}");
        }
        let longest = u32::try_from(ANSWER_BYTES_MAX).unwrap();
        assert!(length(longest.to_be_bytes()).is_ok());
        assert!(length((longest + 1).to_be_bytes()).is_err());
    }
}
