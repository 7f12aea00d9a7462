/* The Python guest: CPython behind a handful of calls (ABI version 2).
 *
 * Host -> guest: init once and preload at most once (a snapshot is taken after each), start once a session,
 * run once an action.
 * Guest -> host: the functions of module "retort". Pointers and lengths are bytes of the linear memory.
 * What an action means (last expression, errors, tools) is decided in prelude.py; the action itself is
 * evaluated from here, so that no frame of ours lies below it and recursion depth is CPython's.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <stdint.h>
#include "frozen.h" /* written by pack_library.py: frozen_modules, prelude_code */

#define HOST(name) __attribute__((import_module("retort"), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))

HOST("print") extern void host_print(const char *text, int32_t length);
HOST("call") extern int32_t host_call(const char *name, int32_t name_length, const char *arguments, int32_t arguments_length);
HOST("load") extern int32_t host_load(const char *name, int32_t name_length);
HOST("read") extern void host_read(char *destination);
HOST("result") extern void host_result(const char *json, int32_t length);

/* Sent when not even the report about an action could be built. */
static const char out_of_memory[] =
    "{\"value\":null,\"assigned\":null,\"is_final\":false,\"answer\":null,\"answer_json\":null,"
    "\"error\":{\"kind\":\"MemoryError\",\"message\":\"\",\"line\":null,\"source_line\":null}}";

static PyObject *prelude;   /* globals of prelude.py */
static PyObject *namespace; /* globals of the actions: the dict of __main__ */

/* ---- the C module `_retort` ---- */

static PyObject *read_pending(int32_t length) {
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, length);
    if (bytes)
        host_read(PyBytes_AS_STRING(bytes));
    return bytes;
}

static PyObject *module_print(PyObject *self, PyObject *argument) {
    Py_buffer text;
    if (PyObject_GetBuffer(argument, &text, PyBUF_SIMPLE) < 0)
        return NULL;
    host_print(text.buf, (int32_t)text.len);
    PyBuffer_Release(&text);
    Py_RETURN_NONE;
}

/* call(name: str, arguments: bytes) -> bytes: one status byte and the answer */
static PyObject *module_call(PyObject *self, PyObject *arguments) {
    const char *name, *json;
    Py_ssize_t name_length, json_length;
    if (!PyArg_ParseTuple(arguments, "s#y#", &name, &name_length, &json, &json_length))
        return NULL;
    return read_pending(host_call(name, (int32_t)name_length, json, (int32_t)json_length));
}

/* load(name: str) -> None | bytes: one byte is-package and the marshalled code */
static PyObject *module_load(PyObject *self, PyObject *argument) {
    Py_ssize_t length;
    const char *name = PyUnicode_AsUTF8AndSize(argument, &length);
    if (!name)
        return NULL;
    int32_t answer = host_load(name, (int32_t)length);
    if (answer < 0)
        Py_RETURN_NONE;
    return read_pending(answer);
}

static PyMethodDef methods[] = {
    {"print", module_print, METH_O, NULL},
    {"call", module_call, METH_VARARGS, NULL},
    {"load", module_load, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_retort", NULL, -1, methods};
static PyObject *create_module(void) { return PyModule_Create(&module); }

/* ---- the file system there is not ---- */

/* wasi-libc says "capabilities insufficient" (with WASI's numbers) for every path; a CPython on a machine
 * without the file says ENOENT with Linux's number. The linker sends path errors here (--wrap); the prelude
 * sets errno.ENOENT to the same number. */
enum { LINUX_ENOENT = 2 };

PyObject *__real_PyErr_SetFromErrnoWithFilenameObjects(PyObject *kind, PyObject *first, PyObject *second);

PyObject *__wrap_PyErr_SetFromErrnoWithFilenameObjects(PyObject *kind, PyObject *first, PyObject *second) {
    if (errno != ENOTCAPABLE && errno != ENOENT)
        return __real_PyErr_SetFromErrnoWithFilenameObjects(kind, first, second);
    PyObject *arguments = Py_BuildValue("isO", LINUX_ENOENT, "No such file or directory", first ? first : Py_None);
    if (arguments && second)
        Py_SETREF(arguments, Py_BuildValue("isOOO", LINUX_ENOENT, "No such file or directory", first, Py_None, second));
    if (arguments)
        PyErr_SetObject(PyExc_FileNotFoundError, arguments);
    Py_XDECREF(arguments);
    return NULL;
}

PyObject *__wrap_PyErr_SetFromErrnoWithFilenameObject(PyObject *kind, PyObject *filename) {
    return __wrap_PyErr_SetFromErrnoWithFilenameObjects(kind, filename, NULL);
}

/* ---- start-up ---- */

static PyStatus configure(PyConfig *config) {
    PyConfig_InitIsolatedConfig(config);
    config->site_import = 0;
    config->install_signal_handlers = 0;
    config->write_bytecode = 0;
    config->use_frozen_modules = 1;
    config->use_hash_seed = 1; /* with seed 0: the same snapshot everywhere */
    config->hash_seed = 0;
    config->pathconfig_warnings = 0;
    config->module_search_paths_set = 1;
    wchar_t **paths[] = {&config->prefix, &config->base_prefix, &config->exec_prefix, &config->base_exec_prefix,
                         &config->executable, &config->base_executable, &config->program_name};
    PyStatus status = PyStatus_Ok();
    for (size_t i = 0; i < sizeof paths / sizeof *paths && !PyStatus_Exception(status); i++)
        status = PyConfig_SetString(config, paths[i], L"/python");
    if (!PyStatus_Exception(status))
        status = PyConfig_SetString(config, &config->stdio_encoding, L"utf-8");
    return status;
}

static int start_python(void) {
    PyPreConfig preconfig;
    PyPreConfig_InitIsolatedConfig(&preconfig);
    preconfig.utf8_mode = 1;
    if (PyStatus_Exception(Py_PreInitialize(&preconfig)))
        return 1;
    PyImport_FrozenModules = frozen_modules;
    if (PyImport_AppendInittab("_retort", create_module) < 0)
        return 2;
    PyConfig config;
    PyStatus status = configure(&config);
    if (!PyStatus_Exception(status))
        status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    return PyStatus_Exception(status) ? 3 : 0;
}

/* The prelude sees a copy of the builtins: an action that overwrites one does not break the report. */
static int run_prelude(void) {
    PyObject *code = PyMarshal_ReadObjectFromString((const char *)prelude_code, sizeof prelude_code);
    PyObject *builtins = PyDict_Copy(PyEval_GetBuiltins());
    prelude = Py_BuildValue("{sssN}", "__name__", "_retort_prelude", "__builtins__", builtins);
    namespace = PyModule_GetDict(PyImport_AddModule("__main__"));
    if (!code || !prelude || !PyEval_EvalCode(code, prelude, prelude)) {
        PyErr_Print();
        return 4;
    }
    return 0;
}

/* Free heap in every snapshot: an instance whose memory did not grow can serve the next action. Never touched,
 * it costs address space only. */
enum { SPARE_BYTES = 4 << 20 };

static void leave_room(void) {
    void *volatile room = malloc(SPARE_BYTES); /* volatile: the compiler drops a pair of malloc and free */
    free(room);
}

EXPORT("init") int32_t guest_init(void) {
    int failed = start_python();
    if (!failed)
        failed = run_prelude();
    leave_room();
    return failed;
}

/* Imports the modules that the module with this name imports. */
EXPORT("preload") int32_t guest_preload(const char *name, int32_t length) {
    PyObject *result = PyObject_CallFunction(PyDict_GetItemString(prelude, "preload"), "s#", name, (Py_ssize_t)length);
    if (!result)
        PyErr_Print();
    Py_XDECREF(result);
    leave_room();
    return result ? 0 : 1;
}

EXPORT("alloc") void *guest_alloc(int32_t length) { return malloc(length > 0 ? (size_t)length : 1); }
EXPORT("free") void guest_free(void *pointer) { free(pointer); }

/* The time itself comes from the host's clock; the prelude gets both so that sessions differ only by them. */
EXPORT("start") void guest_start(int64_t random_seed, int64_t unix_seconds) {
    PyObject *result = PyObject_CallFunction(PyDict_GetItemString(prelude, "start"), "LL", random_seed, unix_seconds);
    Py_XDECREF(result);
    PyErr_Clear();
}

/* ---- one action ---- */

/* Evaluates the code objects in order; returns the last value, or NULL with an exception set. */
static PyObject *evaluate(const char *source, int32_t length) {
    PyObject *steps = PyObject_CallFunction(PyDict_GetItemString(prelude, "prepare"), "y#", source, (Py_ssize_t)length);
    if (!steps)
        return NULL;
    PyObject *value = Py_NewRef(Py_None);
    for (Py_ssize_t i = 0; value && i < PyTuple_GET_SIZE(steps); i++)
        Py_SETREF(value, PyEval_EvalCode(PyTuple_GET_ITEM(steps, i), namespace, namespace));
    Py_DECREF(steps);
    return value;
}

static PyObject *take_exception(void) {
    PyObject *type, *exception, *traceback;
    PyErr_Fetch(&type, &exception, &traceback);
    PyErr_NormalizeException(&type, &exception, &traceback);
    if (traceback)
        PyException_SetTraceback(exception, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return exception;
}

EXPORT("run") int32_t guest_run(const char *source, int32_t length) {
    PyObject *value = evaluate(source, length);
    PyObject *exception = value ? Py_NewRef(Py_None) : take_exception();
    PyObject *report = PyObject_CallFunction(PyDict_GetItemString(prelude, "finish"), "OO", value ? value : Py_None, exception);
    Py_XDECREF(value);
    Py_XDECREF(exception);
    PyErr_Clear();
    if (report && PyBytes_Check(report))
        host_result(PyBytes_AS_STRING(report), (int32_t)PyBytes_GET_SIZE(report));
    else
        host_result(out_of_memory, sizeof out_of_memory - 1);
    Py_XDECREF(report);
    return 0;
}
