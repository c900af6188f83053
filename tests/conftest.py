"""One warm server for all checks, with what any of them needs: it cannot be given more later."""

from utils.checks import fresh

fresh.warm_up("torch._dynamo")
