//! `messages!`: declares both enums of messages, and the conversions between them and bytes, from one table.
//!
//! A row names the command, the variant and the variant's content, in one of six forms; each rule below is one form and
//! holds all that is particular to it. What the rules leave of a row is `{ docs, command, variant, borrowed content,
//! owned content, pattern, decode, encode, into owned, as borrowed }`, and the last rule writes those down. Nothing is
//! decided at run time: the result is what one would write by hand.

/// Declares [`MessageRef`](super::MessageRef) and [`Message`](super::Message).
macro_rules! messages {
    // Nothing: the command has no payload.
    (@rows ($command:ident $payload:ident $out:ident) [$($done:tt)*]
        $(#[$doc:meta])* $NAME:ident $Variant:ident; $($rest:tt)*
    ) => { messages! { @rows ($command $payload $out) [$($done)* {
        [$(#[$doc])*] $NAME $Variant [] [] [] [] [{}] [] []
    }] $($rest)* } };

    // `{ nonce }`: a number of 64 bits.
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

    // `(Cow<Owned>)`: a type that is owned when it is decoded.
    (@rows ($command:ident $payload:ident $out:ident) [$($done:tt)*]
        $(#[$doc:meta])* $NAME:ident $Variant:ident(Cow<$Owned:ident>); $($rest:tt)*
    ) => { messages! { @rows ($command $payload $out) [$($done)* {
        [$(#[$doc])*] $NAME $Variant [(Cow<'a, $Owned>)] [(Box<$Owned>)] [(message)]
        [(Cow::Owned($Owned::decode($payload)?))] [message.encode($out)]
        [(Box::new(message.into_owned()))] [(Cow::Borrowed(message))]
    }] $($rest)* } };

    // `(Borrowed => Owned)`, and `(Borrowed[..] => Owned)` where several commands share the type, which asks for one.
    (@rows ($command:ident $payload:ident $out:ident) [$($done:tt)*]
        $(#[$doc:meta])* $NAME:ident $Variant:ident($Borrowed:ident $([$shared:tt])? => $Owned:ident); $($rest:tt)*
    ) => { messages! { @rows ($command $payload $out) [$($done)* {
        [$(#[$doc])*] $NAME $Variant [($Borrowed<'a>)] [($Owned)] [(message)]
        [($Borrowed::decode($(messages!(@shared $shared $command),)? $payload)?)] [message.encode($out)]
        [(message.into_owned())] [(message.as_ref())]
    }] $($rest)* } };

    // `(Borrowed => Box<Owned>)`: so large that it is kept apart.
    (@rows ($command:ident $payload:ident $out:ident) [$($done:tt)*]
        $(#[$doc:meta])* $NAME:ident $Variant:ident($Borrowed:ident => Box<$Owned:ident>); $($rest:tt)*
    ) => { messages! { @rows ($command $payload $out) [$($done)* {
        [$(#[$doc])*] $NAME $Variant [($Borrowed<'a>)] [(Box<$Owned>)] [(message)]
        [($Borrowed::decode($payload)?)] [message.encode($out)]
        [(Box::new(message.into_owned()))] [($Owned::as_ref(message))]
    }] $($rest)* } };

    (@shared .. $command:ident) => { $command };

    // No row is left.
    (@rows ($command:ident $payload:ident $out:ident) [$({
        [$($doc:tt)*] $NAME:ident $Variant:ident [$($borrowed:tt)*] [$($owned:tt)*] [$($pattern:tt)*]
        [$($decode:tt)*] [$($encode:tt)*] [$($into_owned:tt)*] [$($as_ref:tt)*]
    })*]) => {
        /// A decoded message that borrows from its payload; only a `version` with a user agent allocates.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum MessageRef<'a> {
            $($($doc)* $Variant $($borrowed)*,)*
            /// Any other message.
            Opaque {
                /// The command.
                command: CommandName,
                /// The payload as it came.
                payload: &'a [u8],
            },
        }

        /// A decoded message on its own.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Message {
            $($($doc)* $Variant $($owned)*,)*
            /// Any other message.
            Opaque {
                /// The command.
                command: CommandName,
                /// The payload as it came.
                payload: Box<[u8]>,
            },
        }

        impl<'a> MessageRef<'a> {
            /// Reads the payload of `command`; bytes behind the last known field are ignored.
            ///
            /// # Errors
            ///
            /// As the message's own `decode`; a `ping` or `pong` without a whole nonce is [`WireError::Truncated`]. An
            /// opaque message is never wrong.
            pub fn decode($command: CommandName, $payload: &'a [u8]) -> Result<Self, WireError> {
                Ok(match $command {
                    $(CommandName::$NAME => Self::$Variant $($decode)*,)*
                    _ => Self::Opaque { command: $command, payload: $payload },
                })
            }

            /// Returns the command that the message travels under.
            pub const fn command(&self) -> CommandName {
                match self {
                    $(Self::$Variant { .. } => CommandName::$NAME,)*
                    Self::Opaque { command, .. } => *command,
                }
            }

            /// Appends the payload alone.
            pub fn encode_payload(&self, $out: &mut Vec<u8>) {
                match self {
                    $(Self::$Variant $($pattern)* => $($encode)*,)*
                    Self::Opaque { payload, .. } => $out.extend_from_slice(payload),
                }
            }

            /// Returns the message on its own; copies what it borrows.
            pub fn into_owned(self) -> Message {
                match self {
                    $(Self::$Variant $($pattern)* => Message::$Variant $($into_owned)*,)*
                    Self::Opaque { command, payload } => Message::Opaque { command, payload: payload.into() },
                }
            }
        }

        impl Message {
            /// Borrows the message; this is how it is encoded.
            pub fn as_ref(&self) -> MessageRef<'_> {
                match self {
                    $(Self::$Variant $($pattern)* => MessageRef::$Variant $($as_ref)*,)*
                    Self::Opaque { command, payload } => MessageRef::Opaque { command: *command, payload },
                }
            }
        }
    };

    // The table. The names stand for what a row decodes and where it is encoded to.
    ($(#[$doc:meta])* $NAME:ident $Variant:ident $($rest:tt)*) => {
        messages! { @rows (command payload out) [] $(#[$doc])* $NAME $Variant $($rest)* }
    };
}

pub(super) use messages;
