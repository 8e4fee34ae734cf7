//! Logs go to standard error; standard output is for people and scripts.

use std::fmt;
use std::io::IsTerminal as _;

use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{FmtSpan, Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::args::{Command, LogArgs, LogFormat};

/// Starts logging as the options say, or else at the default of the command: the services log what they do, other
/// commands only what needs attention.
pub(crate) fn start(args: &LogArgs, command: &Command) {
    let (part, default) = match command {
        Command::Gateway(_) => ("gateway", "info"),
        Command::Dispatcher(_) => ("dispatcher", "info"),
        Command::Worker(_) => ("worker", "info"),
        // The output is that of Python.
        Command::Run(_)
        | Command::Tasks(_)
        | Command::Logs(_)
        | Command::Workers(_)
        | Command::Cancel(_) => ("belljar", "error"),
        _ => ("belljar", "warn"),
    };
    // Its warnings concern private unix sockets, whose directory is removed before it removes the socket.
    let default = format!("{default},zeromq=error");
    let filter = EnvFilter::new(args.filter.as_deref().unwrap_or(&default));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::NONE);
    match args.format {
        LogFormat::Text => {
            let text = tracing_subscriber::fmt::format().with_target(false);
            let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            log.with_ansi(colours).event_format(OfPart { part, format: text }).init();
        }
        LogFormat::Json => {
            let json = tracing_subscriber::fmt::format().json().flatten_event(true);
            log.fmt_fields(JsonFields::new()).event_format(OfPart { part, format: json }).init();
        }
    }
}

/// Lines that say which part of the service wrote them.
struct OfPart<F> {
    part: &'static str,
    format: F,
}

impl<S, N> FormatEvent<S, N> for OfPart<Format>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "{:<10} ", self.part)?;
        self.format.format_event(ctx, writer, event)
    }
}

impl<S, N> FormatEvent<S, N> for OfPart<Format<Json>>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.format.format_event(ctx, Writer::new(&mut line), event)?;
        // The object begins with a brace.
        let fields = line.get(1..).unwrap_or_default();
        write!(writer, r#"{{"part":"{}",{fields}"#, self.part)
    }
}
