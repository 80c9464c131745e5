"""Runs cases, prints one line each and a closing line with what passed, failed and was skipped, and why."""

import sys
import time
import traceback


class Skipped(Exception):
    """Raised by a case that cannot run here; its text is the reason."""


class Suite:
    def __init__(self, name, version):
        self.name, self.passed, self.failed, self.skipped = name, 0, [], []
        print(f"== {name} {version}", flush=True)

    def case(self, name, run, *args):
        started = time.monotonic()
        try:
            said = run(*args)
        except Skipped as reason:
            self.skip(name, reason)
        except Exception:
            self.failed.append(name)
            print(f"FAILED   {name}\n{traceback.format_exc()}", flush=True)
        else:
            self.passed += 1
            print(f"passed   {name} ({time.monotonic() - started:.1f} s)" + (f": {said}" if said else ""), flush=True)

    def bites(self, name, run, *args, says=""):
        """A case that must fail, and say `says`: proof that this suite can."""
        def inverted():
            try:
                run(*args)
            except AssertionError as caught:
                if says not in str(caught):
                    raise
                return f"caught, as it must be: {str(caught).splitlines()[0][:100]}"
            raise AssertionError("this wrong expectation was met: the suite cannot fail")
        self.case(f"{name} (must be caught)", inverted)

    def skip(self, name, reason):
        self.skipped.append(name)
        print(f"skipped  {name}: {reason}", flush=True)

    def close(self):
        print(f"{self.name}: {self.passed} passed, {len(self.failed)} failed, {len(self.skipped)} skipped\n", flush=True)
        return self


def finish(what, suites):
    """The closing line over all suites; leaves with 1 if anything failed or nothing ran."""
    passed, failed = sum(s.passed for s in suites), sum(len(s.failed) for s in suites)
    skipped = sum(len(s.skipped) for s in suites)
    for suite in suites:
        for name in suite.failed:
            print(f"failed: {suite.name}: {name}")
    print(f"{what}: {passed} passed, {failed} failed, {skipped} skipped", flush=True)
    sys.exit(1 if failed or not passed else 0)
