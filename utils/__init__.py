"""The house. Imports go one way, from the bottom of this list to its top:

    data, models, training    the digits, small models, an epoch: what lessons save and load
    show, checkpoint          what a cell displays; durable checkpoints, one file to copy
    checking/                 what checks are made of: errors (words), fresh (a new process), outcomes
    checks/                   one module for each exercise notebook
    tools/                    the command line, `python3 -m utils`: course and grammar (what there is),
                              build, contract, check and new (for who changes it), environment and
                              commands (for who learns)

One topic has one name in five places: `notebooks/source/NN_topic.py`, `NN_topic_exercises.py`,
`utils/checks/topic.py`, `tests/answers/topic.py`, `solutions/NN_topic_exercises.ipynb`. How to
change something: CONTRIBUTING.md.
"""
