"""Makes the user's tools functions of Python. Runs once a session, before its first action.

`define` is called with the source of the functions. They see the helpers below and the prelude's own copy of
the builtins, so an action that overwrites one does not break them. Names with an underscore cannot be those
of parameters.
"""


def _checked(kinds, told):
    def check(function, name, value):
        if not isinstance(value, kinds):
            found = type(value).__name__
            raise TypeError(f"{function}() argument {name!r} must be {told}, not {found}")
        return _json(function, name, value)

    return check


def _json(function, name, value):
    try:
        return _json_form(value)
    except (TypeError, ValueError):
        raise TypeError(f"{function}() argument {name!r} has no JSON form") from None


def _integer(function, name, value):
    if not isinstance(value, int):
        raise TypeError(f"{function}() argument {name!r} must be int, not {type(value).__name__}")
    if not -(2**63) <= value < 2**64:
        raise OverflowError("Python int too large to convert to C long")
    return int(value)


def _number(function, name, value):
    if not isinstance(value, (int, float)):
        raise TypeError(f"{function}() argument {name!r} must be real number, not {type(value).__name__}")
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return int(value)
    if not _is_finite(value):
        raise ValueError("Out of range float values are not JSON compliant")
    return float(value)


_string = _checked(str, "str")
_boolean = _checked(bool, "bool")
_array = _checked((list, tuple), "list")
_object = _checked(dict, "dict")
_any = _json
