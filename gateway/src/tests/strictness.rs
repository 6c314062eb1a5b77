//! Requests that are not quite HTTP, and what they are answered.
