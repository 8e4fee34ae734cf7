//! What experiments share: how services are started, the Python that serializes, and the run that takes
//! their samples.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;

use crate::args::Profile;
use crate::drive::Timed;
use crate::progress::Progress;
use crate::python::Python;
use crate::run::{Run, Series};
use crate::service::{Launcher, Service, ServiceMode, Setup};

/// The environment of all experiments.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) profile: Profile,
    pub(crate) launcher: Launcher,
    /// A running service to measure.
    pub(crate) given: Option<SocketAddr>,
    /// Slots of each service.
    pub(crate) slots: usize,
    /// The environment of the other systems.
    pub(crate) peers: PathBuf,
    pub(crate) interpreter: PathBuf,
    pub(crate) python: Python,
    pub(crate) progress: Progress,
    pub(crate) run: Run,
}

/// A service, and its name in figures.
#[derive(Debug)]
pub(crate) struct Subject {
    /// `local`, `pull`, `push`, or `given` for a service that was running.
    pub(crate) mode: String,
    pub(crate) service: Service,
}

impl Context {
    /// One service for each mode. Measurements take turns among them, so that other load on the machine
    /// affects all of them. A given service stands for all.
    pub(crate) async fn subjects(&self, modes: &[ServiceMode]) -> Result<Vec<Subject>> {
        if let Some(address) = self.given {
            return Ok(vec![Subject { mode: "given".into(), service: Service::running(address) }]);
        }
        let mut subjects = Vec::new();
        for &mode in modes {
            let service = self.launcher.start(&Setup::slots(mode, self.slots)).await?;
            subjects.push(Subject { mode: mode.as_str().to_owned(), service });
        }
        Ok(subjects)
    }

    /// One service in local mode, unless one was given.
    pub(crate) async fn subject(&self) -> Result<Service> {
        match self.given {
            Some(address) => Ok(Service::running(address)),
            None => self.launcher.start(&Setup::slots(ServiceMode::Local, self.slots)).await,
        }
    }

    /// Registers one of the functions with a service, and returns its id.
    pub(crate) async fn register(
        &mut self,
        service: &Service,
        function: &str,
        runtime: &str,
    ) -> Result<String> {
        let payload = self.python.function(function)?;
        service.client().await?.register(function, &payload, runtime).await
    }

    /// Keeps samples.
    pub(crate) fn keep(&mut self, series: Series, samples: Vec<f64>) {
        self.run.keep(series.of(samples));
    }

    /// Keeps samples of each process.
    pub(crate) fn keep_parts<P: ToString>(
        &mut self,
        series: &Series,
        parts: impl IntoIterator<Item = (P, Vec<f64>)>,
    ) {
        for (part, samples) in parts {
            self.keep(series.clone().at("part", part), samples);
        }
    }

    /// Counts checked results.
    pub(crate) fn count(&mut self, timed: &Timed) {
        self.run.check(timed.total, &timed.wrong);
    }

    /// Notes why something was not measured.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.run.notes.push(text.into());
    }
}
