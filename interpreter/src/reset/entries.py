"""What is watched: each entry knows the state that calls find, and puts it back.

`state` and `merge` are for imports: what an import changes is what later calls find.
"""

import builtins

from belljar_watch import Watch

# A call may replace builtins: what follows uses those that are here now.
globals().update({name: value for name, value in vars(builtins).items() if not name.startswith("__")})

# Names that hold what would be worked out again in the same way.
_KEPT = {"_node", "_name_sequence"}
# What Python itself adds to classes.
_ADDED_TO_CLASSES = {"__slotnames__", "__annotations__", "__annotations_cache__", "__abstractmethods__"}
_ROUTINES = (type, type(len), type(lambda: 0), type(builtins))
_absent = object()

watch = Watch()
# What cannot be put back.
left = []


def _is_kept(name):
    return name in _KEPT or "cache" in name.lower()


class Entry:
    """What is the same for all entries."""

    # What to do once all have been put back.
    after = None

    def record(self):
        """Takes the present for what calls find."""

    def state(self):
        """What `merge` compares with."""

    def merge(self, before):
        """Takes over what has changed since `before`."""


class Names(Entry):
    """The names of a module or the items of a dictionary."""

    def __init__(self, name, live, after=None, lazy=False):
        self.name, self.live, self.after, self.lazy = name, live, after, lazy
        self.record()

    def record(self):
        self.copy = dict(self.live)

    def put(self, name, value):
        self.live[name] = value

    def delete(self, name):
        del self.live[name]

    def stays(self, name, before, now):
        """Whether `name` holds what was worked out on first use."""
        return _is_kept(name) or self.lazy and before is None and name.startswith("_")

    def restore(self):
        now = dict(self.live)
        for name, value in now.items():
            if name not in self.copy:
                self.delete(name)
        for name, value in self.copy.items():
            if now.get(name, _absent) is value:
                continue
            if isinstance(name, str) and self.stays(name, value, now.get(name)):
                self.copy[name] = now.get(name, value)
                continue
            self.put(name, value)

    def replaced(self):
        """The name of a function, class or module that stands for another one."""
        for name, value in self.copy.items():
            if isinstance(value, _ROUTINES) and self.live.get(name) is not value and not _is_kept(str(name)):
                return f"{self.name}.{name}"

    def state(self):
        return dict(self.live)

    def merge(self, before):
        for name, value in self.live.items():
            if before.get(name, _absent) is not value:
                self.copy[name] = value
        for name in before:
            if name not in self.live:
                self.copy.pop(name, None)


class Class(Names):
    """The attributes of a class."""

    def __init__(self, name, cls):
        self.cls = cls
        super().__init__(name, watch.class_(cls, self))

    def put(self, name, value):
        type.__setattr__(self.cls, name, value)

    def delete(self, name):
        if name in _ADDED_TO_CLASSES:
            self.copy[name] = self.live[name]
        else:
            type.__delattr__(self.cls, name)


class Items(Entry):
    """The items of a list or a set."""

    def __init__(self, live, after=None):
        self.live, self.after = live, after
        self.record()

    def record(self):
        self.copy = list(self.live)

    def restore(self):
        if isinstance(self.live, list):
            self.live[:] = self.copy
        else:
            self.live.clear()
            self.live.update(self.copy)

    def state(self):
        return list(self.live)

    def merge(self, before):
        self.copy += [item for item in self.live if item not in before]


class Setting(Entry):
    """What one function tells and another sets, `put` itself or those named `by`."""

    def __init__(self, get, put, *args, by=()):
        self.get, self.put, self.args = get, put, args
        self.record()
        for function in by or (put,):
            watch.intercept(function)
        watch.call(self, get, *args)

    def record(self):
        self.value = self.get(*self.args)

    def restore(self):
        self.put(*self.args, self.value)


class Object(Entry):
    """An object of a type in C, put back by a function."""

    def __init__(self, restore, *objects):
        self.restore = restore
        for watched in objects:
            watch.bytes(watched, self)


def watch_dict(name, live, after=None, lazy=False):
    entry = Names(name, live, after, lazy)
    watch.dict(live, entry)
    return entry


def watch_instance(name, instance, after=None):
    watch.attributes(vars(instance), Names(name, vars(instance), after))


def watch_list(live, after=None):
    watch.list(live, Items(live, after))


def watch_container(name, value, after):
    if isinstance(value, dict):
        watch_dict(name, value, after)
    elif isinstance(value, list):
        watch_list(value, after)
    else:
        watch.set(value, Items(value, after))
