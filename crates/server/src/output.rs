//! Lines for standard output. Whoever reads them may go away (`| head`): what cannot be written is lost, and the exit code
//! says it all.

use std::fmt;
use std::io::{self, Write};

pub fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}
