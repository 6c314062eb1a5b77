//! Enums whose variants have published names.

/// Gives an enum of published names its `name`, `ALL`, `Display`, `FromStr` and `Serialize`. A macro, because every such
/// enum needs the same six items, and a name that is written twice may differ.
macro_rules! named {
    ($type:ident, $error:literal, { $($variant:ident => $name:literal),+ $(,)? }) => {
        impl $type {
            /// Every one, in the published order.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant),+];

            /// The published name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::names::UnknownName;

            fn from_str(name: &str) -> Result<Self, $crate::names::UnknownName> {
                Self::ALL.into_iter().find(|each| each.name() == name).ok_or($crate::names::UnknownName($error))
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }
    };
}

pub(crate) use named;

/// A name that none of the enum's variants has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no {0} has this name")]
pub struct UnknownName(pub(crate) &'static str);
