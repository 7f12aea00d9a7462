"""Packs the guest's libraries, freezes what it needs before it can ask the host, writes the manifest.

Run by build.sh with the CPython 3.11 whose marshal format the guest reads.
"""

import argparse
import ast
import hashlib
import marshal
import pathlib
import runpy
import struct
import subprocess
import sys

# Needed before the prelude has put its finder in place; everything else comes from the host.
FROZEN = ["encodings", "encodings.aliases", "encodings.ascii", "encodings.latin_1", "encodings.utf_8"]

# Left out: tests, user interfaces, build tools, and what lives by files, processes, threads, sockets or
# extension modules that the guest does not have. A name covers its submodules.
LEFT_OUT = set("""
    __phello__ antigravity asyncio bz2 cProfile cgi cgitb compileall crypt ctypes curses dbm
    distutils email.test ensurepip fileinput ftplib getpass gzip http idlelib imaplib imghdr lib2to3 lzma mailbox
    mailcap mimetypes modulefinder msilib multiprocessing netrc nis nntplib ossaudiodev pip pipes plistlib
    poplib profile pstats pty py_compile pydoc_data readline rlcompleter sched shelve site smtpd smtplib sndhdr
    socket socketserver sqlite3 ssl sunau symtable tarfile telnetlib test tkinter trace tty turtle turtledemo
    unittest.test urllib.request urllib.robotparser uu venv wave webbrowser wsgiref xdrlib xml xmlrpc zipapp zipfile
    zoneinfo
""".split())

# Written at CPython's build for its install scheme; sysconfig (and so help()) only wants it to exist.
ADDED = {"_sysconfigdata__wasi_wasm32-wasi": b"build_time_vars = {}\n"}

# The same of sympy and mpmath: tests, and what works by compilers, windows or parsers of other packages.
SYMPY_LEFT_OUT = set("""
    mpmath.tests sympy.conftest sympy.galgebra sympy.parsing.autolev sympy.parsing.c sympy.parsing.fortran
    sympy.parsing.latex._antlr sympy.parsing.latex._build_latex_antlr sympy.printing.llvmjitcode sympy.sandbox
    sympy.this sympy.utilities._compilation sympy.utilities.pytest sympy.utilities.runtests sympy.utilities.tmpfiles
""".split())

# Modules in place of sympy's and mpmath's own: the test runner (it wants a debugger and processes), and help texts.
SYMPY_REPLACED = {
    "sympy.testing": b"""
def test(*paths, **options):
    raise NotImplementedError("the tests of sympy are not part of this image")


doctest = test
""",
    "mpmath.function_docs": b"""
def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return None
""",
}

# The one thing sympy wants of ctypes, said with struct.
SYMPY_PATCHED = {
    "sympy.external.gmpy": (
        b"from ctypes import c_long, sizeof",
        b"from struct import calcsize as sizeof; c_long = 'l'",
    ),
}


def is_left_out(name, left_out):
    parts = name.split(".")
    prefixes = {".".join(parts[: count + 1]) for count in range(len(parts))}
    return bool(prefixes & left_out) or not {"test", "tests", "benchmarks"}.isdisjoint(parts)


def find_modules(library):
    """(name, is_package, path) of every module below `library`, sorted by name."""
    modules = []
    for path in library.rglob("*.py"):
        parts = list(path.relative_to(library).with_suffix("").parts)
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        if name and all(part.isidentifier() for part in parts):
            modules.append((name, is_package, path))
    return sorted(modules)


def compile_module(source, shown_as):
    """The marshalled code, without docstrings and asserts."""
    return marshal.dumps(compile(source, shown_as, "exec", dont_inherit=True, optimize=2))


def compile_with_empty_docstrings(source, shown_as):
    """sympy reads some of its docstrings: they are there, and empty. Without asserts."""
    tree = ast.parse(source, shown_as)
    for node in ast.walk(tree):
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body[0].value.value = ""
    return marshal.dumps(compile(tree, shown_as, "exec", dont_inherit=True, optimize=1))


def write_archive(modules, output):
    """Per module: u16 name length, name, u8 is_package, u32 length, marshalled code (little endian)."""
    with open(output, "wb") as archive:
        for name, (is_package, code) in sorted(modules.items()):
            name_bytes = name.encode()
            archive.write(struct.pack("<H", len(name_bytes)) + name_bytes)
            archive.write(struct.pack("<BI", is_package, len(code)) + code)
    print(f"packed {len(modules)} modules, {pathlib.Path(output).stat().st_size} bytes")


def pack(library, output):
    modules = {name: (False, compile_module(source, f"/python/lib/{name}.py")) for name, source in ADDED.items()}
    for name, is_package, path in find_modules(library):
        if not is_left_out(name, LEFT_OUT):
            shown_as = f"/python/lib/{path.relative_to(library).as_posix()}"
            modules[name] = (is_package, compile_module(path.read_bytes(), shown_as))
    write_archive(modules, output)


def sympy_source(name, path):
    source = path.read_bytes()
    if name in SYMPY_PATCHED:
        old, new = SYMPY_PATCHED[name]
        if source.count(old) != 1:
            raise SystemExit(f"{path}: not the file that was to be changed")
        source = source.replace(old, new)
    return source


def pack_sympy(packages, actions, output):
    """sympy, mpmath, and `_retort_sympy`, which imports what actions with sympy end up importing."""
    modules = {}
    for name, is_package, path in find_modules(packages):
        replaced = any(name == other or name.startswith(other + ".") for other in SYMPY_REPLACED)
        if name.split(".")[0] in ("sympy", "mpmath") and not replaced and not is_left_out(name, SYMPY_LEFT_OUT):
            shown_as = f"/python/lib/{path.relative_to(packages).as_posix()}"
            modules[name] = (is_package, compile_with_empty_docstrings(sympy_source(name, path), shown_as))
    for name, source in SYMPY_REPLACED.items():
        modules[name] = (False, compile_module(source, f"/python/lib/{name}.py"))
    imports = "".join(f"import {name}\n" for name in modules_used(packages, actions) if name in modules)
    modules["_retort_sympy"] = (False, compile_module(imports, "/python/lib/_retort_sympy.py"))
    write_archive(modules, output)


def modules_used(packages, actions):
    """The modules imported after the actions were run, in the order of their import."""
    sys.path.insert(0, str(packages))
    runpy.run_path(str(actions))
    return list(sys.modules)


def c_array(name, data):
    numbers = ",".join(str(byte) for byte in data)
    return f"static const unsigned char {name}[] = {{{numbers}}};\n"


def freeze(library, prelude, output):
    """A C header with the frozen modules and the prelude's code."""
    known = {name: (is_package, path) for name, is_package, path in find_modules(library)}
    text = "/* Written by pack_library.py. */\n#include <marshal.h>\n"
    table = "static const struct _frozen frozen_modules[] = {\n"
    for name in FROZEN:
        is_package, path = known[name]
        symbol = "frozen_" + name.replace(".", "_")
        text += c_array(symbol, compile_module(path.read_bytes(), f"/python/lib/{name}"))
        table += f'    {{"{name}", {symbol}, (int)sizeof {symbol}, {int(is_package)}, NULL}},\n'
    text += c_array("prelude_code", compile_module(prelude.read_bytes(), "<prelude>"))
    pathlib.Path(output).write_text(text + table + "    {NULL, NULL, 0, 0, NULL},\n};\n")


# What the image is built from, beside what is fetched.
INPUTS = """
    Setup.local build.sh guest.c licences_head.md pack_library.py prelude.py sympy_actions.py
""".split()


def sha256(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def first_line(*command):
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return text.splitlines()[0].strip()


def package_version(package):
    return first_line("dpkg-query", "--show", "--showformat=${Version}\n", package)


def write_manifest(image, fetched, contents):
    here = pathlib.Path(__file__).parent
    inputs = list(fetched) + [here / name for name in INPUTS]
    lines = ["# Written by build.sh: what the image was built from, and what it is.", "abi_version = 2"]
    lines += ["", "[inputs_sha256]"] + [f'"{path.name}" = "{sha256(path)}"' for path in inputs]
    lines += ["", "[outputs_sha256]"]
    lines += [f'"{path.name}.zst" = "{sha256(image / (path.name + ".zst"))}"' for path in contents]
    lines += ["", "# The same files, decompressed.", "[contents_sha256]"]
    lines += [f'"{path.name}" = "{sha256(path)}"' for path in contents]
    lines += ["", "[contents_bytes]"]
    lines += [f'"{path.name}" = {path.stat().st_size}' for path in contents]
    lines += ["", "[tools]", f'python = "{sys.version.split()[0]}"']
    packages = ("clang-14", "lld-14", "llvm-14", "wasi-libc", "libclang-rt-14-dev-wasm32", "binaryen")
    lines += [f'{package} = "{package_version(package)}"' for package in packages]
    (image / "MANIFEST.toml").write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["pack", "pack-sympy", "freeze", "manifest"])
    for name in ("library", "packages", "actions", "prelude", "output", "image"):
        parser.add_argument(f"--{name}", type=pathlib.Path)
    for name in ("fetched", "contents"):
        parser.add_argument(f"--{name}", type=pathlib.Path, nargs="+")
    arguments = parser.parse_args()
    if arguments.command == "pack":
        pack(arguments.library, arguments.output)
    elif arguments.command == "pack-sympy":
        pack_sympy(arguments.packages, arguments.actions, arguments.output)
    elif arguments.command == "freeze":
        freeze(arguments.library, arguments.prelude, arguments.output)
    else:
        write_manifest(arguments.image, arguments.fetched, arguments.contents)


if __name__ == "__main__":
    main()
