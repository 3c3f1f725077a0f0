//! `messages!`: declares both message enums, and their conversions from and to bytes, from one table.
//!
//! A row names the command, the variant and the variant's content, in one of six forms. Each form has its own rule
//! below. The rule reduces a row to `{ docs, command, variant, borrowed content, owned content, pattern, decode,
//! encode, into owned, as borrowed }`, and the rule `No more rows` expands the reduced rows. The result equals
//! handwritten code: no table is searched at run time.

/// Declares [`MessageRef`](super::MessageRef) and [`Message`](super::Message).
macro_rules! messages {
    // No content: the command has no payload.
    (@rows ($command:ident $payload:ident $out:ident) [$($done:tt)*]
        $(#[$doc:meta])* $NAME:ident $Variant:ident; $($rest:tt)*
    ) => { messages! { @rows ($command $payload $out) [$($done)* {
        [$(#[$doc])*] $NAME $Variant [] [] [] [] [{}] [] []
    }] $($rest)* } };

    // `{ nonce }`: a 64-bit number.
    (@rows ($command:ident $payload:ident $out:ident) [$($done:tt)*]
        $(#[$doc:meta])* $NAME:ident $Variant:ident { $(#[$about:meta])* $field:ident }; $($rest:tt)*
    ) => { messages! { @rows ($command $payload $out) [$($done)* {
        [$(#[$doc])*] $NAME $Variant
        [{ $(#[$about])* $field: u64 }] [{ $(#[$about])* $field: u64 }] [{ $field }]
        [{ $field: Reader::new($command, $payload).u64()? }] [$out.extend_from_slice(&$field.to_le_bytes())]
        [{ $field }] [{ $field: *$field }]
    }] $($rest)* } };

    // `(Both)`: a type that borrows nothing.
    (@rows ($command:ident $payload:ident $out:ident) [$($done:tt)*]
        $(#[$doc:meta])* $NAME:ident $Variant:ident($Both:ident); $($rest:tt)*
    ) => { messages! { @rows ($command $payload $out) [$($done)* {
        [$(#[$doc])*] $NAME $Variant [($Both)] [($Both)] [(message)]
        [($Both::decode($payload)?)] [message.encode($out)] [(message)] [(*message)]
    }] $($rest)* } };

    // `(Cow<Owned>)`: a type that is owned as soon as it is decoded.
    (@rows ($command:ident $payload:ident $out:ident) [$($done:tt)*]
        $(#[$doc:meta])* $NAME:ident $Variant:ident(Cow<$Owned:ident>); $($rest:tt)*
    ) => { messages! { @rows ($command $payload $out) [$($done)* {
        [$(#[$doc])*] $NAME $Variant [(Cow<'a, $Owned>)] [(Box<$Owned>)] [(message)]
        [(Cow::Owned($Owned::decode($payload)?))] [message.encode($out)]
        [(Box::new(message.into_owned()))] [(Cow::Borrowed(message))]
    }] $($rest)* } };

    // `(Borrowed => Owned)`, or `(Borrowed[..] => Owned)` if several commands share the type: its `decode` then needs
    // the command.
    (@rows ($command:ident $payload:ident $out:ident) [$($done:tt)*]
        $(#[$doc:meta])* $NAME:ident $Variant:ident($Borrowed:ident $([$shared:tt])? => $Owned:ident); $($rest:tt)*
    ) => { messages! { @rows ($command $payload $out) [$($done)* {
        [$(#[$doc])*] $NAME $Variant [($Borrowed<'a>)] [($Owned)] [(message)]
        [($Borrowed::decode($(messages!(@shared $shared $command),)? $payload)?)] [message.encode($out)]
        [(message.into_owned())] [(message.as_ref())]
    }] $($rest)* } };

    // `(Borrowed => Box<Owned>)`: a large type, which is boxed.
    (@rows ($command:ident $payload:ident $out:ident) [$($done:tt)*]
        $(#[$doc:meta])* $NAME:ident $Variant:ident($Borrowed:ident => Box<$Owned:ident>); $($rest:tt)*
    ) => { messages! { @rows ($command $payload $out) [$($done)* {
        [$(#[$doc])*] $NAME $Variant [($Borrowed<'a>)] [(Box<$Owned>)] [(message)]
        [($Borrowed::decode($payload)?)] [message.encode($out)]
        [(Box::new(message.into_owned()))] [($Owned::as_ref(message))]
    }] $($rest)* } };

    (@shared .. $command:ident) => { $command };

    // No more rows.
    (@rows ($command:ident $payload:ident $out:ident) [$({
        [$($doc:tt)*] $NAME:ident $Variant:ident [$($borrowed:tt)*] [$($owned:tt)*] [$($pattern:tt)*]
        [$($decode:tt)*] [$($encode:tt)*] [$($into_owned:tt)*] [$($as_ref:tt)*]
    })*]) => {
        /// A decoded message that borrows from its payload. Decoding allocates only for a `version` with a user
        /// agent.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum MessageRef<'a> {
            $($($doc)* $Variant $($borrowed)*,)*
            /// A message with any other command.
            Opaque {
                /// The command.
                command: CommandName,
                /// The payload as received.
                payload: &'a [u8],
            },
        }

        /// An owned decoded message.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Message {
            $($($doc)* $Variant $($owned)*,)*
            /// A message with any other command.
            Opaque {
                /// The command.
                command: CommandName,
                /// The payload as received.
                payload: Box<[u8]>,
            },
        }

        impl<'a> MessageRef<'a> {
            /// Reads the payload of `command`; bytes after the last known field are ignored.
            ///
            /// # Errors
            ///
            /// The errors of the message's own `decode`. For a `ping` or `pong` of fewer than 8 bytes, the error is
            /// [`WireError::Truncated`]. Decoding an opaque message never fails.
            pub fn decode($command: CommandName, $payload: &'a [u8]) -> Result<Self, WireError> {
                Ok(match $command {
                    $(CommandName::$NAME => Self::$Variant $($decode)*,)*
                    _ => Self::Opaque { command: $command, payload: $payload },
                })
            }

            /// Returns the message's command.
            pub const fn command(&self) -> CommandName {
                match self {
                    $(Self::$Variant { .. } => CommandName::$NAME,)*
                    Self::Opaque { command, .. } => *command,
                }
            }

            /// Appends the payload, without a header.
            pub fn encode_payload(&self, $out: &mut Vec<u8>) {
                match self {
                    $(Self::$Variant $($pattern)* => $($encode)*,)*
                    Self::Opaque { payload, .. } => $out.extend_from_slice(payload),
                }
            }

            /// Returns the owned message, with a copy of its borrowed parts.
            pub fn into_owned(self) -> Message {
                match self {
                    $(Self::$Variant $($pattern)* => Message::$Variant $($into_owned)*,)*
                    Self::Opaque { command, payload } => Message::Opaque { command, payload: payload.into() },
                }
            }
        }

        impl Message {
            /// Borrows the message; a borrowed message can be encoded.
            pub fn as_ref(&self) -> MessageRef<'_> {
                match self {
                    $(Self::$Variant $($pattern)* => MessageRef::$Variant $($as_ref)*,)*
                    Self::Opaque { command, payload } => MessageRef::Opaque { command: *command, payload },
                }
            }
        }
    };

    // The table itself. Its rows refer to the input as `command` and `payload`, and to the output as `out`.
    ($(#[$doc:meta])* $NAME:ident $Variant:ident $($rest:tt)*) => {
        messages! { @rows (command payload out) [] $(#[$doc])* $NAME $Variant $($rest)* }
    };
}

pub(super) use messages;
