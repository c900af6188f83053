"""The oldest versions that the course promises to work with. Standard library only.

`requirements.txt` pins newer ones: stored outputs are made with those. A hosted notebook or a
company's image brings its own torch; from this version on, every cell of the course runs with it
(`tests/test_oldest.py` shows it).
"""

OLDEST_TORCH = (2, 10)
OLDEST_TORCHVISION = (0, 25)  # the one that was published for that torch, and asks for it
