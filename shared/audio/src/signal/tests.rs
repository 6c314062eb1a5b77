//! The accuracy of all measures together, with the tolerances that docs/analysis.md tells.
