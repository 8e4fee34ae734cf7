//! What the dispatcher knows of this worker, so that only changes are sent. Pure.

use belljar_core::guest::GuestModules;
use belljar_core::message::{FromWorker, WorkerRegistration};
use belljar_core::task::TaskAttempt;
use belljar_core::task::TaskClass;

use crate::event::ExecutorInfo;

/// Whether the worker takes tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Duty {
    /// It does.
    Serving,
    /// It only reports what it still runs.
    Draining,
}

/// What a worker can run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// Sorted.
    pub(crate) classes: Vec<TaskClass>,
    pub(crate) guests: Vec<GuestModules>,
}

impl Capabilities {
    /// An executor has come up.
    pub(crate) fn add(&mut self, info: ExecutorInfo) {
        self.classes.push(info.class);
        self.classes.sort_unstable();
        self.classes.dedup();
        self.guests = GuestModules::common(self.guests.drain(..).chain(info.guest));
    }
}

/// What was announced on a connection. It exists once the dispatcher has welcomed the worker.
#[derive(Debug)]
pub(crate) struct Announced {
    inventory: Inventory,
    duty: Duty,
    capabilities: Capabilities,
    window: u32,
}

/// Whether the dispatcher has been sent what the worker has: the first message after the welcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inventory {
    Due,
    Sent,
}

impl Announced {
    /// What the registration said.
    pub(crate) fn by(registration: &WorkerRegistration) -> Self {
        let WorkerRegistration { classes, window, .. } = registration.clone();
        let capabilities = Capabilities { classes, guests: Vec::new() };
        Self { inventory: Inventory::Due, duty: Duty::Serving, capabilities, window }
    }

    /// Whether something is due without waiting for an occasion. A new window is not: it goes with the next
    /// message.
    pub(crate) fn is_outdated(&self, duty: Duty, capabilities: &Capabilities) -> bool {
        self.inventory == Inventory::Due || self.duty != duty || self.capabilities != *capabilities
    }

    pub(crate) const fn window(&self) -> u32 {
        self.window
    }

    /// What to send so that the dispatcher is up to date; `held` is what the worker has.
    pub(crate) fn update(
        &mut self,
        duty: Duty,
        capabilities: &Capabilities,
        window: u32,
        held: impl FnOnce() -> Vec<TaskAttempt>,
    ) -> Vec<FromWorker> {
        let mut batch = Vec::new();
        if self.inventory == Inventory::Due {
            self.inventory = Inventory::Sent;
            batch.push(FromWorker::InFlight(held()));
        }
        if self.duty != duty {
            self.duty = duty;
            batch.push(FromWorker::Draining);
        }
        let Capabilities { classes, guests } = capabilities;
        // Guests come first: a class is served only once it is known what its guest lacks.
        if self.capabilities.guests != *guests {
            self.capabilities.guests.clone_from(guests);
            batch.push(FromWorker::Guests(guests.clone()));
        }
        if self.capabilities.classes != *classes {
            self.capabilities.classes.clone_from(classes);
            batch.push(FromWorker::Classes(classes.clone()));
        }
        if self.window != window {
            self.window = window;
            batch.push(FromWorker::Window(window));
        }
        batch
    }
}
