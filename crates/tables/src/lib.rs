//! Every question to a memory dump as a table of typed rows.
//!
//! *What it is*: [`TABLES`] lists all tables; each is declared once as a row struct whose doc comments are the manual,
//! the column list and the JSON schema. The functions in [`rows`] give the same rows typed, for reports.
//!
//! *What it is not*: it prints nothing. A [`Sink`] takes cells and shows them some way.
//!
//! ```no_run
//! use afterimage_dump::{Budget, open};
//! use afterimage_tables::{find, Params, Rows};
//! use afterimage_target::{Options, Target};
//! let dump = open(std::path::Path::new("core"), &Budget::default())?;
//! let target = Target::new(dump, Options::default(), Budget::default());
//! let mut rows = Rows::default();
//! if let Some(table) = find("threads") {
//!     table.run(&target, &Params::default(), &mut rows).unwrap();
//! }
//! # Ok::<(), afterimage_dump::Error>(())
//! ```
//!
//! *Trap*: a value that is missing is an [`Absent`] with its reason, never an empty text or zero.

mod cell;
mod declare;
mod remarks;
pub mod rows;
mod schema;
mod sink;
mod table;

pub use cell::{Absent, Addr, Cell, CellType, ColumnType, Field, HexBytes, Time, Value};
pub use schema::json_schema;
pub use sink::{Rows, Sink};
pub use table::{Column, Param, Params, Row, TABLES, Table, TableError, find};
