//! Frames in a stream of bytes: a u32 little-endian length, then so many bytes.
//!
//! Sans-io. A sender puts several frames into one write; a receiver gets whole frames, in order.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes of a frame's length.
pub(crate) const HEAD_BYTES: usize = 4;
/// Frames up to this size are copied together into one piece; larger ones travel as they are. A copy of so much
/// costs less than a piece of its own (a header of HTTP/2 and a record of TLS).
const COPY_BYTES_MAX: usize = 16 << 10;

/// A frame is longer than what is permitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a frame of {bytes} bytes was announced, more than the {max} that are permitted: the sender is broken, or of \
     another version"
)]
pub(crate) struct TooLong {
    bytes: usize,
    max: usize,
}

/// Cuts what arrives into frames.
#[derive(Debug)]
pub(crate) struct FrameReader {
    /// The beginning of a frame whose end has not arrived.
    partial: BytesMut,
    bytes_max: usize,
}

impl FrameReader {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { partial: BytesMut::new(), bytes_max }
    }

    /// Whether a frame has begun and not ended.
    pub(crate) fn in_frame(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Takes what has arrived; adds the frames that are complete now.
    pub(crate) fn push(&mut self, mut data: Bytes, frames: &mut Vec<Bytes>) -> Result<(), TooLong> {
        let arrived = data.len();
        while !data.is_empty() {
            if self.partial.is_empty() && data.len() >= HEAD_BYTES {
                let bytes = self.checked(&data)?;
                if data.len() >= HEAD_BYTES + bytes {
                    data.advance(HEAD_BYTES);
                    let frame = data.split_to(bytes);
                    // A small frame must not keep all that arrived with it in memory.
                    frames.push(if bytes < arrived / 2 { Bytes::copy_from_slice(&frame) } else { frame });
                    continue;
                }
            }
            self.collect(&mut data, frames)?;
        }
        Ok(())
    }

    /// Adds to the frame that has begun.
    fn collect(&mut self, data: &mut Bytes, frames: &mut Vec<Bytes>) -> Result<(), TooLong> {
        if self.partial.len() < HEAD_BYTES {
            let missing = HEAD_BYTES - self.partial.len();
            self.partial.put(data.split_to(missing.min(data.len())));
            if self.partial.len() < HEAD_BYTES {
                return Ok(());
            }
        }
        let whole = HEAD_BYTES + self.checked(&self.partial)?;
        self.partial.reserve(whole - self.partial.len());
        self.partial.put(data.split_to((whole - self.partial.len()).min(data.len())));
        if self.partial.len() == whole {
            let mut frame = std::mem::take(&mut self.partial).freeze();
            frame.advance(HEAD_BYTES);
            frames.push(frame);
        }
        Ok(())
    }

    fn checked(&self, mut start: &[u8]) -> Result<usize, TooLong> {
        let bytes = start.get_u32_le() as usize;
        if bytes > self.bytes_max {
            return Err(TooLong { bytes, max: self.bytes_max });
        }
        Ok(bytes)
    }
}

/// Joins frames into pieces to be written one after the other: small frames together, large ones uncopied.
pub(crate) fn pieces(frames: impl IntoIterator<Item = Bytes>, pieces: &mut Vec<Bytes>) {
    let mut joined = BytesMut::new();
    for frame in frames {
        // A frame's length is bounded far below, when it is queued.
        joined.put_u32_le(u32::try_from(frame.len()).unwrap_or(u32::MAX));
        if frame.len() <= COPY_BYTES_MAX {
            joined.put(frame);
        } else {
            pieces.push(joined.split().freeze());
            pieces.push(frame);
        }
    }
    if !joined.is_empty() {
        pieces.push(joined.freeze());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<Bytes> {
        let sizes = [0, 1, 3, 4, 5, 100, COPY_BYTES_MAX, COPY_BYTES_MAX + 1, 70_000, 0, 0, 2];
        sizes.iter().enumerate().map(|(i, size)| Bytes::from(vec![i as u8; *size])).collect()
    }

    #[test]
    fn frames_arrive_whole_however_the_stream_is_cut() {
        let mut written = Vec::new();
        pieces(sample(), &mut written);
        // The small ones before the large ones have travelled together.
        assert!(written.len() < sample().len());
        let stream = written.concat();
        for step in [1, 2, 3, 7, 4096, 16384, stream.len()] {
            let (mut reader, mut frames) = (FrameReader::new(70_000), Vec::new());
            for part in stream.chunks(step) {
                reader.push(Bytes::copy_from_slice(part), &mut frames).unwrap();
            }
            assert_eq!(frames, sample(), "cut every {step} bytes");
            assert!(!reader.in_frame());
        }
    }

    #[test]
    fn a_frame_beyond_the_limit_is_refused_before_it_arrives() {
        for head in [&[1, 0, 1, 0][..], &[255; 4], &[1, 0, 1, 0, 7, 7, 7]] {
            for step in [1, head.len()] {
                let (mut reader, mut frames) = (FrameReader::new(65536), Vec::new());
                let mut results =
                    head.chunks(step).map(|part| reader.push(Bytes::copy_from_slice(part), &mut frames));
                let error = results.find_map(Result::err).expect("a refusal");
                assert!(error.to_string().contains("more than the 65536"), "{error}");
                assert!(frames.is_empty());
            }
        }
    }

    #[test]
    fn a_small_frame_does_not_keep_what_arrived_with_it() {
        let mut written = Vec::new();
        pieces([Bytes::from_static(b"x"), Bytes::from(vec![0; 10_000])], &mut written);
        let (data, mut frames) = (Bytes::from(written.concat()), Vec::new());
        let around = data.as_ptr_range();
        FrameReader::new(1 << 20).push(data.clone(), &mut frames).unwrap();
        assert!(!around.contains(&frames[0].as_ptr()));
        assert!(around.contains(&frames[1].as_ptr()), "a large frame need not be copied");
    }
}
