//! Common to messages of clients and of the server: an enum of bodies, tagged by `type`.

/// Declares the enum with the word of each type.
macro_rules! kinds {
    ($(#[$about:meta])* $all:ident: $($(#[$doc:meta])* $name:ident($body:ty), $word:literal;)*) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq)]
        pub enum $all {
            $($(#[$doc])* $name($body),)*
        }

        impl $all {
            /// The word of every type.
            pub const TYPES: &'static [&'static str] = &[$($word,)*];

            /// The word in `type`.
            #[must_use]
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$name(_) => $word,)* }
            }

            /// The body of the type with this word, if there is one, from the fields beside `type`.
            fn from_value(kind: &str, body: serde_json::Value) -> Option<Result<Self, String>> {
                Some(match kind {
                    $($word => $crate::protocol::lenient::read_value(body).map(Self::$name),)*
                    _ => return None,
                })
            }

            /// Writes the fields beside `type`.
            fn serialize_fields<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self { $(Self::$name(body) => serde::Serialize::serialize(body, serializer),)* }
            }
        }

        $(impl From<$body> for $all {
            fn from(body: $body) -> Self {
                Self::$name(body)
            }
        })*
    };
}

pub(super) use kinds;
