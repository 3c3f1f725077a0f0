//! Programs of other protocols, recognised by the first bytes that they send.
//!
//! The result is a hint for people. No decision depends on it.

/// Describes the kind of program that sent these first bytes; `None` if they are not recognised.
pub(super) fn of(first_bytes: [u8; 4]) -> Option<&'static str> {
    Some(match &first_bytes {
        b"HTTP" => "HTTP, this looks like a web server",
        b"GET " | b"HEAD" | b"POST" | b"PUT " | b"OPTI" | b"CONN" | b"PRI " => "HTTP, this looks like a web client",
        [0x15..=0x17, 0x03, 0x00..=0x04, _] => "TLS, this looks like an encrypted port",
        b"SSH-" => "SSH, this looks like a login server",
        b"220 " | b"220-" => "this looks like a mail or FTP server",
        b"-ERR" => "this looks like a Redis or mail server",
        [0xf9, 0xbe, 0xb4, 0xd9] => "this looks like a Bitcoin Core node",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use crate::error::WireError;

    #[test]
    fn the_error_names_the_program_only_if_its_first_bytes_are_recognised() {
        for (found, expected) in [
            (*b"HTTP", "48545450 is not this network's magic: HTTP, this looks like a web server"),
            (*b"GET ", "47455420 is not this network's magic: HTTP, this looks like a web client"),
            ([0x15, 3, 3, 0], "15030300 is not this network's magic: TLS, this looks like an encrypted port"),
            ([0x16, 3, 1, 2], "16030102 is not this network's magic: TLS, this looks like an encrypted port"),
            (*b"SSH-", "5353482d is not this network's magic: SSH, this looks like a login server"),
            ([0xf9, 0xbe, 0xb4, 0xd9], "f9beb4d9 is not this network's magic: this looks like a Bitcoin Core node"),
            ([0x16, 4, 1, 2], "16040102 is not this network's magic"),
            ([0; 4], "00000000 is not this network's magic"),
        ] {
            assert_eq!(WireError::BadMagic { found, network: None }.to_string(), expected);
        }
    }
}
