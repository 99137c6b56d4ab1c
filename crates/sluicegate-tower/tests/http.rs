//! What knows of HTTP.
