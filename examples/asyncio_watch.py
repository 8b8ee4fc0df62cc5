#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""asyncio_watch.py: Roost on Python's asyncio, through ctypes and the C library alone: no thread, and nothing that blocks.

    asyncio_watch.py ROOT STREAM        makes ROOT if there is none

Prints each entry that comes into the stream as "INDEX TEXT", whoever wrote it, and one line for each change of an agent's state. Each
line of standard input (a terminal or a pipe) becomes an entry. At the end of the input it ends, when all its lines have been stored.

The library is found as the system finds it (libroost.so.0), or where ROOST_LIBRARY says. The structs are those of roost/roost.h: they
begin with their size, so a newer library still understands these. The class Root has what is needed here and no more.
"""
import asyncio
import ctypes
import os
import sys
from ctypes import POINTER, byref, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p

EAGAIN, ENOENT = -11, -2
OPEN_CREATE, OPEN_OBSERVE = 1, 2
TOPIC_STATES, TOPIC_STREAM = 3, 5
CHANGE_STREAM, CHANGE_STATE, CHANGE_SKIPPED = 5, 6, 8
ALIVE = ("gone", "alive", "nobody's")


class Bytes(ctypes.Structure):
    _fields_ = [("data", c_void_p), ("size", c_size_t)]

    def __bytes__(self):
        return ctypes.string_at(self.data, self.size) if self.size else b""


class Pin(ctypes.Structure):
    _fields_ = [("word", c_void_p * 2)]


class Sized(ctypes.Structure):
    """A struct that begins with its size: what the INIT macros of the header do."""

    def __init__(self, **fields):
        super().__init__(size=ctypes.sizeof(self), **fields)


class Options(Sized):
    _fields_ = [("size", c_size_t), ("flags", c_uint32), ("level", c_uint32), ("wait_ms", c_uint32), ("idle_ms", c_uint32),
                ("settings", c_void_p), ("log", c_void_p), ("log_user", c_void_p)]


class Receipt(ctypes.Structure):
    _fields_ = [("client", c_uint64), ("sequence", c_uint64), ("lsn", c_uint64), ("id", c_uint64)]


class Completion(Sized):
    _fields_ = [("size", c_size_t), ("result", c_int), ("failed_index", c_uint32), ("user", c_void_p), ("receipt", Receipt),
                ("version", c_uint64)]


class Item(Sized):
    _fields_ = [("size", c_size_t), ("key", Bytes), ("value", Bytes), ("version", c_uint64), ("time_ns", c_int64), ("expires_ns", c_int64),
                ("index", c_uint64), ("byte_offset", c_uint64), ("pin", Pin)]


class Extra(ctypes.Structure):
    _fields_ = [("name", Bytes), ("value", Bytes)]


class State(Sized):
    _fields_ = [("size", c_size_t), ("flags", c_uint32), ("alive", c_uint32), ("name", Bytes), ("status", Bytes),
                ("active_memory_count", c_uint64), ("last_updated_id", c_uint64), ("extra", POINTER(Extra)), ("extra_count", c_size_t),
                ("version", c_uint64), ("time_ns", c_int64), ("owner_pid", c_int32), ("reserved", c_uint32), ("pin", Pin)]


class Topic(ctypes.Structure):
    _fields_ = [("kind", c_uint32), ("reserved", c_uint32), ("name", Bytes)]


class Event(Sized):
    _fields_ = [("size", c_size_t), ("kind", c_uint32), ("topic", c_uint32), ("lsn", c_uint64), ("id", c_uint64), ("name", Bytes),
                ("skipped_count", c_uint64)]


FUNCTIONS = {
    "roost_open": [ctypes.c_char_p, POINTER(Options), POINTER(c_void_p)],
    "roost_close": [c_void_p],
    "roost_batch_open": [POINTER(c_void_p)],
    "roost_batch_clear": [c_void_p],
    "roost_batch_free": [c_void_p],
    "roost_batch_stream_append": [c_void_p, Bytes, Bytes],
    "roost_submit": [c_void_p, c_void_p, c_void_p, c_void_p, POINTER(Receipt)],
    "roost_poll": [c_void_p, POINTER(Completion), c_size_t, c_uint32],
    "roost_poll_fd": [c_void_p, POINTER(c_int)],
    "roost_stream_get": [c_void_p, Bytes, c_uint64, POINTER(Item)],
    "roost_state_get": [c_void_p, Bytes, POINTER(State)],
    "roost_unpin": [c_void_p, POINTER(Pin)],
    "roost_watch_open": [c_void_p, POINTER(Topic), c_size_t, POINTER(c_void_p)],
    "roost_watch_fd": [c_void_p, POINTER(c_int)],
    "roost_watch_wait": [c_void_p, c_uint32, POINTER(Event)],
    "roost_watch_close": [c_void_p],
}


def load():
    library = ctypes.CDLL(os.environ.get("ROOST_LIBRARY", "libroost.so.0"))
    for name, arguments in FUNCTIONS.items():
        getattr(library, name).argtypes = arguments
    for name in ("roost_batch_clear", "roost_batch_free", "roost_unpin", "roost_watch_close"):
        getattr(library, name).restype = None
    library.roost_error_detail.restype = library.roost_error_text.restype = ctypes.c_char_p
    return library


class Error(Exception):
    """What Roost answered: its number and its sentence."""

    def __init__(self, number, detail):
        super().__init__(detail.decode(errors="replace"))
        self.number = number


class Root:
    """A root on the asyncio loop that is running."""

    def __init__(self, path, flags=OPEN_CREATE):
        self.roost = load()
        self.loop = asyncio.get_running_loop()
        self.handle, self.batch = c_void_p(), c_void_p()
        self.watches, self.descriptors = [], []
        self.waiting = {}  # number of a submission: its future
        self.last_number = 0
        self.turn = asyncio.Lock()
        self.check(self.roost.roost_open(os.fsencode(path), byref(Options(flags=flags)), byref(self.handle)))
        self.check(self.roost.roost_batch_open(byref(self.batch)))
        if not flags & OPEN_OBSERVE:
            descriptor = c_int()
            self.check(self.roost.roost_poll_fd(self.handle, byref(descriptor)))
            self.listen(descriptor.value, self.take_completions)

    def check(self, result, *fine):
        if result < 0 and result not in fine:
            raise Error(result, self.roost.roost_error_detail())
        return result

    @staticmethod
    def bytes(text):
        data = text.encode() if isinstance(text, str) else text
        given = Bytes(ctypes.cast(ctypes.c_char_p(data), c_void_p), len(data))
        given.kept = data  # ctypes would not keep it
        return given

    def listen(self, descriptor, callback):
        self.loop.add_reader(descriptor, callback)
        self.descriptors.append(descriptor)

    # Writing: submit copies the batch and returns at once; the descriptor is readable when the answer is there.

    async def append(self, stream, text):
        """Appends an entry; its index, once it is stored."""
        async with self.turn:  # whoever waits here goes in the order of the calls
            while True:
                self.roost.roost_batch_clear(self.batch)
                self.check(self.roost.roost_batch_stream_append(self.batch, self.bytes(stream), self.bytes(text)))
                self.last_number += 1
                if self.check(self.roost.roost_submit(self.handle, self.batch, None, self.last_number, None), EAGAIN) == 0:
                    break
                if self.waiting:  # too many are under way: until one of them has landed
                    await asyncio.wait(self.waiting.values(), return_when=asyncio.FIRST_COMPLETED)
                else:  # the shared memory is being replaced
                    await asyncio.sleep(0.02)
            answer = self.waiting[self.last_number] = self.loop.create_future()
        return (await answer).id

    def take_completions(self):
        completion = Completion()
        while self.check(self.roost.roost_poll(self.handle, byref(completion), 1, 0)) == 1:
            future = self.waiting.pop(completion.user)
            if future.cancelled():
                continue
            if completion.result < 0:
                future.set_exception(Error(completion.result, self.roost.roost_error_text(completion.result)))
            else:
                future.set_result(Receipt.from_buffer_copy(completion.receipt))

    # Watching: the descriptor is readable when there may be events; they are taken until there are none.

    def watch(self, topics, callback):
        """Calls callback(kind, name, id) for each change of the topics, (kind, name) each, from the loop."""
        given = [(kind, self.bytes(name)) for kind, name in topics]
        array = (Topic * len(given))(*(Topic(kind, 0, name) for kind, name in given))
        watch, descriptor = c_void_p(), c_int()
        self.check(self.roost.roost_watch_open(self.handle, array, len(given), byref(watch)))
        self.watches.append(watch)
        self.check(self.roost.roost_watch_fd(watch, byref(descriptor)))

        def take_events():
            event = Event()
            while self.check(self.roost.roost_watch_wait(watch, 0, byref(event))) == 1:
                callback(event.kind, bytes(event.name), event.id)

        self.listen(descriptor.value, take_events)

    # Reading waits for nobody; what is found is copied.

    def entry(self, stream, index):
        """The stream's entry, or None."""
        item = Item()
        if self.check(self.roost.roost_stream_get(self.handle, self.bytes(stream), index, byref(item)), ENOENT):
            return None
        value = bytes(item.value)
        self.roost.roost_unpin(self.handle, byref(item.pin))
        return value

    def state(self, name):
        """An agent's status, count and "alive", "gone" or "nobody's"; or None."""
        state = State()
        if self.check(self.roost.roost_state_get(self.handle, self.bytes(name), byref(state)), ENOENT):
            return None
        found = bytes(state.status).decode(), state.active_memory_count, ALIVE[state.alive]
        self.roost.roost_unpin(self.handle, byref(state.pin))
        return found

    def close(self):
        """Descriptors leave the loop first: they are closed with the watches and the root."""
        for descriptor in self.descriptors:
            self.loop.remove_reader(descriptor)
        for watch in self.watches:
            self.roost.roost_watch_close(watch)
        self.roost.roost_batch_free(self.batch)
        self.check(self.roost.roost_close(self.handle))


async def main(path, stream):
    root = Root(path)
    next_index = 0

    def print_new():
        nonlocal next_index
        while (entry := root.entry(stream, next_index)) is not None:
            print(next_index, entry.decode(errors="replace"), flush=True)
            next_index += 1

    def changed(kind, name, _id):
        if kind in (CHANGE_STREAM, CHANGE_SKIPPED):
            print_new()
        if kind == CHANGE_STATE and (state := root.state(name)):
            print("state", name.decode(), *state, flush=True)

    # First the watch, then the first look: what comes in between is then seen by one of the two.
    root.watch([(TOPIC_STREAM, stream), (TOPIC_STATES, "")], changed)
    print_new()

    lines = asyncio.StreamReader()
    await root.loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    appended = set()
    while line := await lines.readline():
        if text := line.rstrip(b"\n"):
            task = asyncio.create_task(root.append(stream, text))  # not awaited: many may be under way
            appended.add(task)
    for task in appended:
        await task
    print_new()
    root.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: asyncio_watch.py ROOT STREAM")
    try:
        asyncio.run(main(sys.argv[1], sys.argv[2]))
    except Error as error:
        sys.exit(f"asyncio_watch.py: {error}")
