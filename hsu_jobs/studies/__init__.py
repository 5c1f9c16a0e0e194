"""Does it help, how sure are we, and what does it cost? Many jobs that are run to be compared.

    spec         what may a study ask?
    plan         which cells does it have, and which spec has each?
    quoting      what would it cost?
    requests     what may its owner request? Begin, pause, resume, cancel, extend, retry, enlist, delete
    queueing     which of its runs are queued now?
    members      which jobs are its runs, how far are they, and what have they cost?
    metrics      what is compared, and which direction is better?
    values       which number stands for a run?
    evidence     what is the table made of?
    table        what does it say?
    tabulating   how is it made?
    bands        how do the curves of a cell's runs look together?
    examples     would new test examples show it?
    costs        what does each cell cost, beside what it gives?
    notes        what must somebody know before they trust it?
    names        what are arms, metrics and fields called?
    search/      which values of some fields are best?
    statistics/  how sure are we?

An arm is what is compared; a cell is an arm at a point of the axes, or a trial of its search; a run is a cell with a
seed.
"""
