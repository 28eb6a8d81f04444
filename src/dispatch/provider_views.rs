//! How the providers stand, for those who look from outside.

use super::exits::Providers;
use super::station::Dispatch;
use crate::pacing::Standing;

/// A look at the providers that is there as long as the program runs.
#[derive(Debug, Clone)]
pub struct ProviderViews(Providers);

impl ProviderViews {
    /// Every provider by name, as it stands now.
    pub fn all(&self) -> Vec<(String, Standing)> {
        self.0.iter().map(|(id, provider)| (id.clone(), provider.standing())).collect()
    }
}

impl Dispatch {
    pub fn provider_views(&self) -> ProviderViews {
        ProviderViews(self.providers.clone())
    }
}
