"""The dashboard in a real browser, against a whole service: what a person looks for is found."""

import json
import statistics
import subprocess
import time
import unittest
import urllib.parse
from pathlib import Path

from service import TARGET, Service, serialize
from webdriver import DOWN, ENTER, LEFT, TAB, Browser

# So soon the first of a page is painted with 100,000 tasks in the store, in milliseconds.
FIRST_PAINT_MS = 1000
TASKS = 100_000


def divide(a, b):
    print("dividing", a)
    return a / b


def count(n):
    total = 0
    for i in range(n):
        total += i
    return total


def quick():
    return 1


def slow():
    import time

    # Longer than anything else of these tests on a busy machine.
    time.sleep(2)


def leave_file():
    import os

    os.mkdir("out")
    with open("out/<b>&.txt", "w") as file:
        file.write("left")


def wait_for(path):
    import os
    import time

    while not os.path.exists(path):
        time.sleep(0.01)


def tell(path):
    import os
    import time

    import belljar

    print("begun")
    belljar.progress(1, 4, "a <b>quarter</b>")
    while not os.path.exists(path):
        time.sleep(0.01)
    print("ended")


class Dashboard(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.service = Service(slots=1)
        cls.addClassCleanup(cls.service.close)
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.close)

    def setUp(self):
        self.browser.console()
        self.browser.requests()
        self.go("")

    def tearDown(self):
        """Nothing was refused by the policy of the pages, and nothing was asked for elsewhere."""
        complaints = [it for it in self.browser.console() if "favicon" not in it]
        self.assertEqual(complaints, [])
        origins = {urllib.parse.urlsplit(url).netloc for url in self.browser.requests() if url.startswith("http")}
        self.assertLessEqual(origins, {urllib.parse.urlsplit(self.service.url).netloc})

    def go(self, page: str) -> None:
        self.browser.open("about:blank")
        self.browser.open(f"{self.service.url}/#/{page}")

    def test_why_a_task_waits_and_that_it_runs_are_shown_as_they_happen(self):
        gate = Path(self.service.folder.name) / "gate"
        function = self.service.register(wait_for, runtime="native")
        running = self.service.call(function, str(gate))
        waiting = self.service.call(function, str(gate))
        dropped = self.service.call(function, str(gate))
        delayed = self.service.call(function, str(gate), delay_s=3600)
        self.browser.until("the slot is busy", lambda: self.service.ask("/v1/queues")["items"] and "1 of 1 slots busy" in self.browser.text("#state"))
        self.browser.sees("oldest waits")
        self.browser.click('header nav a[href="#/tasks"]')
        self.browser.sees("QUEUED")
        self.browser.click(f'a[href="#/task/{waiting}"]')
        self.browser.sees("It waits: every slot for native:3.11 is busy", "#waiting")
        self.go(f"task/{delayed}")
        self.browser.sees("It waits: its delay ends at", "#waiting")
        self.browser.click("main .actions button")
        self.browser.sees("CANCELLED", "h1")
        self.go(f"task/{dropped}")
        self.browser.sees("It waits")
        self.browser.click("main .actions button")
        self.browser.sees("CANCELLED", "h1")
        self.go(f"task/{waiting}")
        self.browser.sees("QUEUED", "h1")
        gate.touch()
        self.browser.sees("COMPLETED", "h1")
        self.browser.sees("Where the time went")
        for phase in ("queue", "transport", "decode", "call"):
            self.browser.sees(phase)
        self.service.finish(running, waiting)

    def test_a_running_task_shows_what_it_writes_and_how_far_it_is(self):
        gate = Path(self.service.folder.name) / "told"
        task = self.service.call(self.service.register(tell, runtime="native"), str(gate))
        self.go(f"task/{task}")
        self.browser.sees("begun", '[aria-label="Standard output, as it comes"]')
        self.browser.sees("1 of 4, 25 % – a <b>quarter</b>", "#progress")
        self.browser.sees("RUNNING", "h1")
        gate.touch()
        self.browser.sees("COMPLETED", "h1")
        self.browser.sees("ended", '[aria-label="Standard output"]')
        self.browser.sees("How far it came", "#progress")

    def test_the_traceback_of_a_failed_task_is_three_clicks_away(self):
        function = self.service.register(divide, runtime="native")
        task = self.service.call(function, 1, 0)
        self.service.finish(task)
        self.browser.sees("exception", '[aria-label="Failures by kind"]')
        self.browser.click('[aria-label="Failures by kind"] a[href*="failure=exception"]')
        self.browser.click(f'a[href="#/task/{task}"]')
        self.browser.sees("in divide", "#traceback")
        self.browser.sees("ZeroDivisionError: division by zero", "#failure")
        self.browser.sees("dividing 1")
        self.browser.sees("1 (retries allowed: 2)")
        self.browser.click("main .actions button:nth-of-type(2)")
        self.browser.sees("Run divide again, native", "dialog[open]")
        self.browser.run("document.querySelector('[name=args]').value = '[\"x\", 2]'")
        self.browser.click('dialog[aria-label="Run again"] button')
        self.browser.sees("TypeError: unsupported operand", "#failure")
        self.browser.click("main .actions button:nth-of-type(2)")
        self.browser.run("document.querySelector('[name=args]').value = '[-9007199254740991, 0.5]'")
        self.browser.click('dialog[aria-label="Run again"] button')
        self.browser.sees("COMPLETED", "h1")
        self.browser.sees("dividing -9007199254740991")

    def test_the_files_that_a_call_left_are_saved(self):
        function = self.service.register(leave_file, runtime="native")
        task = self.service.call(function, outputs=["**"])
        self.service.finish(task)
        self.go(f"task/{task}")
        self.browser.sees("out/<b>&.txt", '[aria-label="Files"]')
        self.browser.click('[aria-label="Files"] button')
        self.browser.sees("saved out/<b>&.txt")

    def test_the_slowest_function_is_the_first(self):
        for function in (quick, slow):
            function_id = self.service.register(function, runtime="native")
            self.service.finish(*(self.service.call(function_id) for _ in range(2)))
        first = '[aria-label="Slowest functions"] tbody tr'
        self.browser.until("the slowest is first", lambda: self.browser.text(first).startswith("slow"))
        self.browser.click('header nav a[href="#/functions"]')
        self.browser.until("sorted by p95", lambda: self.browser.text('table[aria-label="Functions"] tbody tr').startswith("slow"))
        self.browser.click('table[aria-label="Functions"] th:nth-child(5) button')
        self.browser.until("by p50", lambda: self.browser.all('table[aria-label="Functions"] th:nth-child(5)[aria-sort="descending"]'))
        self.assertTrue(self.browser.text('table[aria-label="Functions"] tbody tr').startswith("slow"))
        self.browser.click('table[aria-label="Functions"] th:nth-child(5) button')
        self.browser.until("ascending", lambda: not self.browser.text('table[aria-label="Functions"] tbody tr').startswith("slow"))

    def test_the_price_of_isolation_of_a_function_is_told(self):
        median = {}
        for runtime in ("native", "sandbox"):
            function = self.service.register(count, runtime=runtime)
            tasks = [self.service.call(function, 300_000) for _ in range(5)]
            self.service.finish(*tasks)
            median[runtime] = statistics.median(self.service.ask(f"/v1/tasks/{it}")["durations_ms"]["slot"] for it in tasks)
        self.browser.click('header nav a[href="#/functions"]')
        row = self.browser.sees("count", '[aria-label="Native beside sandbox"] tbody')
        told = self.browser.text('[aria-label="Native beside sandbox"] .price')
        factor = median["sandbox"] / median["native"]
        self.assertIn(f"× {factor:.1f}" if factor < 9.95 else f"× {factor:.0f}", told, (row, median))
        self.browser.click('[aria-label="Native beside sandbox"] tbody a')
        self.browser.sees("× ", "main .price")

    def test_every_page_is_shown_live_and_without_complaints(self):
        function = self.service.register(quick, "<img src=x onerror=alert(1)>", runtime="native", description="<b>bold</b>")
        self.browser.sees("Tasks a second")
        self.browser.run("window.same = 1")
        task = self.service.call(function)
        self.service.finish(task)
        shown = "document.querySelector('canvas') && [...document.querySelectorAll('.tile')].map(it => it.innerText).join()"
        self.browser.until("charts are drawn", lambda: self.browser.run(f"return {shown}"))
        for page, text in [
            ("tasks", "<img src=x"), (f"task/{task}", "COMPLETED"), ("functions", "<b>bold</b>"), (f"function/{function}", "Newest calls"),
            ("workers", "native:3.11"), ("stream", "<img src=x"), ("", "Queues"),
        ]:
            self.browser.run("location.hash = arguments[0]", f"#/{page}")
            self.browser.sees(text)
            self.assertEqual(self.browser.run("return document.querySelectorAll('main img').length"), 0)
        self.assertEqual(self.browser.run("return window.same"), 1, "the page was never loaded again")
        for path, text in (("/start", "Run a function"), ("/docs/", "/register_function")):
            self.browser.open(self.service.url + path)
            self.browser.sees(text, "body")

    def test_the_policy_refuses_scripts_and_styles_within_pages(self):
        self.browser.sees("Overview")
        self.browser.run("""
            const it = document.createElement("p"); it.setAttribute("style", "color: red"); document.body.append(it);
            try { document.body.innerHTML += "<img src=x onerror=alert(1)>"; } catch (error) { window.refused = String(error); }
        """)
        self.assertIn("TrustedHTML", self.browser.run("return window.refused"))
        complaints = self.browser.until("a complaint", self.browser.console)
        self.assertTrue(any("style-src" in it or "inline style" in it for it in complaints), complaints)

    def test_everything_is_reached_by_keyboard(self):
        function = self.service.register(quick, runtime="native")
        tasks = [self.service.call(function) for _ in range(3)]
        self.service.finish(*tasks)
        self.browser.sees("Overview")
        self.browser.press(TAB)
        self.assertIn("Skip to the content", self.browser.focused())
        self.browser.press(ENTER)
        self.assertTrue(self.browser.focused().startswith("MAIN"))
        self.browser.press("2")
        self.browser.find('header nav a[href="#/tasks"][aria-current="page"]')
        self.browser.find(f'a[href="#/task/{tasks[0]}"]')
        self.browser.press("/")
        self.browser.until("the filter is focused", lambda: self.browser.focused().startswith("SELECT"))
        self.browser.run("document.querySelector('main tbody a').focus()")
        self.browser.press(DOWN)
        # The list is read again and again, and the focus stays.
        focused = self.browser.run("return document.activeElement.getAttribute('href')")
        self.assertEqual(focused, f"#/task/{tasks[1]}")
        self.browser.press(ENTER)
        self.browser.sees(tasks[1], "h1")
        self.assertTrue(self.browser.focused().startswith("MAIN"), "readers of screens are at the new page")
        self.browser.press("5")
        self.browser.sees("quick", "main .legend")
        self.browser.run("document.querySelector('canvas').focus()")
        self.browser.press(LEFT)
        self.browser.sees("quick (native), COMPLETED", 'main [role="status"]')
        self.browser.press(ENTER)
        self.browser.sees("COMPLETED", "h1")
        unnamed = self.browser.run("return [...document.querySelectorAll('button, a, input, select, canvas')].filter(it => !(it.innerText || it.ariaLabel || it.labels?.length)).map(it => it.outerHTML)")
        self.assertEqual(unnamed, [])

    def test_light_and_dark(self):
        background = "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number).reduce((a, b) => a + b)"
        self.browser.sees("Overview")
        shades = []
        for _ in range(3):
            shades.append(self.browser.run(background))
            self.browser.click("#theme")
        self.assertEqual(shades[0], shades[1], "the system of the test is light")
        self.assertLess(shades[2], 150)


class Workers(unittest.TestCase):
    def test_a_worker_is_drained_by_a_button(self):
        service = Service("-m", "push", "--workers", "2")
        self.addCleanup(service.close)
        browser = Browser()
        self.addCleanup(browser.close)
        browser.open(f"{service.url}/#/workers")
        browser.until("both are there", lambda: len(browser.all("button[data-worker]")) == 2)
        drained = browser.run("return document.querySelector('button[data-worker]').dataset.worker")
        version = service.ask("/v1/workers")["items"][0]["version"]
        self.assertTrue(version)
        browser.sees(version, "main table")
        browser.click(f'button[data-worker="{drained}"]')
        browser.sees("takes no more tasks", 'main [role="status"]')
        # `up` starts another one in its place.
        ids = lambda: [it["worker_id"] for it in service.ask("/v1/workers")["items"]]
        browser.until("it has left", lambda: drained not in ids())


class Keys(unittest.TestCase):
    def test_a_key_is_asked_for_once_and_its_scopes_are_kept_to(self):
        service = Service("--keys", "required")
        self.addCleanup(service.close)

        def key(*scopes: str) -> str:
            command = [TARGET / "debug" / "belljar", "key", "create", "x", "--data", service.folder.name, *(f"--scope={it}" for it in scopes)]
            return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, text=True).stdout.strip()

        service.key = key("admin")
        task = service.call(service.register(quick, runtime="native"))
        service.finish(task)
        browser = Browser()
        self.addCleanup(browser.close)
        browser.open(service.url)
        browser.sees("This service needs a key", "dialog[open]")
        browser.type("#ask-key", "bj_wrong")
        browser.press(ENTER)
        browser.until("the key is refused", lambda: "holds no key" in browser.text("#ask-why"))
        browser.type("#ask-key", key("read"))
        browser.press(ENTER)
        browser.sees("admin", '[aria-label="Queues"]')
        browser.click('header nav a[href="#/tasks"]')
        browser.click(f'a[href="#/task/{task}"]')
        browser.sees("COMPLETED", "h1")
        browser.click("main .actions button:nth-of-type(2)")
        browser.click('dialog[aria-label="Run again"] button')
        browser.sees("submit", "dialog[open] .bad")
        browser.open(f"{service.url}/#/workers")
        browser.sees("admin")
        self.assertIsNone(browser.run("return localStorage.getItem('belljar-key')"))
        browser.click("#key")
        browser.type("#ask-key", service.key)
        browser.press(ENTER)
        browser.sees("native:3.11")


class ManyTasks(unittest.TestCase):
    def test_the_first_paint_is_quick_with_many_tasks_in_the_store(self):
        service = Service()
        self.addCleanup(service.close)
        function = service.register(quick, runtime="native")
        call = {"function_id": function, "payloads": [serialize(((), {}))] * 10_000, "delay_s": 3600}
        for _ in range(TASKS // 10_000):
            service.ask("/v1/tasks", call)
        browser = Browser()
        self.addCleanup(browser.close)
        for page, text in (("", "100,000"), ("tasks", "QUEUED"), ("tasks?status=FAILED", "none among those looked at so far")):
            browser.open("about:blank")
            begun = time.monotonic()
            browser.open(f"{service.url}/#/{page}")
            browser.sees(text)
            paint = browser.run("return performance.getEntriesByType('paint').find(it => it.name === 'first-contentful-paint').startTime")
            print(json.dumps({"page": page, "first_paint_ms": round(paint), "facts_s": round(time.monotonic() - begun, 2)}))
            self.assertLess(paint, FIRST_PAINT_MS, page)


if __name__ == "__main__":
    unittest.main()
