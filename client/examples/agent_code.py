"""Runs code that an agent wrote, in turns: each answer, or what went wrong, is what it is told next.

    python examples/agent_code.py
"""

import belljar

# What a model might send, turn by turn; it learns from what comes back.
TURNS = [
    "total = sum(range(10))\nprint('the total is', total)",
    "while True: pass",
    "print(open('/etc/passwd').read())",
    "print(total)",
]


def run_code(source):
    """Runs a text as a program."""
    exec(source, {"__name__": "__main__"})


def answer(executor, source):
    """What the agent is told: the output, and the last line of an error."""
    future = executor.submit(run_code, source)
    error = future.exception()
    output = future.record().stdout.text.strip()
    return "\n".join(filter(None, [output, error and f"{type(error).__name__}: {error}"]))


def main():
    # A fresh interpreter for every turn: nothing of one is left for the next, and no turn outlives a second.
    with belljar.Executor(runtime="sandbox", timeout=1, memory_mb=128) as executor:
        for source in TURNS:
            print(f">>> {source.splitlines()[-1]}\n{answer(executor, source)}")


if __name__ == "__main__":
    main()
