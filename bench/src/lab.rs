//! What experiments share: how services come about, the Python that serializes, and the run that takes
//! their findings.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;

use crate::config::Effort;
use crate::drive::Timed;
use crate::progress::Progress;
use crate::python::Python;
use crate::run::{Run, Series};
use crate::service::{Launcher, Mode, Service, Setup};

/// The most wrong results that a run tells of.
const MAX_WRONG: usize = 100;

/// Where experiments work.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) effort: Effort,
    pub(crate) launcher: Launcher,
    /// The service to measure, where it runs already.
    pub(crate) given: Option<SocketAddr>,
    /// Slots of each service.
    pub(crate) slots: usize,
    pub(crate) interpreter: PathBuf,
    pub(crate) python: Python,
    pub(crate) progress: Progress,
    pub(crate) run: Run,
}

/// A service, and how figures name it.
#[derive(Debug)]
pub(crate) struct Subject {
    /// `local`, `pull`, `push`; `given` for one that ran already.
    pub(crate) mode: String,
    pub(crate) service: Service,
}

impl Lab {
    /// A service in each of these modes, side by side: measuring them in turns lets whatever else the
    /// machine does meet all of them. A service that was given stands for all.
    pub(crate) async fn subjects(&self, modes: &[Mode]) -> Result<Vec<Subject>> {
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
            None => self.launcher.start(&Setup::slots(Mode::Local, self.slots)).await,
        }
    }

    /// Registers one of the functions with a service: its id.
    pub(crate) async fn register(
        &mut self,
        service: &Service,
        function: &str,
        runtime: &str,
    ) -> Result<String> {
        let payload = self.python.function(function)?;
        service.client().await?.register(function, &payload, runtime).await
    }

    /// Keeps a series, unless it is empty.
    pub(crate) fn keep(&mut self, series: Series) {
        if !series.samples.is_empty() {
            self.run.series.push(series);
        }
    }

    /// Counts results that were checked.
    pub(crate) fn count(&mut self, timed: &Timed) {
        self.run.checked += timed.total as u64;
        let room = MAX_WRONG.saturating_sub(self.run.wrong.len());
        self.run.wrong.extend(timed.wrong.iter().take(room).cloned());
    }

    /// Counts one result that was checked.
    pub(crate) fn count_one(&mut self, checked: Result<(), String>) {
        let wrong = checked.err().into_iter().collect();
        self.count(&Timed { total: 1, wrong, ..Timed::default() });
    }

    /// Tells why something was not measured.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.run.notes.push(text.into());
    }
}
