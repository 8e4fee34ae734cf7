//! Calls that go on where the one before has ended, each in another sandbox than that.

use std::time::Instant;

use belljar_core::task::PythonVersion;
use belljar_core::warm::WarmMode;
use belljar_sandbox::image::default_dir;
use belljar_sandbox::{
    EngineConfig, Function, GrantedAccess, Image, Limits, Output, Sandbox, source,
};

use crate::Failure;

/// The pickle of `belljar_session.run`.
const RUN: &[u8] = b"\x80\x04cbelljar_session\nrun\n.";
const STEPS: usize = 200;

/// What a session begins with, and what its steps do.
const SESSIONS: [[&str; 3]; 4] = [
    ["x = 1", "x = 1", "x"],
    ["numpy, 1,000 numbers", "import numpy; x = numpy.arange(1000.0)", "x.sum()"],
    ["numpy, 100,000 numbers", "import numpy; x = numpy.random.rand(100_000)", "x.sum()"],
    [
        "pandas, 1,000 rows",
        "import pandas; x = pandas.DataFrame({'a': range(1000)})",
        "x['a'].sum()",
    ],
];

/// Prints the figures of each session whose modules the guest has.
pub(crate) fn measure(minor: PythonVersion) -> Result<(), Failure> {
    println!(
        "session                   stored bytes   until it goes on, ms p50 / p99   step, ms p50 / p99"
    );
    for [name, begin, step] in SESSIONS {
        let image = Image::load(default_dir(minor)?, &EngineConfig::default())?;
        if let Some(figures) = Figures::of(&image, begin, step)? {
            figures.print(name);
        }
    }
    Ok(())
}

struct Figures {
    bytes: usize,
    begun_ms: Vec<f64>,
    step_ms: Vec<f64>,
}

impl Figures {
    fn of(image: &Image, begin: &str, step: &str) -> Result<Option<Self>, Failure> {
        let grants = GrantedAccess::none().scratch(1 << 20);
        let new = || Sandbox::new(image, &GrantedAccess::none(), Output::Capture(1000));
        let mut sandboxes = [new()?, new()?];
        let mut state = Vec::new();
        let mut figures = Self { bytes: 0, begun_ms: Vec::new(), step_ms: Vec::new() };
        for number in 0..STEPS {
            let sandbox = &mut sandboxes[number % 2];
            let source = serde_json::to_string(&[if number == 0 { begin } else { step }])?;
            let args = source::arguments(&source);
            let function = Function { code: RUN, name: None, warm: WarmMode::Auto };
            let start = Instant::now();
            let called =
                sandbox.call_in_session(function, &args, (&Limits::default(), &grants), &state)?;
            let took = start.elapsed();
            let (answer, Some(left)) = called else { return Ok(None) };
            if answer.result.is_err() {
                return Ok(None);
            }
            state = left.to_vec();
            figures.bytes = state.len();
            // The first two prepare the memories.
            if number > 3 {
                figures.begun_ms.push(answer.phases.instance_us as f64 / 1e3);
                figures.step_ms.push(took.as_secs_f64() * 1e3);
            }
            sandbox.prepare()?;
        }
        Ok(Some(figures))
    }

    fn print(mut self, name: &str) {
        let [begun, step] = [&mut self.begun_ms, &mut self.step_ms].map(|samples| {
            samples.sort_by(f64::total_cmp);
            let at = |percent: usize| samples.get(samples.len() * percent / 100).copied();
            [at(50), at(99)].map(Option::unwrap_or_default)
        });
        let [[p50, p99], [step50, step99]] = [begun, step];
        println!(
            "{name:24}  {:12}   {p50:18.3} / {p99:6.3}   {step50:12.3} / {step99:.3}",
            self.bytes
        );
    }
}
