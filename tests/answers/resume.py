from tests.support.answer import Answer
from utils.checks import resume as CHECKS  # noqa: F401

PREAMBLE = """\
import random
import numpy as np
import torch
from utils.data import loader
"""
ARGUMENTS = {
    "saves_and_resumes": ["save_run", "load_run"],
    "builds_then_loads": ["resume"],
    "keeps_random_numbers": ["get_rng", "set_rng"],
    "knows_the_rest": ["remaining_batches"],
    "changes_the_rate": ["resume_with_rate"],
    "diagnoses_the_curves": ["left_out"],
}

LEFT_OUT = {
    "A": "random numbers",
    "B": "scheduler",
    "C": "model",
    "D": "epoch",
    "E": "optimizer",
}


def left_out(words="", **changes):
    return Answer("diagnoses_the_curves", f"left_out = {LEFT_OUT | changes}", words)


RUN = """
def save_run(path, model, optimizer, scheduler, epoch):
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(),
                "scheduler": scheduler.state_dict(), "rng": torch.get_rng_state(),
                "epoch": epoch}, path)


def load_run(path, model, optimizer, scheduler):
    c = torch.load(path)
    model.load_state_dict(c["model"])
    optimizer.load_state_dict(c["optimizer"])
    scheduler.load_state_dict(c["scheduler"])
    torch.set_rng_state(c["rng"])
    return c["epoch"] + 1
"""
RESUME = """
def resume(checkpoint, model, make_optimizer, make_scheduler):
    optimizer = make_optimizer(model.parameters())
    scheduler = make_scheduler(optimizer)
    model.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    scheduler.load_state_dict(checkpoint["scheduler"])
    return model, optimizer, scheduler
"""
RNG = """
def get_rng():
    kind, numbers, *rest = np.random.get_state()
    return [torch.get_rng_state(), random.getstate(), kind, torch.from_numpy(numbers), *rest]


def set_rng(states):
    torch.set_rng_state(states[0])
    random.setstate(states[1])
    np.random.set_state((states[2], states[3].numpy(), *states[4:]))
"""


def changed(check, code, old, new, words):
    assert old in code, old
    return Answer(check, code.replace(old, new), words)


def run(old, new, words=""):
    return changed("saves_and_resumes", RUN, old, new, words)


def resume(old, new, words=""):
    return changed("builds_then_loads", RESUME, old, new, words)


def rng(old, new, words=""):
    return changed("keeps_random_numbers", RNG, old, new, words)


def rest(body, words=""):
    return Answer(
        "knows_the_rest", f"def remaining_batches(dataset, epoch, done):\n    {body}", words
    )


def rate(body, words=""):
    return Answer(
        "changes_the_rate", f"def resume_with_rate(optimizer, state, rate):\n    {body}", words
    )


SET = "for group in optimizer.param_groups: group['lr'] = rate"

ANSWERS = [
    # 3.1
    Answer("saves_and_resumes", RUN),
    Answer(
        "saves_and_resumes",
        RUN.replace('"epoch": epoch}', '"epoch": epoch + 1}').replace(
            'c["epoch"] + 1', 'c["epoch"]'
        ),
    ),
    run('    model.load_state_dict(c["model"])\n', "", "the model's weights did not"),
    run('    optimizer.load_state_dict(c["optimizer"])\n', "", "the optimizer's state did not"),
    run('    scheduler.load_state_dict(c["scheduler"])\n', "", "the scheduler's state did not"),
    run('    torch.set_rng_state(c["rng"])\n', "", "random numbers do not go on"),
    run('return c["epoch"] + 1', 'return c["epoch"]', "would be trained again"),
    run('return c["epoch"] + 1', 'return c["epoch"] + 2', "the next one is not 3"),
    run('    return c["epoch"] + 1', "", "returned a NoneType"),
    run('return c["epoch"] + 1', "return 2", "would go on with epoch 2"),
    run(
        '    torch.set_rng_state(c["rng"])\n',
        '    torch.set_rng_state(c["rng"])\n    model.eval()\n',
        "eval mode",
    ),
    run("optimizer.state_dict(),\n", "optimizer,\n", "torch.load refuses the file"),
    run('"epoch": epoch}, path)', '"epoch": epoch}, "/nowhere/x.pt")', "Parent directory"),
    run('torch.save({"model"', 'dict({"model"', "dict expected at most 1 argument"),
    # 3.2
    Answer("builds_then_loads", RESUME),
    Answer(
        "builds_then_loads",
        RESUME.replace(
            "return model, optimizer, scheduler", "return (model, optimizer, scheduler)"
        ),
    ),
    Answer(
        "builds_then_loads",
        """
def resume(checkpoint, model, make_optimizer, make_scheduler):
    model.load_state_dict(checkpoint["model"])
    optimizer = make_optimizer(model.parameters())
    optimizer.load_state_dict(checkpoint["optimizer"])
    scheduler = make_scheduler(optimizer)
    scheduler.load_state_dict(checkpoint["scheduler"])
    return model, optimizer, scheduler
""",
        "the next epoch would run with the rates [0.5, 0.25]",
    ),
    resume(
        '    scheduler.load_state_dict(checkpoint["scheduler"])\n', "", "stands at step 0, not 3"
    ),
    resume('    optimizer.load_state_dict(checkpoint["optimizer"])\n', "", "momentum did not"),
    resume(
        "return model,", "from copy import deepcopy\n    return deepcopy(model),", "another model"
    ),
    resume(
        'optimizer.load_state_dict(checkpoint["optimizer"])',
        "optimizer.param_groups[0]['lr'] = checkpoint['optimizer']['param_groups'][0]['lr']",
        "momentum did not come back",
    ),
    resume('    model.load_state_dict(checkpoint["model"])\n', "", "weights did not come back"),
    resume("return model, optimizer, scheduler", "return optimizer, scheduler", "in this order"),
    resume(
        "return model, optimizer, scheduler", "return optimizer, model, scheduler", "in place of"
    ),
    # 3.3
    Answer("keeps_random_numbers", RNG),
    Answer(
        "keeps_random_numbers",
        RNG.replace("torch.from_numpy(numbers)", "numbers.tolist()").replace(".numpy()", ""),
    ),
    rng("torch.from_numpy(numbers)", "numbers", "torch.load refuses the file"),
    rng("    random.setstate(states[1])\n", "", "Python draws other numbers"),
    rng("    torch.set_rng_state(states[0])\n", "    torch.manual_seed(0)\n", "torch draws other"),
    rng(
        "    np.random.set_state((states[2], states[3].numpy(), *states[4:]))\n",
        "",
        "NumPy draws other",
    ),
    rng("    return [torch", "    [torch", "get_rng returned None"),
    rng("    return [torch", "    torch.manual_seed(5)\n    return [torch", "which it was to read"),
    rng("*states[4:]))", "states[4], 0, 0.0))", "NumPy draws other"),
    Answer(
        "keeps_random_numbers",
        "kept = {}\ndef get_rng():\n    kept['x'] = torch.get_rng_state()\n    return {}\n"
        "def set_rng(states):\n    torch.set_rng_state(kept['x'])",
        "name 'kept' is not defined",
    ),
    # 3.4
    rest("return list(loader(dataset, 25, shuffle=True, seed=epoch))[done:]"),
    rest(
        "return [b for i, b in enumerate(loader(dataset, 25, shuffle=True, seed=epoch)) if i >= done]"
    ),
    rest(
        "return list(loader(dataset, 25, shuffle=True, seed=epoch))",
        "4 batches were returned, and 3",
    ),
    rest("return list(loader(dataset, 25, shuffle=True, seed=epoch))[done + 1:]", "3 batches were"),
    rest("return list(loader(dataset, 25, shuffle=True))[done:]", "not the images that come next"),
    rest("return list(loader(dataset, 25))[done:]", "not the images that come next"),
    rest(
        "return list(loader(dataset, shuffle=True, seed=epoch))[done:]",
        "a batch has 50 images, not 25",
    ),
    rest("list(loader(dataset, 25, shuffle=True, seed=epoch))[done:]", "this is a NoneType"),
    rest(
        "return [x for x, _ in loader(dataset, 25, shuffle=True, seed=epoch)][done:]",
        "images and labels",
    ),
    # 3.5
    rate(f"optimizer.load_state_dict(state)\n    {SET}"),
    rate(
        "from copy import deepcopy\n    state = deepcopy(state)\n"
        "    for group in state['param_groups']: group['lr'] = rate\n"
        "    optimizer.load_state_dict(state)"
    ),
    rate(
        "for group in state['param_groups']: group['lr'] = rate\n    optimizer.load_state_dict(state)",
        "that was passed in has been changed",
    ),
    rate(f"{SET}\n    optimizer.load_state_dict(state)", "still the file's"),
    rate("optimizer.load_state_dict(state)", "still the file's"),
    rate(SET, "nothing was loaded"),
    rate(
        "optimizer.load_state_dict(state)\n    optimizer.param_groups[0]['lr'] = rate",
        "the rates [0.25, 0.5]",
    ),
    rate(
        "optimizer.load_state_dict(state)\n    for group in optimizer.param_groups:\n"
        "        group['lr'] = rate\n        group['momentum'] = 0.9",
        "other settings are not those of the file: momentum",
    ),
    rate("optimizer.load_state_dict(state)\n    optimizer.lr = rate", "still the file's"),
    # 3.6
    left_out(),
    left_out(
        "A did not leave out the optimizer: is its first loss",
        A="optimizer",
        E="random numbers",
    ),
    left_out("B did not leave out the epoch: where is the drop", B="epoch", D="scheduler"),
    left_out(
        "C did not leave out the random numbers: how high is a loss", C="random numbers", A="model"
    ),
    left_out("E did not leave out the scheduler: is its first loss", E="scheduler", B="optimizer"),
    left_out("belongs to one letter", A="optimizer"),
    left_out("one of the words model,", A="rng"),
    left_out("the letters A to E", F="model"),
    Answer("diagnoses_the_curves", "left_out = 'model'", "a dictionary is wanted"),
]
