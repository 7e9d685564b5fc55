//! How a section of the file is declared: a field's doc, type and default stand on adjacent lines,
//! and are the only place where they are written.
//!
//! Reading, the JSON Schema and the example file all come from the declaration. No field may be
//! required by serde: a missing key must not hide the problems behind it, so that what has to be
//! there is a rule in `check.rs`.

/// Declares a section: a plain struct with public fields, its defaults and its schema.
///
/// The schema's `x-order` holds the keys in declaration order, which JSON objects do not keep.
macro_rules! section {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[$field_meta:meta])* $field:ident: $type:ty = $default:expr,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, serde::Deserialize, schemars::JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        #[schemars(extend("x-order" = [$(stringify!($field)),*]))]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

pub(super) use section;
