//! The service inside of the test's own process.

use std::ops::Deref;
use std::sync::Arc;

use signer::bootstrap::{self, Service};
use signer::config::Settings;
use signer_actors::ports::{Clock, SystemClock};

use super::World;

/// A running service in its world.
pub(crate) struct TestApp {
    pub(crate) world: World,
    /// Where operators look.
    pub(crate) operations: String,
    /// Taken by those who drain it.
    pub(crate) service: Option<Service>,
}

impl Deref for TestApp {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl TestApp {
    /// As configured by default.
    pub(crate) async fn start() -> Self {
        Self::with("").await
    }

    /// With these changes to the configuration.
    pub(crate) async fn with(changes: &str) -> Self {
        Self::within(World::new(changes).await).await
    }

    /// In this world.
    pub(crate) async fn within(world: World) -> Self {
        Self::tuned(world, |_| ()).await
    }

    /// In this world, with settings that no file can give: shorter times, for tests that wait for them.
    pub(crate) async fn tuned(world: World, edit: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = world.settings();
        edit(&mut settings);
        Self::begun(world, &settings, Arc::new(SystemClock::default())).await
    }

    /// In this world, by this clock.
    pub(crate) async fn at(world: World, clock: Arc<dyn Clock>) -> Self {
        let settings = world.settings();
        Self::begun(world, &settings, clock).await
    }

    async fn begun(world: World, settings: &Settings, clock: Arc<dyn Clock>) -> Self {
        let log = slog::Logger::root(slog::Discard, slog::o!());
        let service = bootstrap::start_at(settings, log, clock).await.unwrap();
        let scheme = settings.server.tls.as_ref().map_or("http", |_| "https");
        let base = format!("{scheme}://{}", service.listen);
        world.base.set(base).unwrap();
        Self {
            operations: format!("http://{}", service.metrics_listen.unwrap()),
            world,
            service: Some(service),
        }
    }

    pub(crate) fn base(&self) -> &str {
        self.world.base.get().unwrap()
    }

    /// The metrics as text.
    pub(crate) async fn metrics(&self) -> String {
        let url = format!("{}/metrics", self.operations);
        self.http.get(url).send().await.unwrap().text().await.unwrap()
    }
}
