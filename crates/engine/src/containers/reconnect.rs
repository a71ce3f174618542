//! What an engine does with the containers it finds at its start.
