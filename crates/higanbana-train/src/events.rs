//! Event files, as TensorBoard reads them.
//!
//! A record is
//!
//! ```text
//! u64   length                       little-endian, like everything here
//! u32   masked CRC-32C of the length
//! ...   an Event, in protocol buffers
//! u32   masked CRC-32C of the Event
//! ```
//!
//! where masking is a rotation to the right by 15 bits and the addition of `0xa282ead8`. Of an `Event` four
//! fields are used: 1 the time, in seconds, 2 the step, 3 the version of the format in the first record, 5 the
//! `Summary`, which holds for each scalar a message with 1 its name and 2 its value.
//!
//! The time of an event is its step: two runs of the same recipe write the same file.

use higanbana_io::ledger::{Ledger, LedgerError};
use serde_json::Value;

/// Name of the file; TensorBoard looks for the middle of it.
pub const NAME: &str = "events.out.tfevents.0000000000.higanbana";

/// The events of a run.
#[derive(Debug, Clone)]
pub struct Events {
    bytes: Vec<u8>,
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

impl Events {
    /// A file without scalars.
    pub fn new() -> Self {
        let mut events = Self { bytes: Vec::new() };
        let mut event = time(0);
        text(&mut event, 3, b"brain.Event:2");
        events.record(&event);
        events
    }

    /// Those of lines of metrics, as they are read back: digits of a file may name the number next to the
    /// one that was written.
    pub fn of(lines: &[Value]) -> Self {
        let mut events = Self::new();
        lines.iter().for_each(|line| events.metrics(line));
        events
    }

    /// Adds the scalars of a step.
    pub fn scalars<'a>(&mut self, step: u64, scalars: impl IntoIterator<Item = (&'a str, f64)>) {
        let mut summary = Vec::new();
        for (name, value) in scalars {
            let mut scalar = Vec::new();
            text(&mut scalar, 1, name.as_bytes());
            scalar.push(2 << 3 | 5);
            scalar.extend((value as f32).to_le_bytes());
            text(&mut summary, 1, &scalar);
        }
        let mut event = time(step);
        event.push(2 << 3);
        varint(&mut event, step);
        text(&mut event, 5, &summary);
        self.record(&event);
    }

    /// Adds the scalars of a line of metrics.
    pub fn metrics(&mut self, line: &Value) {
        let names = ["loss", "rate", "gradient_norm", "validation"];
        let scalars = names.iter().filter_map(|name| Some((*name, line.get(name)?.as_f64()?)));
        self.scalars(line["step"].as_u64().unwrap_or_default(), scalars);
    }

    /// Writes the file into the folder of a run.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, files: &mut Ledger) -> Result<(), LedgerError> {
        files.write_bytes(NAME, &self.bytes)
    }

    /// The content of the file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn record(&mut self, event: &[u8]) {
        let length = (event.len() as u64).to_le_bytes();
        self.bytes.extend(length);
        self.bytes.extend(masked(&length).to_le_bytes());
        self.bytes.extend(event);
        self.bytes.extend(masked(event).to_le_bytes());
    }
}

/// An event that has its time.
fn time(step: u64) -> Vec<u8> {
    let mut event = vec![1 << 3 | 1];
    event.extend((step as f64).to_le_bytes());
    event
}

/// A field of text, bytes or a message.
fn text(message: &mut Vec<u8>, field: u8, content: &[u8]) {
    message.push(field << 3 | 2);
    varint(message, content.len() as u64);
    message.extend(content);
}

/// Seven bits a byte, the lowest first.
fn varint(message: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        message.push(number as u8 | 0x80);
        number >>= 7;
    }
    message.push(number as u8);
}

fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C, Castagnoli's.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_crc32c() {
        // RFC 3720 and the catalogue of parametrised CRCs.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    }

    #[test]
    fn a_scalar_byte_by_byte() {
        let mut events = Events::new();
        let first = events.bytes().len();
        // Length and its checksum, nine bytes of time, two of tag and length, the version, a checksum.
        assert_eq!(first, 12 + 9 + 2 + 13 + 4);
        events.scalars(300, [("loss", 0.5)]);
        let event = &events.bytes()[first + 12..events.bytes().len() - 4];
        let mut expected = vec![0x09];
        expected.extend(300f64.to_le_bytes());
        expected.extend([0x10, 0xac, 0x02, 0x2a, 0x0d, 0x0a, 0x0b, 0x0a, 0x04]);
        expected.extend(b"loss");
        expected.push(0x15);
        expected.extend(0.5f32.to_le_bytes());
        assert_eq!(event, expected);
    }
}
