"""One warm server for all checks, with what any of them needs: it cannot be given more later."""


def pytest_collectstart(collector):
    """Before such a file is imported; other tests do not wait for torch."""
    if collector.path.name in ("test_checks.py", "test_checking.py", "test_checkpoint.py"):
        from utils.checking import fresh

        fresh.warm_up("torch._dynamo")
