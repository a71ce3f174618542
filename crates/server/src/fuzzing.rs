//! The way in for `fuzz/`: parsers that are private, results dropped.

use crate::filters;

/// Reads the `filters` parameter of a list request.
pub fn filters(text: &str) {
    if let Ok(filters) = filters::parse(Some(text)) {
        for key in filters.0.keys() {
            drop(filters::flag(&filters, key));
        }
    }
}
