"""The span of OpenTelemetry in which a call is made, as the service is told of it."""

from __future__ import annotations

import sys


def span_headers() -> str:
    """The headers that name the active span, each with a line break behind it; nothing where there is none.

    OpenTelemetry is no dependency: who has not imported it has no span."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return ""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return ""
    headers = f"traceparent: 00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}\r\n"
    state = context.trace_state.to_header()
    return f"{headers}tracestate: {state}\r\n" if state else headers
