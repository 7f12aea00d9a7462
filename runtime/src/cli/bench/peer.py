"""Runs programs in smolagents' LocalPythonExecutor: {"programs": [...], "count": n} on standard input, one list
of milliseconds per program on standard output, null where a program failed."""

import json
import sys
import time

from smolagents.local_python_executor import LocalPythonExecutor

request = json.load(sys.stdin)


def run(code):
    executor = LocalPythonExecutor(additional_authorized_imports=["sympy", "sympy.*"])
    executor.send_tools({})
    begun = time.perf_counter()
    executor(code)
    return (time.perf_counter() - begun) * 1000


def measure(code):
    try:
        return [run(code) for _ in range(request["count"])]
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return None


print(json.dumps([measure(code) for code in request["programs"]]))
