"""What an action sees and what becomes of it: imports from the host, output, tools, and the report.

Runs once before the snapshot, with its own copy of the builtins. guest.c calls `start` once a session, and
`prepare` and `finish` around every action.
"""

import marshal
import sys
from _frozen_importlib import ModuleSpec

import _retort


class LibraryLoader:
    """Executes one module whose code the host gave."""

    def __init__(self, code):
        self.code = code

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        exec(self.code, module.__dict__)

    def get_code(self, name):
        return self.code

    def get_source(self, name):
        return None


# Packages that many programs import and that cannot be here, with what to use instead.
ABSENT = {"numpy": "use lists with math, statistics and random, or sympy for matrices and algebra"}


class AbsentLoader:
    """Fails with advice. An import inside `try` falls back as it does where the package is not installed."""

    def create_module(self, spec):
        raise ModuleNotFoundError(f"No module named {spec.name!r}: {ABSENT[spec.name]}", name=spec.name)

    def exec_module(self, module):
        pass


class LibraryFinder:
    """Asks the host for every module that is neither built in nor frozen."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name in ABSENT:
            return ModuleSpec(name, AbsentLoader())
        if "/" in name or not name.isascii():
            return None
        answer = _retort.load(name)
        if answer is None:
            return None
        is_package = answer[0] == 1
        code = marshal.loads(memoryview(answer)[1:])
        spec = ModuleSpec(name, LibraryLoader(code), origin=code.co_filename, is_package=is_package)
        spec.has_location = True
        return spec


sys.meta_path.append(LibraryFinder)

# These imports need the finder.
import ast
import builtins
import errno
import gc
import importlib
import io
import json
import linecache
import math
import random
import time
import warnings
import __future__ as future
from _sitebuiltins import Quitter, _Helper

# The report must not depend on functions that an action may overwrite.
parse = ast.parse
dump_json = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode
load_json = json.JSONDecoder().decode
main = sys.modules["__main__"].__dict__

# What actions import, most of it measured on students' code: held in the snapshot, so importing it costs nothing.
PRELOADED = """
    re math json datetime _strptime collections itertools functools statistics decimal fractions random string
    textwrap heapq bisect operator typing dataclasses enum copy calendar numbers cmath unicodedata time contextlib
    abc types queue traceback linecache warnings
""".split()

MATH_NAMES = """
    sqrt floor ceil log exp sin cos tan asin acos atan atan2 sinh cosh tanh degrees radians log2 log10 factorial
    gcd pi
""".split()

FUTURE_FLAGS = 0
for _name in future.all_feature_names:
    FUTURE_FLAGS |= getattr(future, _name).compiler_flag

# A value longer than this is not turned into text only because it was assigned.
ASSIGNED_ITEMS_MAX = 100_000
JSON_DEPTH_MAX = 64


# ---- output and input ----


class HostOutput(io.RawIOBase):
    """The file below sys.stdout and sys.stderr. Muted, it drops what it is given."""

    muted = False

    def writable(self):
        return True

    def write(self, data):
        if not HostOutput.muted:
            _retort.print(data)
        return len(data)


def open_streams():
    """Line-buffered as on a terminal: what was printed before a limit is known to the host."""
    for name in ("stdout", "stderr"):
        errors = "strict" if name == "stdout" else "backslashreplace"
        buffered = io.BufferedWriter(HostOutput())
        stream = io.TextIOWrapper(buffered, encoding="utf-8", errors=errors, newline="\n", line_buffering=True)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.stdin = sys.__stdin__ = io.StringIO("")


def flush_streams():
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            stream.flush()
        except Exception:
            pass


# ---- the world outside: as CPython on a machine without files ----


def sleep(seconds):
    """The clock stands still, so sleeping ends at once."""
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")


def adapt_world():
    time.sleep = sleep
    errno.ENOENT = 2  # as guest.c reports it; before anything else copies the number
    errno.errorcode[2] = "ENOENT"


# ---- tools ----


class ActionEnd(BaseException):
    """Raised by final_answer to leave the action."""


class Answer:
    """What final_answer was given; the first call of an action counts, even if its exception was swallowed."""

    given = False
    value = None


def call_tool(name, arguments):
    request = dump_json(arguments).encode("utf-8", "replace")
    answer = _retort.call(name, request)
    text = answer[1:].decode("utf-8", "replace")
    if answer[0] != 0:
        raise RuntimeError(text)
    return load_json(text)


def require_string(function, query):
    if not isinstance(query, str):
        raise TypeError(f"{function}() argument 'query' must be str, not {type(query).__name__}")
    return {"query": str(query)}


def search(query):
    return call_tool("search", require_string("search", query))


def web_search(query):
    return call_tool("search", require_string("web_search", query))


def final_answer(answer):
    if not Answer.given:
        Answer.given = True
        Answer.value = answer
    raise ActionEnd


def of_python(function):
    """The same as a function of Python: sympy's parser takes builtins written in C for its own names."""

    def offered(*arguments):
        return function(*arguments)

    offered.__name__ = offered.__qualname__ = function.__name__
    offered.__module__ = "builtins"
    offered.__doc__ = function.__doc__
    return offered


def offer_names():
    """The tools and math names are builtins of the actions: an action may shadow them, never lose them."""
    for tool in (search, web_search, final_answer):
        tool.__module__ = "builtins"
        setattr(builtins, tool.__name__, tool)
    for name in MATH_NAMES:
        value = getattr(math, name)
        setattr(builtins, name, of_python(value) if callable(value) else value)
    builtins.exit = Quitter("exit", "Ctrl-D (i.e. EOF)")
    builtins.quit = Quitter("quit", "Ctrl-D (i.e. EOF)")
    builtins.help = _Helper()


# ---- what the snapshot holds ----


def settle():
    """Takes what there is out of the collector's sight, so that a collection does not touch every page of it."""
    gc.collect()
    gc.freeze()


def preload(name):
    """Imports what the module `name` imports, and forgets that module itself."""
    importlib.import_module(name)
    del sys.modules[name]
    settle()


# ---- one action ----


class Action:
    """The action being run."""

    count = 0
    name = ""
    lines = []
    has_value = False
    assigned_code = None
    last_line = None


def start(random_seed, unix_seconds):
    random.seed(random_seed)
    sympy_random = sys.modules.get("sympy.core.random")
    if sympy_random is not None:
        sympy_random.seed(random_seed)


def prepare(source):
    """The code objects to evaluate in order. Everything is compiled before anything runs."""
    Answer.given, Answer.value = False, None
    Action.count += 1
    Action.name = f"<action {Action.count}>"
    Action.has_value, Action.assigned_code = False, None
    Action.lines, Action.last_line = [], None
    if sys.stdout is None or getattr(sys.stdout, "closed", False):
        open_streams()
    text = source.decode("utf-8").removeprefix("\ufeff")
    Action.lines = text.split("\n")
    linecache.cache[Action.name] = (len(text), None, text.splitlines(True), Action.name)
    return compile_action(parse(text, Action.name))


def compile_action(tree):
    last = tree.body[-1] if tree.body else None
    Action.last_line = last.lineno if last else None
    if not isinstance(last, ast.Expr):
        code = compile(tree, Action.name, "exec", dont_inherit=True)
        Action.assigned_code = compile_target(last)
        return (code,)
    tree.body.pop()
    body = compile(tree, Action.name, "exec", dont_inherit=True)
    flags = body.co_flags & FUTURE_FLAGS
    value = compile(ast.Expression(last.value), Action.name, "eval", flags=flags, dont_inherit=True)
    Action.has_value = True
    return (body, value)


class Loading(ast.NodeTransformer):
    """Turns an assignment's target into an expression that reads it."""

    def generic_visit(self, node):
        if hasattr(node, "ctx"):
            node.ctx = ast.Load()
        return super().generic_visit(node)


def compile_target(statement):
    """Code that reads what a last assignment assigned; None where reading could do anything else."""
    if isinstance(statement, ast.Assign):
        target = statement.targets[0]
    elif isinstance(statement, ast.AugAssign) or (isinstance(statement, ast.AnnAssign) and statement.value):
        target = statement.target
    else:
        return None
    if any(isinstance(node, (ast.Call, ast.NamedExpr)) for node in ast.walk(target)):
        return None
    return compile(ast.Expression(Loading().visit(target)), Action.name, "eval", dont_inherit=True)


def assigned_text():
    if Action.assigned_code is None:
        return None
    HostOutput.muted = True
    try:
        value = eval(Action.assigned_code, main)
        if value is None or (hasattr(value, "__len__") and len(value) > ASSIGNED_ITEMS_MAX):
            return None
        return str(value)
    except BaseException:
        return None
    finally:
        flush_streams()
        HostOutput.muted = False


def json_form(value, depth=0):
    """The value as JSON has it; raises where JSON has no such value or readers would lose digits."""
    if depth > JSON_DEPTH_MAX:
        raise ValueError("too deep")
    if value is None or isinstance(value, (bool, str)):
        return value if value is None or isinstance(value, bool) else str(value)
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, (list, tuple)):
        return [json_form(item, depth + 1) for item in value]
    if isinstance(value, dict) and all(isinstance(key, (str, int)) for key in value):
        return {str(key): json_form(item, depth + 1) for key, item in value.items()}
    raise TypeError("no JSON form")


def json_form_or_none(value):
    try:
        return json_form(value)
    except Exception:
        return None


def exception_text(exception):
    try:
        if isinstance(exception, SyntaxError) and exception.msg is not None:
            return str(exception.msg)
        return str(exception)
    except BaseException:
        return "<exception str() failed>"


def exception_line(exception):
    """The innermost line of this action's source that the exception passed.

    The last statement's if it passed none: then it came from the str() of the action's value.
    """
    if isinstance(exception, SyntaxError) and exception.filename == Action.name:
        return exception.lineno
    line = Action.last_line
    step = exception.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == Action.name:
            line = step.tb_lineno
        step = step.tb_next
    return line


def exception_column(exception):
    """Where in its line a syntax error of the action is, from 1."""
    if isinstance(exception, SyntaxError) and exception.filename == Action.name:
        column = exception.offset
        return column if isinstance(column, int) and column > 0 else None
    return None


def describe_error(exception):
    line = exception_line(exception)
    known = isinstance(line, int) and 0 < line <= len(Action.lines)
    return {
        "kind": type(exception).__name__,
        "message": exception_text(exception),
        "line": line if known else None,
        "column": exception_column(exception) if known else None,
        "source_line": Action.lines[line - 1].rstrip("\r") if known else None,
    }


def describe(value, exception):
    report = {"value": None, "assigned": None, "is_final": False, "answer": None, "answer_json": None, "error": None}
    if Answer.given:
        report["answer"] = str(Answer.value)
        report["answer_json"] = json_form_or_none(Answer.value)
        report["is_final"] = True
    elif exception is not None:
        report["error"] = describe_error(exception)
    elif Action.has_value:
        report["value"] = None if value is None else str(value)
    else:
        report["assigned"] = assigned_text()
    return report


def finish(value, exception):
    """The report on the action, as JSON. A str() that raises is the action's error, as with print()."""
    try:
        report = describe(value, exception)
    except BaseException as raised:
        Answer.given = False
        report = describe(None, raised)
    Answer.value = None
    if report["error"] is not None and sys.stdout is not sys.__stdout__:
        flush_streams()
        sys.stdout = sys.__stdout__
    flush_streams()
    return dump_json(report).encode("utf-8", "replace")


# CPython's usual limit; its WebAssembly builds have a lower one, for hosts with a small stack.
sys.setrecursionlimit(1000)
# Warnings would go to stderr, which is not told apart from what an action prints.
warnings.simplefilter("ignore")
adapt_world()
open_streams()
for _name in PRELOADED:
    importlib.import_module(_name)
offer_names()
settle()
