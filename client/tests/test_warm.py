"""Sandboxed functions whose modules are imported once, whether they name them at the top or in their body."""

import unittest

import belljar

from . import support


def imports_in_its_body(number):
    import slowly

    slowly.seen.append(number)
    return slowly.AT, len(slowly.seen)


def helper():
    from slowly import AT

    return AT


def calls_a_helper(number):
    return helper(), 1


async def awaits(number):
    import slowly

    return slowly.AT, 1


def prints_at_import(number):
    import slowly_and_loudly  # noqa: F401


def may_not_import(number):
    import time

    time.sleep(0.002)
    if number < 0:
        import slowly_and_loudly  # noqa: F401
    print(number)
    return number


support.as_of_a_script(globals())


@support.needs_sandbox
class Warm(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        executor = belljar.Executor(support.shared(), runtime="sandbox")
        cls.addClassCleanup(executor.shutdown)
        cls.submit = staticmethod(executor.submit)

    def times(self, function):
        """What many calls, one after the other, find imported; each finds itself alone."""
        answers = [self.submit(function, number).result() for number in range(16)]
        self.assertEqual({count for _, count in answers}, {1})
        return [at for at, _ in answers]

    def test_imports_are_done_once_in_each_process(self):
        for function in imports_in_its_body, calls_a_helper, awaits:
            with self.subTest(function=function.__name__):
                times = self.times(function)
                # Two processes; in each, one call is cold, and the next makes the image.
                self.assertLessEqual(len(set(times)), 4)

    def test_a_function_may_forbid_it_or_ask_for_it(self):
        executor = belljar.Executor(support.shared(), runtime="sandbox")
        self.addCleanup(executor.shutdown)

        def starts(function, warm):
            futures = [executor.options(warm=warm).submit(function, number) for number in range(8)]
            for future in futures:
                future.result()
            return [future.record().start for future in futures]

        whys = {start.why for start in starts(imports_in_its_body, "never")}
        self.assertEqual(whys, {"the function is registered with `warm` = `never`"})
        self.assertTrue(any(start.warm and start.why is None for start in starts(abs, "always")))
        self.assertEqual(set(starts(abs, "auto")), {None})
        with self.assertRaisesRegex(ValueError, "`auto`, `always` or `never`"):
            executor.options(warm="hot")

    def test_the_record_says_why_a_call_is_not_warm(self):
        futures = [self.submit(prints_at_import, number) for number in range(8)]
        whys = {future.record().start.why for future in futures if future.result() is None}
        self.assertIn("the imports print", whys)

    def test_an_import_that_a_call_does_not_reach_is_not_seen(self):
        futures = [self.submit(may_not_import, number) for number in range(8)]
        for number, future in enumerate(futures):
            self.assertEqual(future.result(), number)
            self.assertEqual(future.record().stdout.text, f"{number}\n")

    def test_a_class_of_the_script_is_itself(self):
        class Point:
            def __init__(self, x):
                self.x = x

        def moved(point):
            import slowly

            return Point(point.x + bool(slowly.AT))

        for _ in range(8):
            result = self.submit(moved, Point(1)).result()
            self.assertIs(type(result), Point)
            self.assertEqual(result.x, 2)

    def test_exceptions_have_the_tracebacks_of_their_call(self):
        def fails(number):
            import slowly

            slowly.seen.append(number)
            raise LookupError(number, len(slowly.seen))

        for number in range(8):
            with self.assertRaises(LookupError) as raised:
                self.submit(fails, number).result()
            self.assertEqual(raised.exception.args, (number, 1))
