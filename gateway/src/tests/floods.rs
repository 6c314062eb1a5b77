//! Floods of frames that cost the sender little.
