//! Whether credentials are right.

use std::sync::Arc;

use crate::cancel::Cancel;
use crate::client::{Access, Client};
use crate::credentials::Credentials;
use crate::error::RegistryError;
use crate::name::{Repository, host_of_address};

impl Client {
    /// Asks the registry that `credentials` name. Some give a token in exchange, to be kept instead of the password.
    ///
    /// # Errors
    /// [`RegistryError::Login`] when they are not right; others when nobody answers, or nobody waits any more.
    pub fn login(
        &self,
        credentials: &Credentials,
        cancel: &Arc<Cancel>,
    ) -> Result<Option<String>, RegistryError> {
        let repository = Repository {
            host: host_of_address(&credentials.server_address).to_owned(),
            path: String::new(),
        };
        let endpoint = self.registry(&repository.host);
        self.open(
            &endpoint,
            &repository,
            Some(credentials),
            &Access::Login,
            cancel,
        )?
        .log_in()
    }
}
