//! One declaration per table: the row struct is the column list, the manual and the schema.

/// Declares a row struct and its columns. Every field's doc comment is the column's manual.
macro_rules! row {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $field_doc:literal])+ $field:ident: $type:ty,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug)]
        pub struct $name { $($(#[doc = $field_doc])+ pub $field: $type,)+ }

        impl $crate::table::Row for $name {
            const DOC: &'static str = concat!($($doc, "\n",)+);
            const COLUMNS: &'static [$crate::Column] = &[$($crate::Column {
                name: $crate::declare::plain(stringify!($field)),
                kind: <$type as $crate::CellType>::TYPE,
                optional: <$type as $crate::CellType>::OPTIONAL,
                doc: concat!($($field_doc, "\n",)+),
            },)+];

            fn cells(self) -> Vec<$crate::Cell> {
                vec![$($crate::CellType::cell(self.$field),)+]
            }
        }
    };
}
pub(crate) use row;

/// A field's name without the `r#` that a keyword needs.
pub(crate) const fn plain(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}
