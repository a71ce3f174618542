//! Registries of the OCI distribution specification and Docker's, behind a blocking face.
