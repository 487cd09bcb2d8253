"""What a waiting thread costs: ``python -m examples.demo.threads COUNT`` prints the resident KiB of each."""

import os
import sys
import threading

from examples.demo.children import status_number


def resident_per_thread(count: int) -> float:
    """Start so many threads that do nothing but wait, and see how much this process grew."""
    over, ready = threading.Event(), threading.Barrier(count + 1)

    def wait() -> None:
        ready.wait()
        over.wait()

    before = status_number(os.getpid(), "VmRSS")
    threads = [threading.Thread(target=wait) for _ in range(count)]
    for thread in threads:
        thread.start()
    ready.wait()
    grown = status_number(os.getpid(), "VmRSS") - before
    over.set()
    for thread in threads:
        thread.join()
    return grown / count


if __name__ == "__main__":
    print(f"{resident_per_thread(int(sys.argv[1])):.1f}")
