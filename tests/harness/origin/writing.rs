//! Answers as they go over the connection, byte for byte.

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Answer;
use crate::sounds::telephone_header;

/// Size of the pieces in which an endless body is written.
const PIECE_BYTES: usize = 64 * 1024;

/// Writes an answer, or its head alone, and ends the connection.
pub(super) async fn write_answer(
    stream: &mut TcpStream,
    answer: &Answer,
    is_head: bool,
) -> std::io::Result<()> {
    let head = head_of(answer);
    if let Answer::Reset = answer {
        stream.set_zero_linger()?;
        return Ok(());
    }
    stream.write_all(head.as_bytes()).await?;
    if is_head {
        return stream.shutdown().await;
    }
    match answer {
        Answer::Body { bytes, .. } | Answer::Encoded { bytes, .. } => stream.write_all(bytes).await?,
        Answer::Json { text, .. } => stream.write_all(text.as_bytes()).await?,
        Answer::Truncated { bytes, sent } => stream.write_all(&bytes.slice(..*sent)).await?,
        Answer::Stalled { bytes, sent } => {
            stream.write_all(&bytes.slice(..*sent)).await?;
            // Until the client has lost its patience.
            stream.read_u8().await?;
        }
        Answer::Large { claimed } => write_zeros(stream, *claimed).await?,
        Answer::Endless => write_zeros(stream, u64::MAX).await?,
        Answer::Slow { piece, pause } => {
            let mut ticks = tokio::time::interval(*pause);
            loop {
                ticks.tick().await;
                write_zeros(stream, *piece as u64).await?;
            }
        }
        Answer::Sound { data_bytes, together } => {
            stream.write_all(&telephone_header(*data_bytes)).await?;
            let half = u64::from(data_bytes / 2);
            write_zeros(stream, half).await?;
            together.wait().await;
            write_zeros(stream, u64::from(*data_bytes) - half).await?;
        }
        Answer::Status(_) | Answer::RetryAfter { .. } => stream.write_all(b"sorry\n").await?,
        Answer::Redirect { .. } | Answer::Reset => {}
    }
    stream.shutdown().await
}

/// The head of an answer, with its empty line.
fn head_of(answer: &Answer) -> String {
    let audio = |length: u64| format!("200 OK\r\nContent-Type: audio/wav\r\nContent-Length: {length}");
    let fields = match answer {
        Answer::Body { media_type, bytes } => {
            format!("200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {}", bytes.len())
        }
        Answer::Json { status, text } => {
            format!("{status} Chosen\r\nContent-Type: application/json\r\nContent-Length: {}", text.len())
        }
        Answer::Truncated { bytes, .. } | Answer::Stalled { bytes, .. } => audio(bytes.len() as u64),
        Answer::Large { claimed } => audio(*claimed),
        Answer::Sound { data_bytes, .. } => audio(u64::from(*data_bytes) + 44),
        Answer::Encoded { coding, bytes } => {
            format!("{}\r\nContent-Encoding: {coding}", audio(bytes.len() as u64))
        }
        Answer::Endless | Answer::Slow { .. } | Answer::Reset => {
            "200 OK\r\nContent-Type: audio/wav".to_owned()
        }
        Answer::Status(status) => format!("{status} Chosen\r\nContent-Type: text/plain\r\nContent-Length: 6"),
        Answer::RetryAfter { status, value } => {
            format!(
                "{status} Chosen\r\nContent-Type: text/plain\r\nContent-Length: 6\r\nRetry-After: {value}"
            )
        }
        Answer::Redirect { status, to } => format!("{status} Chosen\r\nLocation: {to}\r\nContent-Length: 0"),
    };
    format!("HTTP/1.1 {fields}\r\nConnection: close\r\n\r\n")
}

async fn write_zeros(stream: &mut TcpStream, count: u64) -> std::io::Result<()> {
    let zeros = Bytes::from_static(&[0; PIECE_BYTES]);
    let mut left = count;
    while left > 0 {
        let piece = usize::try_from(left).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        stream.write_all(&zeros.slice(..piece)).await?;
        left -= piece as u64;
    }
    Ok(())
}
