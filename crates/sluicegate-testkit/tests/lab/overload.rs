//! Overloads: the harness itself, and what is published of them.

mod collapse;
mod harness;
mod published;
mod rounds;
mod step;
mod tasks;
