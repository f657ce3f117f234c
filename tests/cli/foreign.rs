//! Files that were there before a command, or came while it ran: each is there afterwards, to the byte.

mod changed;
mod files;
mod model;
mod planted;
mod runs;
mod train;
